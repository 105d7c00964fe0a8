"""VGGish against upstream's own values, and the files that its authors publish."""

import gc
import io
import zipfile

import numpy as np
import pytest
import tensorflow as tf

from l3core.embedding import Embedder
from l3core.engines import load_reference
from l3core.errors import FetchError, SpecError, WeightsError
from l3core.models.vggish import CHECKPOINT, LAYERS, PCA, read_pca
from l3core.published import cache_dir, state
from l3core.spec import EmbeddingSpec
from l3core.weights import Weights, load_weights, to_h5
from tests import seeded
from tests.golden import golden_arrays

CLIPS = [f"clip{number}" for number in range(7)]
FROZEN = "79d0e376f058eca20adba6f6f0269db8035c2d3f0a74abbd53522f4a852e39ef"
NETWORK = [(layer, kind) for layer in LAYERS for kind in ("weights", "biases")]


def golden(name):
    return golden_arrays("golden_vggish.npz")[name]


def spec_of(variant="raw", **fields):
    return EmbeddingSpec(
        model="vggish", model_options={"variant": variant}, **{"weights": "random:0"} | fields
    )


def weights_of(variant="raw", scale=1.0):
    tensors = [seeded.vggish()[f"vggish/{layer}/{kind}"] for layer, kind in NETWORK]
    if variant not in ("raw", "relu"):
        pca = seeded.pca(scale)
        tensors += [np.float32(pca["pca_eigen_vectors"]), np.float32(pca["pca_means"]).reshape(128)]
    return Weights(tuple(tensors), "seeded")


_kept = {}


def embedder(variant="raw", scale=1.0):
    """The last one is kept: each has 288 MB of weights, and as much again of kernels."""
    if (variant, scale) not in _kept:
        _kept.clear()
        gc.collect()  # a Keras model refers to itself
        _kept[variant, scale] = Embedder(spec_of(variant), weights=weights_of(variant, scale))
    return _kept[variant, scale]


def embed(clip, variant="raw", hop_s=0.96, scale=1.0):
    """A network is built once; examples are far apart or near."""
    model = embedder(variant, scale).regrid(spec_of(variant, hop_s=hop_s).window_grid)
    return model.embed(golden(f"signal16k/{clip}"), 16_000)


def relative_l2(found, expected):
    assert found.shape == expected.shape
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    return (np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)).max(initial=0)


@pytest.mark.parametrize("hop_s", [0.96, 0.1])
def test_log_mel_bands_are_upstreams(hop_s):
    frontend = spec_of().network.build_frontend(spec_of())
    grid, compared = spec_of(hop_s=hop_s).window_grid, 0
    for clip in CLIPS:
        signal = golden(f"signal16k/{clip}")
        if len(signal) < grid.window_samples:  # upstream has no example of these
            continue
        expected = golden(f"examples-{hop_s}/{clip}")
        windows = np.stack([signal[start:][: grid.window_samples] for start in grid.starts(len(signal))])
        found = frontend(windows).numpy()[..., 0]
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= 1e-5
        compared += len(found)
    assert compared > 5


@pytest.mark.parametrize("hop_s", [0.96, 0.1])
@pytest.mark.parametrize(("variant", "name"), [("raw", "embedding"), ("relu", "relu")])
def test_embeddings_are_upstreams(variant, name, hop_s):
    for clip in CLIPS:
        if clip == "clip5":
            continue
        found = embed(clip, variant, hop_s)
        assert relative_l2(found.vectors, golden(f"{name}-{hop_s}/{clip}")) <= 1e-5
        np.testing.assert_allclose(found.start_s, np.arange(len(found.start_s)) * hop_s, atol=1e-9)


@pytest.mark.parametrize(
    ("variant", "name", "scale"),
    [("raw-quantised", "post-pca1", 1.0), ("quantised", "relu-post-pca1", 1.0)],
)
def test_quantised_vectors_are_upstreams(variant, name, scale):
    apart = np.concatenate(
        [
            np.abs(embed(clip, variant, hop_s, scale).vectors - golden(f"{name}-{hop_s}/{clip}")).ravel()
            for clip in CLIPS
            for hop_s in (0.96, 0.1)
            if clip != "clip5"
        ]
    )
    assert apart.max() <= 1
    assert (apart > 0).mean() < 0.01


