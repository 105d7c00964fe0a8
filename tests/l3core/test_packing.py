"""Packing: every window once, in order, in full batches."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from l3core.packing import pack
from l3core.segments import Segment

WINDOW = 7


def segment(windows, hop, seed):
    rng = np.random.default_rng(seed)
    starts = 3 + hop * np.arange(windows, dtype=np.int64)
    signal = rng.standard_normal(starts[-1] + WINDOW + 5 if windows else 0).astype(np.float32)
    return Segment(signal, starts, rng.random(windows) < 0.5)


@given(
    st.integers(1, 40),
    st.integers(1, WINDOW),
    st.integers(0, 9),
    st.integers(0, 9),
    st.integers(1, 12),
    st.data(),
)
def test_segments_that_follow_share_their_signal(windows, hop, before, after, batch_size, data):
    samples = before + hop * (windows - 1) + WINDOW + after
    signal = np.arange(1, samples + 1, dtype=np.float32)
    cuts = sorted({0, windows, *data.draw(st.lists(st.integers(1, windows), max_size=4))})
    segments = []
    for first, last in pairwise(cuts):
        part = signal[first * hop : (last - 1) * hop + before + WINDOW + after]
        starts = before + hop * np.arange(last - first, dtype=np.int64)
        silent = np.zeros(last - first, bool)
        segments.append(("one", Segment(part, starts, silent, hop if first else None)))
    other = Segment(signal, np.array([before]), np.zeros(1, bool))
    packed = pack(
        [*segments, ("other", other)],
        batch_size=batch_size,
        window_samples=WINDOW,
        context=(before, after),
    )
    seen = 0
    for batch in packed:
        whole = [s for s in batch.starts.tolist() if seen + len(batch.starts) <= windows]
        for start in batch.starts.tolist():
            found = batch.signal[start - before : start + WINDOW + after]
            first = seen * hop if seen < windows else 0
            assert found.tolist() == signal[first:][: before + WINDOW + after].tolist()
            seen += 1
        if whole:
            assert len(batch.signal) == before + hop * (len(whole) - 1) + WINDOW + after
    assert seen == windows + 1


def cut(signal, starts):
    return [signal[start : start + WINDOW].tolist() for start in starts]


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(1, 12)), max_size=8),
    st.integers(1, 6),
)
def test_order_is_kept_and_batches_are_full(shapes, batch_size):
    segments = [(f"clip{i}", segment(windows, hop, seed=i)) for i, (windows, hop) in enumerate(shapes)]
    expected = [
        (key, flag, window)
        for key, given_ in segments
        for flag, window in zip(given_.silent, cut(given_.signal, given_.starts))
    ]
    found, sizes = [], []
    for batch in pack(segments, batch_size=batch_size, window_samples=WINDOW):
        owners = [(key, flag) for key, silent in batch.parts for flag in silent]
        cuts = cut(batch.signal, batch.starts)
        found += [(key, flag, window) for (key, flag), window in zip(owners, cuts, strict=True)]
        sizes.append(len(batch.starts))
        assert batch.starts.dtype == np.int32
        assert batch.signal.dtype == np.float32
    assert found == expected
    full, rest = divmod(len(expected), batch_size)
    assert sizes == [batch_size] * full + [rest] * bool(rest)


def test_overlapping_windows_share_their_samples():
    # 4 windows of 7 every 2: 3 * 2 + 7 = 13 samples, not 28
    (batch,) = pack([("a", segment(4, 2, seed=0))], batch_size=4, window_samples=WINDOW)
    assert batch.signal.shape == (13,)
    assert batch.starts.tolist() == [0, 2, 4, 6]


def test_a_segment_over_two_batches_and_two_segments_in_one():
    segments = [("a", segment(3, 7, seed=0)), ("b", segment(2, 7, seed=1))]
    batches = list(pack(segments, batch_size=2, window_samples=WINDOW))
    owners = [[(key, len(silent)) for key, silent in batch.parts] for batch in batches]
    assert owners == [[("a", 2)], [("a", 1), ("b", 1)], [("b", 1)]]


def test_a_batch_comes_as_soon_as_it_is_full():
    taken = []

    def segments():
        for name in "abc":
            taken.append(name)
            yield name, segment(2, 1, seed=0)

    next(pack(segments(), batch_size=2, window_samples=WINDOW))
    assert taken == ["a"]


def test_nothing_gives_no_batch():
    assert list(pack([], batch_size=4, window_samples=WINDOW)) == []
    assert list(pack([("a", segment(0, 1, seed=0))], batch_size=4, window_samples=WINDOW)) == []
