"""Which seconds and frames of a video may be taken, each as likely as any other."""

import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l3core.avc.video import SAMPLE_RATE_HZ, Choices, VideoLimits

TICK = 1 / SAMPLE_RATE_HZ


def choices(spans, frames):
    return Choices(np.array(spans, float).reshape(-1, 2), np.array(frames, float))


def drawn(found, count=400):
    generator = np.random.default_rng(0)
    return [found.draw(generator) for _ in range(count)]


def test_a_second_and_a_frame_leave_one_choice():
    found = choices([(0, 1)], [0.5])
    assert len(found) == 1
    assert set(drawn(found, 5)) == {(0.0, 0.5)}


def test_less_than_a_second_leaves_none():
    assert len(choices([(0, 0.99)], [0.5])) == 0
    assert len(choices([], [0.5])) == 0
    assert len(choices([(0, 5)], [])) == 0
    assert len(choices([(0, 5)], [5.5])) == 0
    assert len(choices([(0, 5)], [-0.5])) == 0


def test_beginnings_are_where_the_frame_is_in_the_second():
    # of 3 s of sound: from the second that the frame ends to the one that it begins
    found = choices([(0, 3)], [1.5])
    assert len(found) == SAMPLE_RATE_HZ
    starts = [one.audio_start_s for one in drawn(found)]
    assert 0.5 + TICK / 2 < min(starts) < 0.51
    assert 1.49 < max(starts) <= 1.5


def test_gaps_are_left_out():
    # the second second of sound has no frame, and what follows the gap is too short
    found = choices([(10, 13), (13.5, 14.2)], [10.1, 12.9])
    starts = np.array([one.audio_start_s for one in drawn(found)])
    assert ((starts <= 10.1) | (starts > 11.9)).all()
    assert (starts <= 12.0 + TICK / 2).all()
    assert len(found) == round(0.1 * SAMPLE_RATE_HZ) + round(0.1 * SAMPLE_RATE_HZ) + 1
    assert 0.3 < (starts < 11).mean() < 0.7  # both as likely


@pytest.mark.parametrize("begin", [0.0, -3.2, 5e5])
def test_frames_of_a_second_are_as_likely(begin):
    frames = begin + np.array([0.0, 0.25, 0.5, 0.75])
    found = choices([(begin, begin + 1)], frames)
    counts = Counter(one.image_s for one in drawn(found, 800))
    assert set(counts) == set(frames)
    assert all(140 < count < 260 for count in counts.values())


@settings(deadline=None)
@given(
    begin=st.floats(-10, 10_000),
    seconds=st.floats(0, 8),
    frames=st.lists(st.floats(-2, 10), max_size=12),
    seed=st.integers(0, 99),
)
def test_the_frame_lies_in_the_second_and_the_second_in_the_sound(begin, seconds, frames, seed):
    found = choices([(begin, begin + seconds)], sorted({begin + frame for frame in frames}))
    if not len(found):
        return
    generator = np.random.default_rng(seed)
    for _ in range(20):
        start, image = found.draw(generator)
        assert start <= image < start + 1
        assert begin - 1e-8 <= start
        assert start + 1 <= begin + seconds + 1e-8


@given(seconds=st.integers(1, 4), frames=st.lists(st.integers(0, 40), min_size=1, max_size=5))
def test_the_number_of_beginnings_is_that_of_a_count(seconds, frames):
    """Against trying each, on frames at tenths of a second."""
    found = choices([(0, seconds)], sorted({frame / 10 for frame in frames}))
    step = SAMPLE_RATE_HZ // 10
    ticks = np.array(frames) * step
    starts = np.arange((seconds - 1) * SAMPLE_RATE_HZ + 1)
    allowed = np.zeros(len(starts), bool)
    for tick in ticks:
        allowed |= (starts <= tick) & (tick < starts + SAMPLE_RATE_HZ)
    assert len(found) == allowed.sum()


@settings(deadline=None)
@given(
    lengths=st.lists(st.floats(0, 4), min_size=1, max_size=6),
    frames=st.lists(st.floats(0, 30), max_size=20),
    seed=st.integers(0, 9),
)
def test_parts_of_a_sound_are_as_if_each_were_alone(lengths, frames, seed):
    bounds = np.cumsum([part for length in lengths for part in (0.3, length)]).reshape(-1, 2)
    frames = sorted(set(frames))
    found = choices(bounds, frames)
    assert len(found) == sum(len(choices([span], frames)) for span in bounds)
    for one in drawn(found, 20) if len(found) else []:
        assert any(begin - 1e-8 <= one.audio_start_s <= end - 1 + 1e-8 for begin, end in bounds)


def test_many_parts_and_many_frames_take_no_time():
    """Each part looks at its own frames: 20,000 times 200,000 would take half a minute."""
    begins = 2.0 * np.arange(20_000)
    start = time.monotonic()
    found = choices(np.column_stack([begins, begins + 1.5]), np.arange(200_000) / 5)
    drawn(found, 1000)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    "fields", [{"seconds": 0}, {"seconds": float("nan")}, {"memory_mb": 0}, {"bytes": 0}]
)
def test_limits_have_to_allow_something(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        VideoLimits(**fields)
