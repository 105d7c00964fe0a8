"""Window grids against hand-worked counts and openl3's way of padding and framing an array."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from l3core.windows import GRIDS, WindowGrid, hop_in_samples


def grid(kind, window=10, hop=4):
    return WindowGrid(kind=kind, window_samples=window, hop_samples=hop)


# 48 kHz, windows of 48,000 samples every 4,800. For 4 s:
#   nocenter  1 + (192,000 - 48,000) / 4,800 = 1 + 30
#   center    24,000 zeros in front: 1 + (216,000 - 48,000) / 4,800 = 1 + 35
#   paper     as nocenter, since the hops fit exactly
@pytest.mark.parametrize(
    ("seconds", "center", "nocenter", "paper"), [(4, 36, 31, 31), (5, 46, 41, 41), (30, 296, 291, 291)]
)
def test_counts_of_the_usual_clips(seconds, center, nocenter, paper):
    counts = [grid(kind, 48_000, 4_800).count(seconds * 48_000) for kind in GRIDS]
    assert counts == [center, nocenter, paper]


# Windows of 10 samples every 4; `center` puts 5 zeros in front.
@pytest.mark.parametrize(
    ("kind", "samples", "starts"),
    [
        ("center", 1, [-5]),
        ("center", 5, [-5]),  # 5 zeros and 5 samples fill one window exactly
        ("center", 6, [-5, -1]),  # a sixth needs another one, which covers [-1, 9)
        ("center", 9, [-5, -1]),
        ("center", 10, [-5, -1, 3]),
        ("nocenter", 1, [0]),
        ("nocenter", 10, [0]),
        ("nocenter", 11, [0, 4]),  # a tail of one sample gets a window
        ("nocenter", 14, [0, 4]),
        ("nocenter", 15, [0, 4, 8]),
        ("paper", 3, [-3]),  # 7 zeros: floor(7 / 2) in front
        ("paper", 4, [-3]),
        ("paper", 9, [0]),  # 1 zero: none in front
        ("paper", 10, [0]),
        ("paper", 13, [0]),  # the tail fills no window
        ("paper", 14, [0, 4]),
        ("paper", 15, [0, 4]),
    ],
)
def test_edges(kind, samples, starts):
    found = grid(kind).starts(samples)
    assert found.tolist() == starts
    assert found.dtype == np.int64
    assert grid(kind).count(samples) == len(starts)


# Windows of 10 every 25: gaps of 15. 11 samples are one too many for one window without zeros in
# front, and openl3 then adds a window that lies wholly behind the end.
@pytest.mark.parametrize(
    ("kind", "samples", "starts"),
    [
        ("nocenter", 10, [0]),
        ("nocenter", 11, [0, 25]),
        ("nocenter", 36, [0, 25, 50]),
        ("center", 30, [-5, 20]),
        ("paper", 34, [0]),
        ("paper", 35, [0, 25]),
    ],
)
def test_a_hop_longer_than_the_window(kind, samples, starts):
    assert grid(kind, hop=25).starts(samples).tolist() == starts


@given(st.integers(0, 300), st.integers(1, 40), st.integers(1, 90))
def test_dense_windows_are_counted_as_those_that_are_not_centred(samples, window, hop):
    found = grid("dense", window, hop).starts(samples)
    assert found.tolist() == grid("nocenter", window, hop).starts(samples).tolist()


@pytest.mark.parametrize("kind", GRIDS)
def test_no_samples_have_no_windows(kind):
    assert grid(kind).count(0) == 0
    assert grid(kind).starts(0).shape == (0,)


@pytest.mark.parametrize(
    ("hop_s", "rate", "samples"),
    [
        (0.1, 48_000, 4_800),
        (0.5, 8_000, 4_000),
        (0.1, 11_025, 1_102),  # 1102.5
        (1 / 3, 48_000, 16_000),
        (0.00015, 8_000, 1),  # 1.2
        (2.0, 8_000, 16_000),
    ],
)
def test_a_hop_is_cut_off_to_whole_samples(hop_s, rate, samples):
    assert hop_in_samples(hop_s, rate) == samples


@pytest.mark.parametrize("hop_s", [0, -0.1, math.nan, math.inf, -math.inf])
def test_a_hop_must_be_positive(hop_s):
    with pytest.raises(ValueError, match="hop must be a positive number of seconds"):
        hop_in_samples(hop_s, 48_000)


def test_a_hop_below_one_sample_is_refused():
    with pytest.raises(ValueError, match=r"at least one sample at 8000 Hz, got 0.0001 s"):
        hop_in_samples(0.0001, 8_000)


def test_bad_grids_are_refused():
    with pytest.raises(ValueError, match="center, nocenter, paper, dense, steps, got 'centre'"):
        grid("centre")
    with pytest.raises(ValueError, match="at least one sample, got 0 and 4"):
        grid("center", window=0)
    with pytest.raises(ValueError, match="at least one sample, got 10 and 0"):
        grid("center", hop=0)


def upstream_frames(signal, kind, window, hop):
    """The windows as arrays, cut the way openl3 (and l3embedding, for `paper`) pads and frames."""
    signal = list(signal)
    if kind == "center":
        signal = [0] * int(window / 2.0) + signal
    if kind == "paper":
        missing = max(0, window - len(signal))
        signal = [0] * (missing // 2) + signal + [0] * (missing - missing // 2)
    elif len(signal) < window:
        signal += [0] * (window - len(signal))
    else:
        over = len(signal) - window
        signal += [0] * (math.ceil(over / float(hop)) * hop - over)
    frames = 1 + int((len(signal) - window) / float(hop))
    return [signal[i * hop : i * hop + window] for i in range(frames)]


kinds = st.sampled_from(GRIDS)
lengths = st.integers(1, 300)
windows = st.integers(1, 40)
hops = st.integers(1, 90)


@given(kinds, lengths, windows, hops)
def test_windows_hold_the_samples_that_upstream_frames_hold(kind, samples, window, hop):
    signal = np.arange(1, samples + 1)
    padded = np.pad(signal, window + hop)
    starts = grid(kind, window, hop).starts(samples) + window + hop
    found = [padded[start : start + window].tolist() for start in starts]
    assert found == upstream_frames(signal, kind, window, hop)


@given(st.sampled_from(["center", "nocenter"]), lengths, windows, hops)
def test_every_sample_is_in_some_window(kind, samples, window, hop):
    hop = min(hop, window)
    covered = np.zeros(samples + window, dtype=bool)
    for start in grid(kind, window, hop).starts(samples):
        covered[max(0, start) : start + window] = True
    assert covered[:samples].all()


@given(kinds, lengths, windows, hops)
def test_starts_are_a_hop_apart(kind, samples, window, hop):
    assert set(np.diff(grid(kind, window, hop).starts(samples)).tolist()) <= {hop}


@given(kinds, lengths, windows, hops)
def test_a_longer_signal_never_has_fewer_windows(kind, samples, window, hop):
    counts = [grid(kind, window, hop).count(samples + more) for more in range(4)]
    assert counts == sorted(counts)
    assert counts[0] >= 1


@given(kinds, lengths, windows, hops, st.data())
def test_part_of_the_starts_is_a_slice_of_all(kind, samples, window, hop, data):
    whole = grid(kind, window, hop).starts(samples)
    first = data.draw(st.integers(0, len(whole)))
    last = data.draw(st.integers(first, len(whole)))
    part = grid(kind, window, hop).starts(samples, range(first, last))
    assert part.tolist() == whole[first:last].tolist()
