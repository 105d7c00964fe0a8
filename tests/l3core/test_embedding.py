"""`Embedder` against upstream's goldens, and the same window the same however it is asked for."""

import math
from functools import cache

import numpy as np
import pytest

from l3core import Embedder, EmbeddingSpec
from l3core.audio import ArraySource
from l3core.engines.tensorflow import TensorFlowEngine
from l3core.weights import load_weights
from tests.golden import golden_arrays, golden_file

CLIPS = [f"clip{i}" for i in range(7)]
# The README's tolerances: relative L2 of a window.
WITHIN = {("openl3", "mel"): 1e-4, ("openl3", "lin"): 1e-4, ("as-trained", "mel"): 5e-3}
WITHIN["as-trained", "lin"] = 2e-2
UPSTREAM = {"openl3": "openl3-0.4", "as-trained": "as-trained"}


def relative_l2(found, expected):
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    assert found.shape == expected.shape
    return np.linalg.norm(found - expected, axis=1) / np.maximum(np.linalg.norm(expected, axis=1), 1e-30)


@cache
def seeded(input_repr="mel256", size=512, grid="center", frontend="openl3", resampler="soxr_hq"):
    """An `l3` with the goldens' weights; batches of 9, so that they hold windows of several clips."""
    spec = EmbeddingSpec(
        input_repr=input_repr,
        embedding_size=size,
        hop_s=0.5,
        grid=grid,
        frontend=frontend,
        resampler=resampler,
        weights=str(golden_file("l3_seeded_mel256.h5")),
    )
    return Embedder(spec, weights=seeded_weights(spec.weights), batch_size=9)


@cache
def seeded_weights(path):
    return load_weights(EmbeddingSpec(weights=path))


@cache
def edgel3(grid="center", hop_s=0.5, batch_size=None, **fields):
    spec = EmbeddingSpec(model="edgel3-sea-64", hop_s=hop_s, grid=grid, **fields)
    return Embedder(spec, batch_size=batch_size)


def embed_all(embedder, recordings, rate):
    """{name: (vectors, silent)} of several recordings, embedded in one stream of full batches."""
    keyed = (
        (name, segment)
        for name, audio in recordings.items()
        for segment in embedder.segments(ArraySource(audio, rate))
    )
    parts = {name: [] for name in recordings}
    for name, vectors, silent in embedder.embed_segments(keyed):
        parts[name].append((vectors, silent))
    return {name: tuple(map(np.concatenate, zip(*part))) for name, part in parts.items()}


@pytest.mark.parametrize("frontend", UPSTREAM)
@pytest.mark.parametrize("input_repr", ["linear", "mel128", "mel256"])
@pytest.mark.parametrize(
    ("size", "grid", "clips"), [(512, "center", 7), (512, "nocenter", 7), (6144, "center", 2)]
)
def test_l3_equals_upstream(input_repr, size, grid, clips, frontend):
    golden = golden_arrays("golden.npz")
    keys = {clip: f"{UPSTREAM[frontend]}/{clip}/{input_repr}/{size}/{grid}" for clip in CLIPS}
    keys = {clip: key for clip, key in keys.items() if key in golden}
    assert len(keys) == clips
    inputs = golden_arrays("inputs.npz")
    embedder = seeded(input_repr, size, grid, frontend)
    found = embed_all(embedder, {clip: inputs[f"{clip}_48000"] for clip in keys}, 48_000)
    for clip, key in keys.items():
        vectors, silent = found[clip]
        assert vectors.dtype == np.float32
        assert relative_l2(vectors, golden[key]).max() <= WITHIN[frontend, input_repr[:3]], clip
        assert silent.tolist() == [clip == "clip4"] * len(vectors)


@pytest.mark.parametrize("grid", ["center", "nocenter"])
@pytest.mark.parametrize("clip", CLIPS)
def test_start_times_equal_upstreams(clip, grid):
    """openl3 gives the times of centres where it centres, we those of first samples."""
    timestamps = golden_arrays("golden.npz")[f"timestamps/{clip}/{grid}"]
    audio = golden_arrays("inputs.npz")[f"{clip}_48000"]
    found = edgel3(grid).embed(audio, 48_000)
    assert found.start_s.dtype == np.float64
    assert found.start_s.tolist() == (timestamps - (0.5 if grid == "center" else 0)).tolist()
    assert found.silent.tolist() == [clip == "clip4"] * len(timestamps)


@pytest.mark.parametrize("engine", ["tensorflow", "openvino"])
@pytest.mark.parametrize("grid", ["center", "nocenter"])
def test_edgel3_equals_upstream(grid, engine):
    golden = golden_arrays("golden_edgel3_sea64.npz")
    for clip in CLIPS:
        found = edgel3(grid, engine=engine).embed(golden[f"{clip}_8000"], 8_000).vectors
        assert relative_l2(found, golden[f"edgel3-sea/{clip}/64/{grid}"]).max() <= 1e-5, clip


def test_44100_hz_with_resampy_equals_upstream():
    golden = golden_arrays("golden.npz")["openl3-0.4/clip1/mel128/512/nocenter"]
    audio = golden_arrays("inputs.npz")["clip1_44100"]
    found = seeded("mel128", 512, "nocenter", resampler="resampy").embed(audio, 44_100)
    assert relative_l2(found.vectors, golden).max() <= 1e-4