def test_the_papers_features_are_l3embeddings():
    """Clips that are shorter than an example included."""
    for clip in CLIPS:
        expected = golden(f"l3embedding/{clip}")
        found = embed(clip, "quantised", 0.1, 0.1)
        assert found.vectors.shape == expected.shape
        apart = np.abs(found.vectors - expected)
        assert apart.max() <= 1
        assert (apart > 0).mean() < 0.01
    short = embed("clip5", "quantised", 0.1, 0.1)
    assert short.start_s.tolist() == [-((15_600 - 6_666) // 2) / 16_000]


def test_components_are_the_quantised_ones_before_their_steps():
    fine = embed("clip0", "pca", 0.96).vectors
    steps = embed("clip0", "quantised", 0.96).vectors
    np.testing.assert_array_equal(np.floor((np.clip(np.float64(fine), -2, 2) + 2) * 63.75), steps)
    assert (np.abs(fine) > 2).any()


# facts 4.1: 96 frames need 15,600 samples
@pytest.mark.parametrize(("seconds", "at_tenths"), [(4, 31), (5, 41), (30, 291), (3.98, 31), (0.5, 1)])
def test_examples_of_the_papers_clips(seconds, at_tenths):
    assert spec_of(hop_s=0.1).window_grid.count(round(seconds * 16_000)) == at_tenths


def test_defaults_and_what_there_is_not():
    spec = EmbeddingSpec(model="vggish")
    assert (spec.size, spec.grid, spec.hop_s, spec.model_options) == (
        128,
        "paper",
        0.96,
        {"variant": "raw"},
    )
    for fields, problem in {
        ("grid", "dense"): "must be one of paper, nocenter, center, got 'dense'",
        ("engine", "openvino"): "openvino cannot run model vggish",
        ("input_repr", "mel256"): "model vggish has no such choice",
        ("embedding_size", 512): "must be one of 128",
    }.items():
        with pytest.raises(SpecError, match=problem):
            EmbeddingSpec(model="vggish", **dict([fields]))
    with pytest.raises(SpecError, match=r"variant must be one of raw, .*did you mean 'relu'"):
        spec_of("rellu")


def test_random_weights_are_frozen():
    """Tables exist under these numbers."""
    spec = spec_of("pca")
    drawn = spec.network.random_tensors(spec, 3)
    shapes = [shape for layer in spec.network.layer_shapes(spec) for shape in layer.shapes]
    assert [tensor.shape for tensor in drawn] == shapes
    assert sum(np.prod(shape) for shape in shapes[:-2]) == 72_141_184  # facts 4.1
    for kernel in drawn[:-2:2]:
        assert kernel.std() == pytest.approx(np.sqrt(2 / np.prod(kernel.shape[:-1])), rel=0.1)
    assert drawn[-2].std() == pytest.approx(128**-0.5, rel=0.05)
    assert Weights((drawn[0], drawn[-2]), "x").digest == FROZEN


def npz(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A folder with both files as their authors publish them."""
    folder = tmp_path_factory.mktemp("published")
    names = [f"vggish/{layer}/{kind}" for layer, kind in NETWORK]
    values = [seeded.vggish()[name] for name in names]
    tf.raw_ops.Save(filename=str(folder / CHECKPOINT.name), tensor_names=names, data=values)
    (folder / PCA.name).write_bytes(npz(**seeded.pca(1.0)))
    return folder


def test_the_published_files_are_read(published):
    loaded = load_weights(spec_of("quantised", weights=str(published / CHECKPOINT.name)))
    for found, expected in zip(loaded.tensors, weights_of("quantised").tensors, strict=True):
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected)
    plain = load_weights(spec_of("raw", weights=str(published / CHECKPOINT.name)))
    assert len(plain.tensors) == 18


def test_fetched_files_hold_as_they_were_first(published, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("L3FLOW_WEIGHTS_URL", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setattr("l3core.published.ATTEMPTS", 1)
    with pytest.raises(FetchError, match=r"could not fetch .*/vggish_model.ckpt .*FILE.ckpt"):
        load_weights(spec_of(weights="published"))
    cache_dir().mkdir(parents=True)
    (cache_dir() / CHECKPOINT.name).symlink_to(published / CHECKPOINT.name)
    assert state(CHECKPOINT) == "unheld"
    assert len(load_weights(spec_of(weights="published")).tensors) == 18
    assert state(CHECKPOINT) == "cached"
    (cache_dir() / PCA.name).write_bytes(npz(**seeded.pca(1.0)))  # not the real ones
    assert state(PCA) == "damaged"
    with pytest.raises(FetchError, match=r"could not fetch .*/vggish_pca_params.npz"):
        load_weights(spec_of("pca", weights="published"))


def test_a_checkpoint_without_its_components(published, tmp_path):
    alone = tmp_path / CHECKPOINT.name
    alone.symlink_to(published / CHECKPOINT.name)
    with pytest.raises(WeightsError, match=r"vggish_model.ckpt needs vggish_pca_params.npz beside it"):
        load_weights(spec_of("pca", weights=str(alone)))


def test_an_exported_file_holds_all(tmp_path):
    spec, weights = spec_of("pca", weights=str(tmp_path / "w.h5")), weights_of("pca")
    (tmp_path / "w.h5").write_bytes(to_h5(weights, spec.network.layer_shapes(spec)))
    assert load_weights(spec).digest == weights.digest
    with pytest.raises(WeightsError, match="has 10 layers with weights, this model needs 9"):
        load_weights(spec_of("raw", weights=str(tmp_path / "w.h5")))


GOOD = {"pca_eigen_vectors": np.eye(128), "pca_means": np.zeros((128, 1))}


def bomb():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("pca_eigen_vectors.npy", bytes(1 << 24))
    return buffer.getvalue()


def claiming(shape):
    """An .npy in an .npz whose header claims more than there is."""
    content = npz(**GOOD)
    return content.replace(b"'shape': (128, 128), }", b"'shape': (%s), }" % shape.ljust(8))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"<html>", "not a zip file"),
        (npz(**GOOD)[:-30], "not a zip file"),
        (npz(pca_means=np.zeros(128)), "pca_eigen_vectors"),
        (npz(**GOOD | {"pca_eigen_vectors": np.eye(64)}), r"got \(64, 64\)"),
        (npz(**GOOD | {"pca_means": np.zeros(128, int)}), "int64"),
        (npz(**GOOD | {"pca_means": np.array([{}] * 128)}), "object"),
        (bomb(), "has 16777216 bytes"),
        (claiming(b"9**9, 9"), "pca_eigen_vectors|Cannot parse|malformed|Bad CRC"),
    ],
)
def test_components_that_are_none(content, problem):
    with pytest.raises(WeightsError, match=f"p.npz.*({problem})"):
        read_pca(content, name="p.npz")


def test_components_are_read_as_they_are():
    matrix = np.random.default_rng(0).normal(size=(128, 128))
    given = {"pca_eigen_vectors": np.asfortranarray(matrix), "pca_means": np.arange(128.0)}
    vectors, means = read_pca(npz(**given), name="p.npz")
    np.testing.assert_array_equal(vectors, matrix.astype(np.float32))
    np.testing.assert_array_equal(means, np.arange(128, dtype=np.float32))


def test_the_reference_is_the_network_itself():
    spec = spec_of("quantised")
    signal = golden("signal16k/clip0")[:15_600]
    found = load_reference(spec, weights_of("quantised"))(signal, np.zeros(1, np.int32))
    np.testing.assert_array_equal(found, embed("clip0", "quantised", 0.96).vectors[:1])
    assert spec.network.rounds(spec)
    assert not spec.network.rounds(spec_of("pca"))
