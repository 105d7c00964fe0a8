"""The OpenVINO engine: TensorFlow's values in float32, near them in less, in any company."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import tensorflow as tf

from l3core import Embedder, EmbeddingSpec
from l3core.engines import load_engine, openvino_graph
from l3core.engines.openvino import stages_of
from l3core.engines.openvino_calibration import calibrate
from l3core.engines.openvino_graph import draw
from l3core.errors import SpecError, UsageError
from l3core.quantisation import equalised, in_bytes
from l3core.spectra import hann
from l3core.weights import load_weights
from tests.golden import golden_arrays, golden_file

SPEC = EmbeddingSpec(model="edgel3-sea-64", engine="openvino")
IN_INT8 = replace(SPEC, precision="int8", weights="quantised.h5")
RATE = SPEC.network.sample_rate_hz


@cache
def weights():
    return load_weights(SPEC)


@cache
def windows():
    """24 s of tones, noise and clicks, one window silent, and where each window starts."""
    generator = np.random.default_rng(0)
    time_s = np.arange(24 * RATE) / RATE
    signal = 0.1 * generator.standard_normal(len(time_s)) * (np.sin(time_s) ** 2)
    signal += 0.2 * np.sin(2 * np.pi * (200 + 60 * time_s) * time_s) * (np.cos(0.7 * time_s) ** 2)
    signal[:: 3 * RATE // 2] += 0.9
    signal[5 * RATE : 6 * RATE] = 0
    return signal.astype(np.float32), np.arange(0, 23 * RATE + 1, RATE // 2, dtype=np.int32)


@cache
def quantised():
    signal, starts = windows()
    others = starts[:-1] + RATE // 4
    heard = np.lib.stride_tricks.sliding_window_view(signal, RATE)[others]
    return weights()._replace(quantisation=calibrate(IN_INT8, weights(), heard))


@cache
def vectors(precision="float32", engine="openvino"):
    if precision == "int8":
        spec, given = IN_INT8, quantised()
    else:
        spec, given = replace(SPEC, precision=precision, engine=engine), weights()
    return load_engine(spec, given, batch_size=None)(*windows())


@cache
def dense_vectors(precision="float32", engine="openvino", batch_size=None):
    """Of the same signal, whose last five seconds are digital silence after a faint moment."""
    if precision == "int8":
        spec, given = IN_INT8, quantised()
    else:
        spec, given = replace(SPEC, precision=precision, engine=engine), weights()
    engine = load_engine(replace(spec, grid="dense", hop_s=0.16), given, batch_size=batch_size)
    size = engine.batch_size
    signal, starts = faded()
    return np.concatenate([engine(signal, starts[at : at + size]) for at in range(0, len(starts), size)])


def faded():
    signal = windows()[0].copy()
    signal[-5 * RATE :] = 0
    signal[-5 * RATE :][: RATE // 10] = 1e-6 * signal[: RATE // 10]
    return signal, np.arange(0, len(signal) - RATE + 1, 1280, dtype=np.int32)


def distances(found, expected):
    lengths = np.linalg.norm(expected, axis=1)
    assert lengths.min() > 0
    return np.linalg.norm(found - expected, axis=1) / lengths


def cosines(found, expected):
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    return (found * expected).sum(axis=1) / lengths


def test_float32_is_what_tensorflow_computes():
    assert distances(vectors(), vectors(engine="tensorflow")).max() <= 1e-5
    assert vectors().dtype == np.float32


@pytest.mark.parametrize("frontend", ["openl3", "as-trained"])
@pytest.mark.parametrize("input_repr", ["mel256", "mel128", "linear"])
def test_l3_equals_upstream(input_repr, frontend):
    """Clip 1 has tones: most of its spectrum is rounding, and that has to be upstream's, too."""
    generation = {"openl3": "openl3-0.4", "as-trained": "as-trained"}[frontend]
    golden = golden_arrays("golden.npz")[f"{generation}/clip1/{input_repr}/512/nocenter"]
    spec = EmbeddingSpec(
        engine="openvino",
        input_repr=input_repr,
        frontend=frontend,
        embedding_size=512,
        grid="nocenter",
        hop_s=0.5,
        weights=str(golden_file("l3_seeded_mel256.h5")),
    )
    found = Embedder(spec).embed(golden_arrays("inputs.npz")["clip1_48000"], 48_000).vectors
    within = {"openl3": 1e-4, "as-trained": 2e-2 if input_repr == "linear" else 5e-3}[frontend]
    assert distances(found, golden).max() <= within


