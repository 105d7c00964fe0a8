"""Dense windows against a naive reference: the map of a whole clip, and windows pooled by hand."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from l3core import conformance
from l3core.audio import ArraySource
from l3core.dense import DenseLayout, embed_dense, sliding_max
from l3core.embedding import Embedder
from l3core.engines import tensorflow as engines
from l3core.errors import RunError
from l3core.models import MODELS
from l3core.models.dense import DenseWindows
from l3core.models.edgel3 import FRONTEND
from l3core.models.edgel3 import TRUNK as EDGE_TRUNK
from l3core.signals import embed_signals
from l3core.spec import EmbeddingSpec
from l3core.speed import windows_per_second
from l3core.weights import Weights, load_weights
from tests.l3core.oracle import decibels, edgel3_last_map

EDGE = EmbeddingSpec(model="edgel3-sea-64", grid="dense")
# n_fft, hop, mel bands, zeros before the first frame of a window, frames in half a second
SPECTROGRAMS = {
    ("edgel3-sea-64", None, None): (1024, 160, 64, 432, 25),
    ("l3", "linear", "openl3"): (512, 242, None, 0, 99),
    ("l3", "mel128", "as-trained"): (2048, 242, 128, 982, 99),
    ("l3", "mel256", "openl3"): (2048, 242, 256, 0, 99),
    ("l3-narrow", "mel128", "as-trained"): (2048, 242, 128, 982, 99),
}
POOLS = {  # rows and columns that make a number; a window has 6 columns of edgel3, and 24 of l3
    (None, 64): (8, 6),
    ("linear", 6144): (8, 8),
    ("linear", 512): (32, 24),
    ("mel128", 6144): (4, 8),
    ("mel128", 512): (16, 24),
    ("mel128", 768): (4, 8),
    ("mel256", 6144): (8, 8),
    ("mel256", 512): (32, 24),
}
MORE = 5  # columns before and after all windows, where a map's own ends do not reach


def relative_l2(found, expected):
    found, expected = (np.asarray(a, dtype=np.float64) for a in (found, expected))
    return np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)


@cache
def embedder(spec=EDGE, batch_size=None):
    return Embedder(spec, batch_size=batch_size)


def bursts(seconds, rate, seed=0):
    """Noise of all loudnesses, a quarter of a second each, and some of silence."""
    rng = np.random.default_rng(seed)
    count = max(1, round(seconds * rate))
    gain = 10.0 ** rng.uniform(-3, -0.5, 1 + 4 * count // rate)
    gain[3::8] = 0
    return (rng.standard_normal(count) * np.repeat(gain, rate // 4)[:count]).astype(np.float32)


def naive_map(signal, spec, columns):
    """dB of the frames of columns `[-MORE, columns + MORE)`, one by one: `(frequencies, frames)`."""
    n_fft, hop, mels, lead, half = SPECTROGRAMS[spec.model, spec.input_repr, spec.frontend]
    frames = range(-8 * MORE - half, 8 * (columns + MORE) + half)
    pad = 400 * hop
    padded = np.pad(signal, (pad, pad + 8 * columns * hop))
    windows = np.array([padded[f * hop - lead + pad :][:n_fft] for f in frames])
    levels = decibels(
        windows,
        sample_rate_hz=spec.network.sample_rate_hz,
        n_fft=n_fft,
        hop=hop,
        n_mels=mels,
        generation=spec.frontend or "as-trained",
        frames=1,
        pad_before=0,
        pad_after=0,
    )[:, :, 0]
    found = []
    for place in range(half, len(levels) - half):
        loudest = levels[place - half : place + half + 1].max()
        silent = np.isclose(loudest, -100)
        found.append(np.full_like(levels[0], -80) if silent else levels[place] - loudest)
    return np.maximum(found, -80).T


@cache
def naive_last_map(seconds, spec, columns):
    """`(rows, columns, channels)` of the whole clip and what lies around it."""
    signal = bursts(seconds, spec.network.sample_rate_hz)
    return last_map_of(signal, spec, columns)


def last_map_of(signal, spec, columns):
    maps = naive_map(signal, spec, columns)[np.newaxis, :, :, np.newaxis]
    tensors = load_weights(spec).tensors
    if spec.model == "edgel3-sea-64":
        return edgel3_last_map(maps, tensors)[0]
    network = spec.network.trunk.build(maps.shape[1:3], (1, 1), tensors, folded=False)
    return network(maps.astype(np.float32)).numpy().reshape(maps.shape[1] // 8, maps.shape[2] // 8, -1)


def pooled_by_hand(last_map, spec, starts, stride, columns_a_window):
    """The vectors of windows, each number the largest of its rows and columns."""
    rows, columns = POOLS[spec.input_repr, spec.size]
    vectors = []
    for start in starts:
        first = MORE + start // stride
        vectors.append(
            [
                last_map[row : row + rows, column : column + columns].max(axis=(0, 1))
                for row in range(0, len(last_map) - rows + 1, rows)
                for column in range(first, first + columns_a_window, columns)
            ]
        )
    return np.array(vectors).reshape(len(starts), -1)


@pytest.mark.parametrize(("seconds", "windows"), [(5.3, 28), (1.0, 1), (0.1, 1), (0.0, 1), (1.001, 2)])
def test_edgel3_equals_the_naive_reference(seconds, windows):
    signal = bursts(seconds, 8_000)
    found = embedder().embed(signal, 8_000)
    starts = [1_280 * number for number in range(windows)]
    assert found.start_s.tolist() == [start / 8_000 for start in starts]
    last_map = last_map_of(signal, EDGE, windows + 5)
    assert relative_l2(found.vectors, pooled_by_hand(last_map, EDGE, starts, 1_280, 6)).max() < 1e-5


@pytest.mark.parametrize("size", [6144, 512])
@pytest.mark.parametrize("kind", [kind for kind in SPECTROGRAMS if kind[0] == "l3"])
def test_l3_equals_the_naive_reference(kind, size):
    """1.05 s: a second window, 3872 samples after the first, has the last of them."""
    spec = EmbeddingSpec(
        input_repr=kind[1], frontend=kind[2], embedding_size=size, grid="dense", weights="random:0"
    )
    found = embedder(spec).embed(bursts(1.05, 48_000), 48_000)
    assert (found.start_s * 48_000).tolist() == [0, 3_872]
    last_map = naive_last_map(1.05, replace(spec, embedding_size=512), 26)
    assert found.vectors.shape == (2, size)
    expected = pooled_by_hand(last_map, spec, [0, 3_872], 1_936, 24)
    assert relative_l2(found.vectors, expected).max() < 1e-4


def test_l3_narrow_equals_the_naive_reference():
    spec = EmbeddingSpec(
        model="l3-narrow",
        input_repr="mel128",
        frontend="as-trained",
        grid="dense",
        weights="random:0",
    )
    signal = bursts(1.05, 48_000)
    found = embedder(spec).embed(signal, 48_000).vectors
    last_map = last_map_of(signal, replace(spec, grid="nocenter"), 26)
    assert relative_l2(found, pooled_by_hand(last_map, spec, [0, 3_872], 1_936, 24)).max() < 1e-4


def test_silence_is_as_low_as_can_be():
    found = embedder().embed(np.zeros(24_000), 8_000)
    assert found.silent.all()
    network = EDGE.network.dense_windows(EDGE).build_network(load_weights(EDGE).tensors, folded=True)
    columns = network(np.full((1, 64, 240, 1), -80, np.float32)).numpy()[0, 10:16]
    assert relative_l2(found.vectors, np.tile(columns.max(axis=(0, 1)), (14, 1))).max() < 1e-5


@cache
def recording():
    """27 s at 44.1 kHz, three blocks of the resampler, and its windows."""
    signal = bursts(27, 44_100, seed=1)
    return signal, embedder().embed(signal, 44_100)


@pytest.mark.parametrize("batch_size", [1, 5, 60])
def test_a_window_is_the_same_in_any_batch(batch_size):
    signal, whole = recording()
    found = embedder(batch_size=batch_size).embed(signal, 44_100)
    assert relative_l2(found.vectors, whole.vectors).max() <= 1e-5


@pytest.mark.parametrize("cuts", [[1], [44, 45], [7, 31, 33, 80]])
def test_a_window_is_the_same_in_any_part_and_order(cuts):
    signal, whole = recording()
    source, count = ArraySource(signal, 44_100), len(whole.vectors)
    ranges = [range(a, b) for a, b in zip([0, *cuts], [*cuts, count])][::-1]
    keyed = ((part, segment) for part in ranges for segment in embedder().segments(source, part))
    found = {part: [] for part in ranges}
    for part, vectors, _ in embedder().embed_segments(keyed):
        found[part].extend(vectors)
    for part, vectors in found.items():
        assert relative_l2(vectors, whole.vectors[part.start : part.stop]).max() <= 1e-5


def test_a_window_is_the_same_whatever_is_beside_it():
    rates = [8_000, 44_100, 16_000, 8_000]
    signals = [bursts(s, rate, seed=7) for s, rate in zip([3.1, 0.0, 0.2, 12.5], rates)]
    together = embed_signals(list(zip(signals, rates)), embedder(batch_size=11))
    for signal, rate, found in zip(signals, rates, together):
        alone = embedder().embed(signal, rate)
        assert found.start_s.tolist() == alone.start_s.tolist()
        assert relative_l2(found.vectors, alone.vectors).max() <= 1e-5


@pytest.mark.parametrize("hop_s", [0.16, 0.96, 3.2])
def test_shapes_that_are_fixed_as_on_a_gpu_change_nothing(hop_s):
    spec = replace(EDGE, hop_s=hop_s)
    found, calls = [], []
    for fixed in (False, True):
        engine = engines._dense(spec, load_weights(spec), 7, fixed=fixed, folded=True, place=None)
        made = engine._compiled
        engine._compiled = made._replace(
            columns=lambda *given, made=made: calls.append(given) or made.columns(*given)
        )
        other = Embedder(spec)
        other.engine = engine
        found.append(other.embed(recording()[0], 44_100).vectors)
    assert relative_l2(found[1], found[0]).max() <= 1e-5
    shapes = {tuple(g.shape[0] for g in given[1:]) for given in calls[len(calls) // 2 :]}
    assert len(shapes) == 1


def test_a_map_that_a_device_has_no_memory_for_becomes_smaller():
    other, room = embedder(batch_size=64), 400
    expected = other.embed(recording()[0], 44_100).vectors
    compile_, failed = other.engine._compile, []

    def compiled(batch_size):
        made = compile_(batch_size)

        def columns(signal, firsts, kept):
            if len(kept) > room:
                failed.append(len(kept))
                raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
            return made.columns(signal, firsts, kept)

        return made._replace(columns=columns)

    other.engine._compile = compiled
    other.engine.batch_size = 64
    found = other.embed(recording()[0], 44_100).vectors
    assert failed
    assert other.engine.batch_size < 64
    assert relative_l2(found, expected).max() <= 1e-5


def test_a_window_depends_on_its_context_and_on_no_more():
    signal, (before, after) = bursts(4, 8_000), EDGE.window_grid.context
    start, stop = 1_280 * 10 - before, 1_280 * 10 + 8_000 + after
    other = signal.copy()
    other[:start], other[stop:] = 0.3, -0.2
    starts = np.array([1_280 * 10], np.int32)
    same = embedder().engine(signal, starts)
    assert np.array_equal(same, embedder().engine(other, starts))
    other[start + 400 : start + 1_500] = 5  # within it: other decibels
    assert not np.array_equal(same, embedder().engine(other, starts))


def test_what_lies_outside_of_a_signal_is_zeros():
    signal = bursts(2, 8_000)
    padded = embedder().engine(np.pad(signal, 20_000), np.array([20_000, 34_080], np.int32))
    found = embedder().engine(signal, np.array([0, 14_080], np.int32))
    assert relative_l2(found, padded).max() <= 1e-6


@pytest.mark.parametrize(
    ("model", "hop_s", "samples"),
    [
        ("l3", 0.1, 2 * 1_936),  # 4800 / 1936 = 2.48
        ("l3", None, 2 * 1_936),
        ("l3", 0.101, 3 * 1_936),  # 2.504
        ("l3", 0.001, 1_936),
        ("l3", 1, 25 * 1_936),  # 24.79
        ("edgel3-sea-64", 0.1, 1_280),
        ("edgel3-sea-64", 0.25, 2 * 1_280),  # 1.56
        ("l3", 86_400, 2_142_148 * 1_936),  # 2,142,148.8, and a day is the longest
    ],
)
def test_the_nearest_hop_is_taken(model, hop_s, samples):
    spec = EmbeddingSpec(model=model, hop_s=hop_s, grid="dense")
    assert spec.hop_s == samples / spec.network.sample_rate_hz
    assert spec.window_grid.hop_samples == samples
    assert replace(spec, hop_s=spec.hop_s) == spec
    near = replace(spec, hop_s=spec.hop_s - 0.01)
    assert near.fingerprint("0" * 64) == spec.fingerprint("0" * 64)


def test_fingerprints_of_dense_windows_are_frozen_and_their_own():
    """As those of `tests/l3core/test_spec.py`: raise `DenseWindows.version` instead."""
    assert EDGE.fingerprint("0" * 64) == "s8863936207cb5c27"
    exact = replace(EDGE, grid="nocenter")
    assert exact.fingerprint("0" * 64) != EDGE.fingerprint("0" * 64)
    assert "dense_version" not in exact.identity("0" * 64)


def test_every_model_that_allows_the_grid_has_dense_windows():
    able = {name for name, model in MODELS.items() if "dense" in model.choices["grid"]}
    assert able == {"l3", "l3-narrow", "edgel3-sea-64"}
    for name in able:
        dense = EmbeddingSpec(model=name, grid="dense").dense
        assert dense is not None
        assert EmbeddingSpec(model=name).dense is None


def test_dense_windows_conform_and_one_number_of_the_weights_is_enough():
    weights = load_weights(EDGE)
    reference = conformance.make_reference(EDGE, weights)
    assert 0 < conformance.check(embedder(), reference).value < 1e-5
    tensors = [tensor.copy() for tensor in weights.tensors]
    tensors[4][1, 1, 0, 0] += 0.1
    with pytest.raises(RunError, match="relative l2"):
        conformance.check(Embedder(EDGE, weights=Weights(tuple(tensors), "tampered")), reference)


def test_dense_windows_are_said_to_cost_what_they_do_not_share():
    """6 columns in a window: at a hop of one, a sixth of the work; beyond six there is none to share."""
    assert EDGE.windows_per_second == 6 * 300
    assert replace(EDGE, hop_s=0.48).windows_per_second == 2 * 300
    assert replace(EDGE, hop_s=5).windows_per_second == 300
    assert replace(EDGE, grid="nocenter").windows_per_second == 300
    assert windows_per_second(embedder(), seconds=0.01) > 0


def test_a_pooling_that_leaves_columns_over_is_refused():
    with pytest.raises(ValueError, match=r"the pooling \(8, 4\) leaves some of 8 x 6 over"):
        DenseWindows(frontend=FRONTEND, trunk=EDGE_TRUNK, pool=(8, 4))


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30), st.integers(1, 30))
def test_the_largest_of_what_slides(values, width):
    width = min(width, len(values))
    expected = [max(values[i : i + width]) for i in range(len(values) - width + 1)]
    assert sliding_max(np.array(values), width).tolist() == expected


runs = st.lists(st.tuples(st.integers(1, 90), st.integers(0, 30_000)), min_size=1, max_size=12)


@settings(deadline=None)
@given(runs, st.integers(1, 20), st.integers(9, 300))
def test_each_column_is_computed_once_on_maps_that_are_no_larger_than_said(shapes, hop, most):
    """With a network whose columns are the places of their middle frames."""
    layout = DenseLayout(dense=EDGE.dense, hop_columns=hop, map_columns=most)
    starts, at = [], 9_552
    for windows, gap in shapes:
        starts += [at + 1_280 * hop * number for number in range(windows)]
        at = starts[-1] + 8_000 + 9_552 + 9_232 + gap
    signal = np.arange(at, dtype=np.float32)

    def compute(part, firsts, kept):
        assert len(firsts) <= layout.most_frames
        assert len(kept) <= layout.map_frames
        assert len(kept) % 8 == 0
        middles = part[firsts[kept] + 432].reshape(-1, 8)[:, 0]
        return middles[:, np.newaxis, np.newaxis]

    found = embed_dense(signal, np.array(starts), layout=layout, compute=compute)
    assert found[:, 0].tolist() == [start + 5 * 1_280 for start in starts]  # the last of six columns
