"""Segments: the windows of a recording, bit for bit the same whatever part of it is asked for."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l3core.audio import ArraySource
from l3core.errors import AudioError
from l3core.resampling import Resampling
from l3core.segments import cut_segments
from l3core.windows import DENSE, GRIDS, WindowGrid


@cache
def noise(samples):
    return np.random.default_rng(0).uniform(-0.5, 0.5, samples).astype(np.float32)


def grid_of(kind, window, hop, before=0, after=0):
    return WindowGrid(kind=kind, window_samples=window, hop_samples=hop, context=(before, after))


def cut(signal, rates, grid, windows=None):
    """The windows with their context and silent flags that `cut_segments` gives."""
    before, after = grid.context
    length = before + grid.window_samples + after
    source = ArraySource(signal, rates.source_hz)
    windows = range(grid.count(rates.length(len(signal)))) if windows is None else windows
    segments = list(cut_segments(source, grid=grid, resampling=rates, windows=windows))
    parts = [
        part.signal[start - before : start - before + length]
        for part in segments
        for start in part.starts
    ]
    assert all(part.signal.dtype == np.float32 for part in segments)
    flags = [bool(flag) for part in segments for flag in part.silent]
    return np.array(parts).reshape(-1, length), flags


def resampled(signal, rates):
    """The whole recording at the target rate, from its blocks."""
    count = -(-rates.length(len(signal)) // rates.block_target)
    parts = [rates.block(i, lambda a, b: signal[a:b], len(signal)) for i in range(count)]
    return np.concatenate(parts)


def expected_windows(signal, rates, grid):
    whole = resampled(signal, rates)
    before, after = grid.context
    pad = grid.window_samples + grid.hop_samples + before + after
    padded = np.pad(whole, pad)
    starts = grid.starts(len(whole)) - before
    length = before + grid.window_samples + after
    return np.array([padded[s + pad : s + pad + length] for s in starts])


def expected_silence(signal, rates, grid):
    """Every source sample from floor(first * ratio) to ceil(last * ratio), one by one."""
    flags = []
    for start in grid.starts(rates.length(len(signal))).tolist():
        stop = start + grid.window_samples
        first = start * rates.source_hz // rates.target_hz
        last = -(-stop * rates.source_hz // rates.target_hz)
        flags.append(all(signal[i] == 0 for i in range(max(0, first), min(last, len(signal)))))
    return flags


# Rates so low that ten seconds are few samples: blocks of 1000, 800 and 1000 target samples.
ratios = st.sampled_from([(100, 100), (110, 80), (70, 100)]).map(lambda ratio: Resampling(*ratio))
grids = st.builds(
    grid_of,
    st.sampled_from((*GRIDS, DENSE)),
    st.integers(1, 300),
    st.integers(1, 200) | st.integers(1, 5_000),
    st.sampled_from([0, 0, 7, 1_200]),
    st.sampled_from([0, 0, 5, 1_300]),
)


@settings(deadline=None, max_examples=200)
@given(ratios, grids, st.integers(1, 6_000), st.data())
def test_any_range_gives_the_windows_of_the_whole(rates, grid, samples, data):
    signal = noise(6_000)[:samples]
    expected = expected_windows(signal, rates, grid)
    first = data.draw(st.integers(0, len(expected)))
    last = data.draw(st.integers(first, len(expected)))
    found, silent = cut(signal, rates, grid, range(first, last))
    assert len(silent) == last - first
    assert found.tobytes() == expected[first:last].tobytes()


# A recording of 35 s: four blocks of 10 s.
@pytest.mark.parametrize("source", [8_000, 11_024, 44_100])
@pytest.mark.parametrize(("kind", "hop"), [("center", 800), ("nocenter", 8_000), ("paper", 25_000)])
def test_a_recording_of_many_blocks(source, kind, hop):
    rates = Resampling(source, 8_000)
    grid = grid_of(kind, 8_000, hop)
    signal = noise(35 * 44_100)[: 35 * source]
    expected = expected_windows(signal, rates, grid)
    assert cut(signal, rates, grid)[0].tobytes() == expected.tobytes()
    rng = np.random.default_rng(source + hop)
    for _ in range(4):
        first, last = sorted(rng.integers(0, len(expected) + 1, 2).tolist())
        found, _ = cut(signal, rates, grid, range(first, last))
        assert found.tobytes() == expected[first:last].tobytes()


def test_windows_behind_the_end_come_out_alone_too():
    # 15 s, a window of 1 s every 20 s: openl3 adds a second window, which starts 5 s after the end and
    # so in a block that the recording does not have
    rates, grid = Resampling(8_000, 8_000), grid_of("nocenter", 8_000, 160_000)
    signal = noise(120_000)
    assert grid.starts(120_000).tolist() == [0, 160_000]
    found, silent = cut(signal, rates, grid, range(1, 2))
    assert found.shape == (1, 8_000)
    assert not found.any()
    assert silent == [True]


runs = st.lists(st.tuples(st.integers(0, 6_000), st.integers(1, 2_500)), max_size=4)


@settings(deadline=None, max_examples=200)
@given(ratios, grids, st.integers(1, 6_000), runs, st.booleans(), st.data())
def test_silent_is_told_from_the_source_samples(rates, grid, samples, zero_runs, at_ends, data):
    signal = noise(6_000)[:samples].copy()
    for start, length in zero_runs:
        signal[start : start + length] = 0
    if at_ends:
        signal[:400] = signal[-400:] = 0
    expected = expected_silence(signal, rates, grid)
    assert cut(signal, rates, grid)[1] == expected
    first = data.draw(st.integers(0, len(expected)))
    assert cut(signal, rates, grid, range(first, len(expected)))[1] == expected[first:]


# Identity rates, blocks of 1000 samples, windows of 100 every 50.
@pytest.mark.parametrize(
    ("zeros", "silent"),
    [
        ((0, 100), [0]),
        ((0, 99), []),
        ((950, 1_050), [19]),  # over the border between two blocks
        ((951, 1_050), []),
        ((900, 1_100), [18, 19, 20]),
        ((1_000, 1_100), [20]),
        ((900, 1_000), [18]),
        ((2_400, 2_500), [48]),
        ((500, 2_500), list(range(10, 49))),  # over a whole block
    ],
)
def test_silence_at_borders(zeros, silent):
    signal = noise(2_500).copy()
    signal[slice(*zeros)] = 0
    _, flags = cut(signal, Resampling(100, 100), grid_of("nocenter", 100, 50))
    assert np.flatnonzero(flags).tolist() == silent


def test_nothing_asked_gives_nothing():
    rates, grid = Resampling(100, 100), grid_of("center", 100, 50)
    assert cut(noise(2_000), rates, grid, range(5, 5))[1] == []
    assert cut(noise(0), rates, grid)[1] == []


def test_segments_say_where_they_share_their_signal():
    """Blocks of 1000 samples: windows of 100 every 50 share it over their borders, every 150 nowhere."""
    for hop, follows in ((50, [None, 50, 50]), (150, [None] * 21)):
        grid, rates = grid_of("nocenter", 100, hop, 20, 30), Resampling(100, 100)
        windows = range(grid.count(3_000))
        source = ArraySource(noise(3_000), 100)
        segments = list(cut_segments(source, grid=grid, resampling=rates, windows=windows))
        assert [segment.follows_by for segment in segments] == follows


def test_a_segment_holds_about_one_block():
    rates, grid = Resampling(110, 80), grid_of("center", 80, 8)  # blocks of 800 samples
    source = ArraySource(noise(50_000), 110)
    windows = range(grid.count(rates.length(50_000)))
    lengths = [len(s.signal) for s in cut_segments(source, grid=grid, resampling=rates, windows=windows)]
    assert len(lengths) == 46  # 36,363 target samples
    assert max(lengths) <= 800 + 2 * 80


class BrokenSource(ArraySource):
    """An array that cannot be read beyond a sample, as a damaged file."""

    def __init__(self, signal, rate, breaks_at):
        super().__init__(signal, rate)
        self.breaks_at = breaks_at

    def read(self, start, stop):
        if stop > self.breaks_at:
            raise AudioError("truncated", "it ends here")
        return super().read(start, stop)


def test_windows_before_a_break_come_first():
    rates, grid = Resampling(100, 100), grid_of("nocenter", 100, 100)  # blocks of 1000 samples
    source = BrokenSource(noise(3_000), 100, breaks_at=2_500)
    segments = cut_segments(source, grid=grid, resampling=rates, windows=range(30))
    found = []
    with pytest.raises(AudioError, match="ends here"):
        found.extend(len(segment.starts) for segment in segments)
    assert found == [10, 10]