@pytest.mark.parametrize("length", [512, 1024, 2048])
def test_the_window_is_tensorflows_to_the_last_bit(length):
    np.testing.assert_array_equal(hann(length), tf.signal.hann_window(length).numpy())


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "int8"])
def test_less_than_float32_is_near_it(precision):
    found = cosines(vectors(precision), vectors())
    assert found.min() >= 0.997
    assert 0.999 <= np.percentile(found, 5) < 1 - 1e-5


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("cores", [1, 3])
@pytest.mark.parametrize("size", [1, 7])
def test_a_window_is_the_same_in_any_batch_on_any_number_of_cores(precision, cores, size, monkeypatch):
    monkeypatch.setattr(openvino_graph, "usable_cores", lambda: cores)
    spec, given = (IN_INT8, quantised()) if precision == "int8" else (SPEC, weights())
    engine = load_engine(spec, given, batch_size=size)
    signal, starts = windows()
    parts = [engine(signal, starts[first : first + size]) for first in range(0, len(starts), size)]
    assert distances(np.concatenate(parts), vectors(precision)).max() <= 1e-5


def test_threads_share_an_engine():
    engine = load_engine(SPEC, weights(), batch_size=None)
    signal, starts = windows()
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda first: engine(signal, starts[first : first + 5]), range(40)))
    for first, part in enumerate(found):
        assert distances(part, vectors()[first : first + 5]).max() <= 1e-5


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "int8"])
def test_silence_is_exact_in_any_precision(precision):
    signal, starts = windows()
    silent = [not signal[start : start + RATE].any() for start in starts]
    assert sum(silent) == 1
    assert distances(vectors(precision)[silent], vectors()[silent]).max() <= 1e-6
    nothing = load_engine(SPEC, weights(), batch_size=None)(np.zeros(RATE, np.float32), starts[:1])
    assert distances(nothing, vectors()[silent]).max() <= 1e-6


def test_dense_windows_are_what_tensorflow_computes():
    """Also where a map is as low as it can be, and where it only nearly is."""
    expected = dense_vectors(engine="tensorflow")
    assert distances(dense_vectors(), expected).max() <= 1e-5
    low = distances(expected, expected[-1:]) < 1e-6
    assert 5 < low.sum() < 30


@pytest.mark.parametrize(("input_repr", "frontend"), [("linear", "openl3"), ("mel128", "as-trained")])
def test_dense_windows_of_l3(input_repr, frontend):
    tensorflow = EmbeddingSpec(
        input_repr=input_repr, frontend=frontend, embedding_size=512, grid="dense", weights="random:0"
    )
    noise = 0.1 * np.random.default_rng(0).standard_normal(72_000).astype(np.float32)
    specs = (replace(tensorflow, engine="openvino"), tensorflow)
    found, expected = (Embedder(spec).embed(noise, 48_000).vectors for spec in specs)
    assert len(found) == len(expected) > 5
    assert distances(found, expected).max() <= 1e-5


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "int8"])
def test_dense_windows_in_less_than_float32_are_near_it(precision):
    found = cosines(dense_vectors(precision), dense_vectors())
    assert 0.998 <= np.percentile(found, 5) < 1 - 1e-5
    assert distances(dense_vectors(precision)[-1:], dense_vectors()[-1:]).max() <= 1e-6


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("batch_size", [1, 7, 50])
def test_a_dense_window_is_the_same_in_any_batch(precision, batch_size):
    found = dense_vectors(precision, batch_size=batch_size)
    assert distances(found, dense_vectors(precision)).max() <= 1e-5


