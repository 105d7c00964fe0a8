"""Conformance: everything that changes a worker's numbers is found, and nothing else is."""

from dataclasses import replace
from functools import cache, partial

import librosa
import numpy as np
import pytest

from l3core import conformance
from l3core.conformance import check, deviation, embed_noise, make_reference, noise, starts
from l3core.embedding import Embedder
from l3core.errors import RunError
from l3core.spec import EmbeddingSpec
from l3core.weights import Weights, load_weights

L3 = EmbeddingSpec(weights="random:0", embedding_size=512)
EDGE = EmbeddingSpec(model="edgel3-sea-64")
FAKE = EmbeddingSpec(model="fake", engine="fake", weights="random:0")
BOTH = pytest.mark.parametrize("spec", [L3, EDGE], ids=["l3", "edgel3"])


@cache
def reference(spec):
    return make_reference(spec, load_weights(spec))


def refused(embedder, spec):
    """Why a worker is refused."""
    with pytest.raises(RunError) as caught:
        check(embedder, reference(spec))
    return str(caught.value)


def test_the_noise_is_numpys_frozen_stream():
    signal = noise(8_000, 8_000)
    expected = 0.1 * np.random.RandomState(20190512).standard_normal(12_000)
    np.testing.assert_array_equal(signal, expected.astype(np.float32))
    assert signal[:3].tolist() == pytest.approx([0.00765209, 0.05927734, 0.26090718])
    np.testing.assert_array_equal(starts(8_000), [0, 4_000])


def test_relative_l2_by_hand():
    """|(3, 4) - (3, 3.9995)| = 0.0005, of 5: 1e-4; the first window has none."""
    expected = np.array([[1, 0], [3, 4]], np.float32)
    found = np.array([[1, 0], [3, 3.9995]], np.float32)
    assert deviation(FAKE, found, expected) == ("relative_l2", pytest.approx(1e-4, rel=1e-3), 1e-4)


def test_cosine_distance_by_hand():
    """Between (1, 0) and (1, 1) it is 1 - 1/sqrt(2); twice as long is as good."""
    spec = replace(EDGE, precision="mixed_bfloat16")
    expected = np.array([[1, 0], [0, 2]], np.float32)
    far = deviation(spec, np.array([[1, 1], [0, 4]], np.float32), expected)
    assert (far.measure, far.limit, far.conforms) == ("cosine_distance", 1e-3, False)
    assert far.value == pytest.approx(1 - 0.5**0.5)
    assert deviation(spec, 2 * expected, expected).conforms


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_zeros_are_like_zeros_only(precision):
    spec, zeros = replace(EDGE, precision=precision), np.zeros((2, 64), np.float32)
    assert deviation(spec, zeros, zeros).conforms
    assert not deviation(spec, zeros + 1, zeros).conforms
    assert not deviation(spec, zeros, zeros + 1).conforms


@BOTH
def test_this_machine_conforms(spec):
    found = check(Embedder(spec), reference(spec))
    assert 0 < found.value < 1e-5  # the network as published, and the one that is folded


@BOTH
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_rounding_that_a_spec_asks_for_conforms(spec, precision):
    mixed = replace(spec, precision=precision)
    vectors = embed_noise(mixed, Embedder(mixed).engine)
    assert deviation(mixed, vectors, reference(spec)).conforms
    assert not deviation(spec, vectors, reference(spec)).conforms  # as float32 it would not


def test_a_reference_is_float32_whatever_the_spec_rounds():
    mixed = replace(EDGE, precision="mixed_bfloat16")
    np.testing.assert_array_equal(make_reference(mixed, load_weights(mixed)), reference(EDGE))


@BOTH
def test_other_weights_of_the_right_shape_are_found(spec):
    other = load_weights(replace(spec, weights="random:1"))
    assert "relative l2" in refused(Embedder(spec, weights=other), spec)


@BOTH
def test_one_number_of_the_weights_is_enough(spec):
    tensors = [tensor.copy() for tensor in load_weights(spec).tensors]
    tensors[4][1, 1, 0, 0] += 0.1
    refused(Embedder(spec, weights=Weights(tuple(tensors), "tampered")), spec)


@BOTH
def test_another_mel_scale_is_found(spec, monkeypatch):
    """As when a library changes a default: HTK's scale for Slaney's, and the other way round."""
    expected, mel = reference(spec), librosa.filters.mel

    def other(*args, htk, **kwargs):
        return mel(*args, htk=not htk, **kwargs)

    monkeypatch.setattr(librosa.filters, "mel", other)
    with pytest.raises(RunError, match="relative l2"):
        check(Embedder(spec), expected)


@BOTH
def test_rounding_as_tf32_does_is_found(spec, monkeypatch):
    """Convolutions whose operands have ten bits behind the point, and whose sums are float32."""
    from keras.src import ops  # where its layers look

    expected = reference(spec)
    convolve = ops.conv

    def rounded(inputs, kernel, *args, **kwargs):
        return convolve(_to_tf32(inputs), _to_tf32(kernel), *args, **kwargs)

    monkeypatch.setattr(ops, "conv", rounded)
    with pytest.raises(RunError, match=r"relative l2 0\.00"):
        check(Embedder(spec), expected)


def _to_tf32(values):
    import tensorflow as tf

    bits = tf.bitcast(tf.convert_to_tensor(values), tf.int32)
    return tf.bitcast(tf.bitwise.bitwise_and(bits + 0x1000, ~0x1FFF), tf.float32)


@BOTH
def test_a_nan_inside_is_found(spec):
    """Pooling takes the largest number beside it, or the least that there is."""
    tensors = [tensor.copy() for tensor in load_weights(spec).tensors]
    tensors[-1][-1] = np.nan
    refused(Embedder(spec, weights=Weights(tuple(tensors), "tampered")), spec)


def test_a_nan_that_comes_out_is_found():
    scale, offset = (tensor.copy() for tensor in load_weights(FAKE).tensors)
    offset[3] = np.nan
    broken = Weights((scale, offset), "tampered")
    assert "relative l2 nan, allowed 0.0001" in refused(Embedder(FAKE, weights=broken), FAKE)
    with pytest.raises(RunError, match="NaN"):
        make_reference(FAKE, broken)


def test_a_nan_is_found_in_mixed_precision():
    mixed = replace(EDGE, precision="mixed_float16")
    vectors = reference(EDGE).copy()
    vectors[1, 3] = np.nan
    assert not deviation(mixed, vectors, reference(EDGE)).conforms


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_an_overflow_is_found_and_warns_of_nothing(precision):
    spec, expected = replace(EDGE, precision=precision), reference(EDGE)
    assert not deviation(spec, np.full_like(expected, np.inf), expected).conforms


def test_the_line_names_host_device_versions_and_deviation(monkeypatch):
    monkeypatch.setattr(conformance.socket, "gethostname", lambda: "worker-7")
    embedder = Embedder(FAKE)
    embedder.engine.device = "GPU NVIDIA L4"
    with pytest.raises(RunError) as caught:
        check(embedder, reference(FAKE) * np.float32(1.001))
    line = str(caught.value)
    assert "\n" not in line
    for part in ("worker-7", "GPU NVIDIA L4", "tensorflow 2.", "keras 3.", "0.001", "0.0001"):
        assert part in line


def test_a_full_batch_is_not_needed(monkeypatch):
    """The check is the same whatever the size of a batch is."""
    found = [embed_noise(EDGE, Embedder(EDGE, batch_size=size).engine) for size in (2, 16)]
    distance = partial(np.linalg.norm, axis=1)
    assert (distance(found[0] - found[1]) <= 1e-5 * distance(found[0])).all()
