"""Steps of a network as windows: their number, their place and what they depend on, against NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from l3core.audio import ArraySource
from l3core.packing import pack, with_context
from l3core.resampling import Resampling
from l3core.segments import cut_segments
from l3core.steps import Rung, Steps
from l3core.windows import STEPS, WindowGrid

# SoundNet up to conv7 (facts 4.2): (kernel, stride, padding) of convolutions, and poolings between them
SOUNDNET = Steps(
    (
        Rung(64, 2, 32),
        Rung(8, 8),
        Rung(32, 2, 16),
        Rung(8, 8),
        Rung(16, 2, 8),
        Rung(8, 2, 4),
        Rung(4, 2, 2),
        Rung(4, 4),
        Rung(4, 2, 2),
        Rung(4, 2, 2),
    )
)
POOL5 = Steps(SOUNDNET.rungs[:8])
CONV6 = Steps(SOUNDNET.rungs[:9])
SMALL = Steps((Rung(4, 2, 2), Rung(3, 3), Rung(4, 2, 2)))
STEPS_OF = {"soundnet": SOUNDNET, "pool5": POOL5, "small": SMALL, "one": Steps((Rung(5, 2, 1),))}


def grid_of(steps):
    return WindowGrid(
        kind=STEPS,
        window_samples=steps.stride,
        hop_samples=steps.stride,
        context=steps.context,
        steps=steps,
    )


# golden/README-baselines.md, 4.2: correction 11, and 6 at 44.1 kHz
@pytest.mark.parametrize(
    ("samples", "pool5", "conv6", "conv7"),
    [(4_574, 1, 1, 1), (9_187, 1, 1, 1), (50_053, 6, 4, 3), (100_107, 12, 7, 4)],
)
def test_counts_that_upstream_gives(samples, pool5, conv6, conv7):
    assert [s.count(samples) for s in (POOL5, CONV6, SOUNDNET)] == [pool5, conv6, conv7]


def test_counts_of_the_papers_clips():
    assert [SOUNDNET.count(seconds * 44_100) for seconds in (4, 5, 30)] == [6, 8, 41]
    assert [SOUNDNET.count(seconds * 22_050) for seconds in (4, 30)] == [4, 21]


def test_the_shortest_recording_and_shorter_ones():
    assert [s.shortest for s in (POOL5, CONV6, SOUNDNET)] == [4_574] * 3
    assert [SOUNDNET.count(samples) for samples in (0, 1, 4_573, 4_574)] == [0, 1, 1, 1]


def outputs(steps, reached):
    """Which outputs of a chain see a sample: `reached` bool `(samples,)` -> bool `(outputs,)`."""
    for rung in steps.rungs:
        padded = np.pad(reached, rung.padding)
        count = rung.count(len(reached))
        reached = np.array(
            [padded[i * rung.stride : i * rung.stride + rung.kernel].any() for i in range(count)]
        )
    return reached


@pytest.mark.parametrize("name", STEPS_OF)
def test_a_step_depends_on_its_window_with_its_context_and_on_no_more(name):
    steps = STEPS_OF[name]
    grid = grid_of(steps)
    samples = 3 * steps.reach + 1
    before, after = grid.context
    starts = grid.starts(samples)
    places = {step: int(starts[step]) for step in (len(starts) // 3, len(starts) // 2)}
    for step, start in places.items():
        first, last = start - before, start + grid.window_samples + after - 1
        for place in (first - 1, first, last, last + 1):
            reached = np.zeros(samples, bool)
            reached[place] = True
            seen = np.flatnonzero(outputs(steps, reached))
            assert (step in seen) == (first <= place <= last), (step, place)


@pytest.mark.parametrize("name", STEPS_OF)
def test_windows_lie_side_by_side_and_each_on_the_recording(name):
    steps = STEPS_OF[name]
    grid = grid_of(steps)
    for samples in (1, steps.shortest, steps.shortest + 1, 5 * steps.stride, 7 * steps.reach + 3):
        starts = grid.starts(samples)
        assert len(starts) == steps.count(samples) >= 1
        assert (np.diff(starts) == grid.window_samples).all()
        assert (starts < samples).all()
        assert starts[0] + grid.window_samples > 0
        assert starts[0] <= 0


@given(st.integers(1, 200), st.data())
def test_where_a_recording_begins_and_ends_is_marked(samples, data):
    """Whatever windows are asked for; zeros in the recording are not taken for its end."""
    signal = np.zeros(samples, np.float32)
    signal[:: data.draw(st.integers(1, 9))] = 1
    grid, rates = grid_of(SMALL), Resampling(1, 1)
    count = grid.count(samples)
    first = data.draw(st.integers(0, count - 1))
    windows = range(first, data.draw(st.integers(first + 1, count)))
    segments = cut_segments(ArraySource(signal, 1), grid=grid, resampling=rates, windows=windows)
    packed = pack(
        ((None, s) for s in segments),
        batch_size=3,
        window_samples=grid.window_samples,
        context=grid.context,
    )
    before, after = grid.context
    far = SMALL.reach + SMALL.stride
    marked = np.pad(signal, far, constant_values=np.nan)
    expected = [
        marked[start - before + far : start + grid.window_samples + after + far]
        for start in grid.starts(samples, windows)
    ]
    found = [
        batch.signal[start - before : start + grid.window_samples + after]
        for batch in packed
        for start in batch.starts
    ]
    np.testing.assert_array_equal(found, expected)


def test_a_bare_signal_gets_its_context():
    grid = grid_of(SMALL)
    before, after = grid.context
    signal, starts = with_context(np.ones(20, np.float32), np.array([0, 6], np.int32), grid)
    assert starts.tolist() == [before, before + 6]
    assert signal.dtype == np.float32
    behind = max(0, 6 + grid.window_samples + after - 20)
    np.testing.assert_array_equal(np.isnan(signal), [True] * before + [False] * 20 + [True] * behind)
    whole = with_context(signal, starts, grid)
    assert whole[0] is signal
    plain = WindowGrid(kind="nocenter", window_samples=8, hop_samples=2)
    assert with_context(signal, starts, plain) == (signal, starts)