def convolutions_of(spec, given, *, precision="f32"):
    """What each convolution is computed in."""
    graph = draw(stages_of(spec), given, quantised=given.quantisation)
    compiled = graph.compile(graph.results, precision=precision)
    facts = [node.get_rt_info() for node in compiled.get_runtime_model().get_ordered_ops()]
    return [
        fact["primitiveType"].astype(str).lower()
        for fact in facts
        if fact["layerType"].astype(str) == "Convolution"
    ]


def test_float32_is_never_rounded_to_less():
    """OpenVINO would take bfloat16 by itself where a processor has it."""
    found = convolutions_of(SPEC, weights())
    assert len(found) == 8
    assert all(kind.endswith("f32") for kind in found)


def test_int8_is_8_bits_but_for_the_first_convolution():
    found = convolutions_of(IN_INT8, quantised())
    assert [kind.endswith("i8") for kind in found] == [False] + 7 * [True]


def test_kernels_in_8_bits():
    kernel = np.zeros((3, 1, 3, 3), np.float32)
    kernel[0, 0, 0, :2] = [-2.54, 0.011]
    kernel[1, 0, 2, 2] = 1e-9
    values, scale = in_bytes(kernel)
    assert values.dtype == np.int8
    assert values[0, 0, 0, :2].tolist() == [-127, 1]  # 0.011 / 0.02 = 0.55
    assert values[1, 0, 2, 2] == 127
    assert not values[2].any()
    np.testing.assert_allclose(scale.ravel()[:2], [0.02, 1e-9 / 127], rtol=1e-6)


def test_a_network_with_divided_channels_is_the_same():
    folded = stages_of(SPEC).trunk.folded(weights().tensors).convolutions
    generator = np.random.default_rng(0)
    gains = [generator.uniform(0.1, 1, len(each.bias)).astype(np.float32) for each in folded]
    gains[-1][:] = 1
    same = equalised(folded, gains)
    first, second = folded[0], folded[1]
    np.testing.assert_allclose(same[0].kernel * gains[0], first.kernel, rtol=1e-6)
    np.testing.assert_allclose(same[0].bias * gains[0], first.bias, rtol=1e-6)
    divided = second.kernel * gains[0][:, np.newaxis] / gains[1]
    np.testing.assert_allclose(same[1].kernel, divided, rtol=1e-6)


def test_calibration_is_better_than_none():
    """Without corrected biases and raised channels a window of this signal is twice as far."""
    plain = quantised().quantisation
    folded = stages_of(SPEC).trunk.folded(weights().tensors).convolutions
    ones = [np.ones_like(gain) for gain in plain.gains]
    highs = plain.highs * [gain.max() for gain in plain.gains[:-1]]
    raw = plain._replace(gains=ones, biases=[each.bias for each in folded], highs=highs)
    engine = load_engine(IN_INT8, weights()._replace(quantisation=raw), batch_size=None)
    worse = 1 - np.median(cosines(engine(*windows()), vectors()))
    assert worse > 1.2 * (1 - np.median(cosines(vectors("int8"), vectors())))


def test_silence_cannot_be_calibrated_on():
    with pytest.raises(UsageError, match="nothing but silence"):
        calibrate(IN_INT8, weights(), np.zeros((3, RATE), np.float32))


def test_a_model_without_stages_is_refused():
    with pytest.raises(SpecError, match="openvino cannot run model fake") as caught:
        EmbeddingSpec(model="fake", engine="openvino", weights="random:0")
    assert caught.value.field == "engine"


def test_an_engine_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr("l3core.engines.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'l3flow\[openvino\]'"):
        load_engine(SPEC, weights(), batch_size=None)


ALONE = """
import sys
from l3core import Embedder, EmbeddingSpec
import numpy as np

Embedder(EmbeddingSpec(model="edgel3-sea-64", engine="openvino")).embed(np.zeros(9000), 8000)
print(*sorted(name for name, module in sys.modules.items() if module))
"""


def test_it_loads_no_tensorflow_and_tells_nobody_that_it_is_used():
    done = subprocess.run(
        [sys.executable, "-c", ALONE], capture_output=True, text=True, timeout=240, check=True
    )
    packages = {name.partition(".")[0] for name in done.stdout.split()}
    assert "openvino" in packages
    assert not {"openvino_telemetry", "tensorflow", "keras", "kapre"} & packages
