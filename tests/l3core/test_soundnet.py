"""SoundNet against upstream's own values, and its time steps wherever a recording is cut."""

import io

import numpy as np
import pytest
import tensorflow as tf

from l3core.embedding import Embedder
from l3core.engines import load_reference
from l3core.errors import FetchError, SpecError, WeightsError
from l3core.models.soundnet import LAST, LAYERS, NORMALIZATION, SOUND8
from l3core.spec import EmbeddingSpec
from l3core.weights import Weights, load_weights, to_h5
from tests import seeded
from tests.golden import golden_arrays

RATES = {"native": 44_100, "22050": 22_050}
FROZEN = "58ce4fa156c8bd289b70fb931113989b75432603535dfbed458b969664e68309"
CLIPS = [f"clip{number}" for number in range(7)]


def golden():
    return golden_arrays("golden_soundnet.npz")


def spec_of(layer="conv7", rate="native", **fields):
    options = {"layer": layer, "rate": rate}
    return EmbeddingSpec(model="soundnet", model_options=options, **{"weights": "random:0"} | fields)


def weights_of(spec):
    names = list(LAYERS)[: len(spec.network.layer_shapes(spec)) // 2]
    tensors = []
    for name in names:
        layer = seeded.soundnet()[name]
        tensors += [layer["weights"][:, 0], layer["biases"], *(layer[key] for key in NORMALIZATION)]
    return Weights(tuple(tensors), "seeded")


@pytest.fixture(scope="module", params=LAST)
def embedder(request):
    spec = spec_of(request.param)
    return Embedder(spec, weights=weights_of(spec))


def relative_l2(found, expected):
    assert found.shape == expected.shape
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def input_of(clip, rate):
    """Upstream's input, before it is multiplied: the first channel."""
    if rate == "22050":
        return golden()[f"signal22050/{clip}"]
    taken_at = 44_100 if clip in CLIPS[:3] else 48_000  # golden/README-baselines.md
    signal = golden_arrays("inputs.npz")[f"{clip}_{taken_at}"]
    return signal if signal.ndim == 1 else signal[:, 0]


@pytest.mark.parametrize("way", ["plain", "tiled"])
def test_vectors_are_upstreams(embedder, way):
    """The network does not know what rate a signal has, so all are taken for the spec's own."""
    layer, compared = embedder.spec.model_options["layer"], 0
    for clip in CLIPS:
        for rate in RATES:
            if f"{way}/{clip}/{rate}/{layer}" not in golden():
                continue
            signal = input_of(clip, rate)
            if way == "tiled" and len(signal) < 441_000:
                signal = np.tile(signal, 441_000 // len(signal) + 1)
            found = embedder.embed(signal.astype(np.float32), 44_100).vectors
            assert relative_l2(found, golden()[f"{way}/{clip}/{rate}/{layer}"]) <= 1e-5, (clip, rate)
            compared += 1
    assert compared >= 13


def whole_network(signal, spec):
    """The network over a whole recording, layer by layer, with TensorFlow's own operations."""
    signal = np.pad(signal, (0, max(0, 4_574 - len(signal))))
    x = 256 * signal.astype(np.float64)[np.newaxis, :, np.newaxis]
    for name, layer in LAYERS.items():
        values = {key: np.float64(value) for key, value in seeded.soundnet()[name].items()}
        zeros = layer.convolution.padding
        x = np.pad(x, ((0, 0), (zeros, zeros), (0, 0)))
        x = tf.nn.conv1d(x, values["weights"][:, 0], 2, "VALID").numpy() + values["biases"]
        scale = values["gamma"] / np.sqrt(values["var"] + 1e-5)
        x = np.maximum(0, (x - values["mean"]) * scale + values["beta"])
        if layer.pool:
            size = layer.pool.kernel
            x = x[:, : x.shape[1] // size * size].reshape(1, -1, size, x.shape[2]).max(axis=2)
        if name == LAST[spec.model_options["layer"]]:
            return x[0]
    return None


@pytest.mark.parametrize("samples", [1, 4_573, 4_574, 9_187, 50_053, 100_107, 700_001])
def test_a_recording_of_any_length_is_as_if_computed_whole(embedder, samples):
    signal = np.random.default_rng(samples).normal(0, 0.1, samples).astype(np.float32)
    found = embedder.embed(signal, 44_100)
    assert relative_l2(found.vectors, whole_network(signal, embedder.spec)) <= 1e-5
    assert len(found.start_s) == embedder.spec.steps.count(samples)


def test_cuts_change_nothing(embedder):
    """Windows in any range, and longer than a block of the resampler."""
    signal = np.random.default_rng(0).normal(0, 0.1, 900_000).astype(np.float32)
    from l3core.embedding import array_source

    source = array_source(signal, 44_100)
    whole = embedder.embed_source(source).vectors
    count, parts = len(whole), []
    for first, last in ((0, 1), (1, count // 2), (count // 2, count)):
        segments = ((None, part) for part in embedder.segments(source, range(first, last)))
        parts += [vectors for _, vectors, _ in embedder.embed_segments(segments)]
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-4, atol=1e-4 * np.abs(whole).max())


def test_the_first_channel_is_taken(embedder):
    signal = np.random.default_rng(1).normal(0, 0.1, (60_000, 2)).astype(np.float32)
    found = embedder.embed(signal, 44_100).vectors
    np.testing.assert_array_equal(found, embedder.embed(signal[:, 0], 44_100).vectors)
    assert not np.array_equal(found, embedder.embed(signal.mean(axis=1), 44_100).vectors)


def test_the_reference_agrees(embedder):
    signal = np.random.default_rng(2).normal(0, 0.1, 40_000).astype(np.float32)
    starts = np.array([0, 3_000], np.int32)
    expected = load_reference(embedder.spec, embedder.weights)(signal, starts)
    assert relative_l2(embedder.engine(signal, starts), expected) <= 1e-5


# golden/README-baselines.md 6, facts 2.1: 41 vectors of a clip of 30 s at 44.1 kHz
@pytest.mark.parametrize(
    ("layer", "rate", "size", "step", "of_30_s"),
    [
        ("conv7", "native", 1024, 32_768, 41),
        ("conv6", "22050", 512, 16_384, 41),
        ("conv7", "22050", 1024, 32_768, 21),
        ("pool5", "22050", 256, 8_192, 81),
    ],
)
def test_specs(layer, rate, size, step, of_30_s):
    spec = spec_of(layer, rate)
    assert (spec.size, spec.sample_rate_hz, spec.grid) == (size, RATES[rate], "steps")
    assert spec.hop_s == step / RATES[rate]
    grid = spec.window_grid
    assert grid.window_samples == grid.hop_samples == step
    assert grid.count(30 * RATES[rate]) == of_30_s


def test_what_there_is_not():
    for fields, problem in {
        ("hop_s", 0.5): r"the steps of model soundnet are 0.743039 s apart here, got 0.5",
        ("grid", "center"): "must be one of steps, got 'center'",
        ("grid", "dense"): "must be one of steps, got 'dense'",
        ("engine", "openvino"): "openvino cannot run model soundnet",
        ("embedding_size", 1024): "model soundnet has no such choice",
        ("model_options", (("layer", "conv8"),)): r"layer must be one of conv7, conv6, pool5",
    }.items():
        name, value = fields
        given = {name: dict(value) if isinstance(value, tuple) else value}
        with pytest.raises(SpecError, match=problem):
            EmbeddingSpec(model="soundnet", **given)
    assert spec_of(hop_s=0.743039) == spec_of()


def test_random_weights_are_frozen_and_keep_the_scale():
    spec = spec_of()
    weights = load_weights(spec)
    assert weights.digest == FROZEN
    assert sum(tensor.size for tensor in weights.tensors) == 2_878_384  # facts 4.2
    noise = np.random.default_rng(0).normal(0, 0.1, 200_000).astype(np.float32)
    vectors = Embedder(spec, weights=weights).embed(noise, 44_100).vectors
    assert 0.05 < vectors.std() < 20


def sound8():
    buffer = io.BytesIO()
    np.save(buffer, np.array(seeded.soundnet(), dtype=object), allow_pickle=True)
    return buffer.getvalue()


def test_the_published_layout_is_read(tmp_path):
    (tmp_path / "sound8.npy").write_bytes(sound8())
    for layer in LAST:
        spec = spec_of(layer, weights=str(tmp_path / "sound8.npy"))
        assert load_weights(spec).digest == weights_of(spec).digest
    (tmp_path / "w.h5").write_bytes(
        to_h5(weights_of(spec_of()), spec_of().network.layer_shapes(spec_of()))
    )
    exported = spec_of(weights=str(tmp_path / "w.h5"))
    assert load_weights(exported).digest == weights_of(exported).digest


def test_published_weights_are_fetched_by_hand(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("L3FLOW_WEIGHTS_URL", raising=False)
    with pytest.raises(
        FetchError, match=r"sound8.npy can be fetched by hand only \(https://.*--weights FILE.npy"
    ):
        load_weights(spec_of(weights="published"))
    assert SOUND8.page.endswith("SoundNet-tensorflow")


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda layers: layers.pop("conv3"), r"conv3 needs an array weights of shape .* got none"),
        (
            lambda layers: layers["conv2"].pop("var"),
            r"conv2 needs an array var of shape \(32,\), got none",
        ),
        (lambda layers: layers["conv1"].update(beta=np.ones(3)), r"beta of shape \(16,\), got \(3,\)"),
        (lambda layers: layers["conv1"].update(beta="beta"), "got none"),
        (lambda layers: layers["conv1"].update(beta=np.full(16, np.nan)), "NaN or infinite"),
    ],
)
def test_other_dicts(edit, problem):
    layers = {name: dict(layer) for name, layer in seeded.soundnet().items()}
    edit(layers)
    buffer = io.BytesIO()
    np.save(buffer, np.array(layers, dtype=object), allow_pickle=True)
    spec = spec_of("pool5")
    with pytest.raises(WeightsError, match=f"w.npy.*{problem}"):
        spec.network.read_tensors(buffer.getvalue(), spec, name="w.npy", beside=lambda name: b"")