@pytest.mark.parametrize("rate", [44_100, 48_000])
@pytest.mark.parametrize("resampler", ["soxr_hq", "resampy"])
def test_edgel3_is_close_to_upstream_at_any_rate(resampler, rate):
    """Not equal: edgel3 resamples with resampy 0.2.2. Other clips are 0.3 to 1.5 away."""
    golden, inputs = golden_arrays("golden_edgel3_sea64.npz"), golden_arrays("inputs.npz")
    for clip in ("clip0", "clip1", "clip2"):
        found = edgel3(resampler=resampler).embed(inputs[f"{clip}_{rate}"], rate).vectors
        assert relative_l2(found, golden[f"edgel3-sea/{clip}/64/center"]).max() < 0.2


def test_channels_are_averaged():
    stereo = golden_arrays("inputs.npz")["clip6_48000"]
    assert stereo.shape == (70_000, 2)
    found = edgel3().embed(stereo, 48_000).vectors
    np.testing.assert_array_equal(found, edgel3().embed(stereo.mean(axis=1), 48_000).vectors)
    one_channel = edgel3().embed(stereo[:, :1], 48_000).vectors
    np.testing.assert_array_equal(one_channel, edgel3().embed(stereo[:, 0], 48_000).vectors)
    assert relative_l2(one_channel, found).max() > 0.01  # which the channels' difference shows


@cache
def recording():
    """27 s at 44.1 kHz, three blocks: noise bursts of all loudnesses and stretches of silence."""
    rng = np.random.default_rng(0)
    gain = np.repeat(10.0 ** rng.uniform(-4, -0.5, 54) * (rng.random(54) < 0.7), 22_050)
    return (rng.standard_normal(len(gain)) * gain).astype(np.float32)


@cache
def whole():
    return edgel3(hop_s=0.3).embed(recording(), 44_100)


def test_silence_in_the_middle_is_flagged():
    assert whole().vectors.shape == (90, 64)
    # the window [s, s + 1) holds sound if a burst of half a second does
    loud = recording().reshape(54, 22_050).any(axis=1)
    times = [round(start, 6) for start in whole().start_s.tolist()]
    spans = [(max(0, math.floor(t * 2)), math.ceil((t + 1) * 2)) for t in times]
    assert whole().silent.tolist() == [not loud[first:last].any() for first, last in spans]
    assert 0 < whole().silent.sum() < 45


@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_a_window_is_the_same_in_any_batch(batch_size):
    found = edgel3(hop_s=0.3, batch_size=batch_size).embed(recording(), 44_100)
    assert relative_l2(found.vectors, whole().vectors).max() <= 1e-5


@pytest.mark.parametrize("fixed", [False, True])
def test_a_last_batch_is_no_other_whether_it_is_filled_up_or_not(fixed):
    """A GPU computes it as a full one, a CPU just the windows that there are."""
    spec, weights = edgel3(hop_s=0.3).spec, edgel3(hop_s=0.3).weights
    engine = TensorFlowEngine(spec, weights, 8, fixed=fixed)
    signal = np.random.default_rng(0).uniform(-0.5, 0.5, 16_000).astype(np.float32)
    starts = np.arange(8, dtype=np.int32) * 1_000
    full, few = engine(signal, starts), engine(signal, starts[2:5])
    assert few.shape == (3, 64)
    assert relative_l2(few, full[2:5]).max() <= 1e-5


@pytest.mark.parametrize("cuts", [[1], [44, 45], [7, 31, 33, 80]])
def test_a_window_is_the_same_in_any_part_and_order(cuts):
    embedder, source = edgel3(hop_s=0.3), ArraySource(recording(), 44_100)
    ranges = [range(a, b) for a, b in zip([0, *cuts], [*cuts, 90])][::-1]
    keyed = ((part, segment) for part in ranges for segment in embedder.segments(source, part))
    found = {part: [] for part in ranges}
    for part, vectors, _ in embedder.embed_segments(keyed):
        found[part].extend(vectors)
    for part, vectors in found.items():
        assert relative_l2(vectors, whole().vectors[part.start : part.stop]).max() <= 1e-5


def test_no_samples_give_no_windows():
    for audio in (np.zeros(0, np.float32), np.zeros((0, 2))):
        found = edgel3().embed(audio, 44_100)
        assert found.vectors.shape == (0, 64)
        assert found.vectors.dtype == np.float32
        assert (found.start_s.shape, found.silent.shape) == ((0,), (0,))


def test_one_sample_gives_one_window():
    found = edgel3("nocenter").embed(np.array([0.5]), 48_000)
    assert found.vectors.shape == (1, 64)
    assert (found.start_s.tolist(), found.silent.tolist()) == ([0.0], [False])


@pytest.mark.parametrize("rate", [0, -1, 44_100.5, "48000", None, math.nan, math.inf])
def test_rates_that_are_refused(rate):
    with pytest.raises(ValueError, match="sample_rate must be a positive whole number"):
        edgel3().embed(np.zeros(10), rate)


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (np.zeros(10, np.int16), "floating point"),
        (np.zeros((2, 2, 2)), "shape"),
        (np.float64(0.0), "shape"),
        (np.array([np.nan, 0.0]), "finite"),
        (np.array([0.0, -np.inf]), "finite"),
        (np.zeros((10, 0)), "channel"),
    ],
)
def test_audio_that_is_refused(audio, message):
    with pytest.raises(ValueError, match=message):
        edgel3().embed(audio, 48_000)


def test_the_fingerprint_is_that_of_spec_and_weights():
    embedder = edgel3()
    assert embedder.fingerprint == embedder.spec.fingerprint(load_weights(embedder.spec).digest)
