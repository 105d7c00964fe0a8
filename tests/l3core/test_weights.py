"""Weights: every layout that can be read, every file that cannot, and what is written."""

import gzip
import io
import json
import pickle

import h5py
import numpy as np
import pytest

from l3core.errors import WeightsError
from l3core.models import MODELS
from l3core.spec import EmbeddingSpec
from l3core.weights import Weights, load_weights, read_h5, to_h5
from tests.golden import golden_file

SPEC = EmbeddingSpec(model="edgel3-sea-64", weights="random:0")
LAYERS = SPEC.network.layer_shapes(SPEC)


@pytest.fixture(scope="module")
def weights():
    return load_weights(SPEC)


def same(found, expected):
    assert len(found) == len(expected)
    for a, b in zip(found, expected):
        assert a.dtype == np.float32
        np.testing.assert_array_equal(a, b)
    return True


def edited(content, edit):
    """An .h5 after `edit(file)`."""
    buffer = io.BytesIO(content)
    with h5py.File(buffer, "r+") as file:
        edit(file)
    return buffer.getvalue()


def renamed(name):
    """As Keras numbers layers when another network was built before."""
    base, _, number = name.rpartition("_")
    if not number.isdigit():
        base, number = name, "0"
    return f"{base}_{int(number) + 8}"


def v0_2_0(file):
    """Openl3's older layout: a front end with 3 tensors first, and numbers that start anywhere."""
    names = [layer.name for layer in LAYERS]
    for name in names:
        file.move(name, "tmp_" + name)
    for name in names:
        file.move("tmp_" + name, renamed(name))
    front = file.create_group("melspectrogram_1")
    tensors = {"real_kernels:0": (16, 1, 1, 9), "imag_kernels:0": (16, 1, 1, 9), "Variable:0": (9, 4)}
    for name, shape in tensors.items():
        front[f"melspectrogram_1/{name}"] = np.zeros(shape, np.float32)
    front.attrs["weight_names"] = [f"melspectrogram_1/{name}".encode() for name in tensors]
    layers = ["input_1", "melspectrogram_1", *map(renamed, names), "max_pooling2d_4", "flatten_1"]
    for name in ("input_1", "max_pooling2d_4", "flatten_1"):  # listed too, without weights
        file.create_group(name).attrs["weight_names"] = np.zeros(0, "S1")
    file.attrs["layer_names"] = [name.encode() for name in layers]


def test_random_weights_are_frozen(weights):
    """Tables exist under these numbers: a new way to draw needs another `RANDOM_SCHEME`."""
    assert weights.digest == "ea8ddd0e4aa742dc2a1e0a26b43c5fa6044b8c34e5f7451332dde22dad5a81f8"
    assert weights.origin == "random:0"


def test_random_weights_depend_on_nothing_but_the_seed(weights):
    assert load_weights(SPEC).digest == weights.digest
    digests = [
        load_weights(EmbeddingSpec(model=SPEC.model, weights=f"random:{n}")).digest for n in range(5)
    ]
    assert digests[0] == weights.digest
    assert len(set(digests)) == 5


def test_a_digest_is_over_values_shapes_and_order():
    one, two = np.ones((2, 3), np.float32), np.zeros(4, np.float32)
    given = [(one, two), (two, one), (one,), (one.T, two), (one.reshape(6), two), (2 * one, two)]
    digests = [Weights(tensors, "x").digest for tensors in given]
    assert len(set(digests)) == len(given)
    assert Weights((np.asfortranarray(one), two), "elsewhere").digest == digests[0]


def test_what_is_written_can_be_read(weights):
    assert same(read_h5(to_h5(weights, LAYERS), LAYERS, name="x"), weights.tensors)


def test_a_file_may_be_zipped(weights, tmp_path):
    (tmp_path / "w.h5.gz").write_bytes(gzip.compress(to_h5(weights, LAYERS)))
    spec = EmbeddingSpec(model=SPEC.model, weights=str(tmp_path / "w.h5.gz"))
    assert same(load_weights(spec).tensors, weights.tensors)


def test_a_uri(weights):
    import fsspec

    fsspec.filesystem("memory").pipe("/some/w.h5", to_h5(weights, LAYERS))
    loaded = load_weights(EmbeddingSpec(model=SPEC.model, weights="memory://some/w.h5"))
    assert loaded.digest == weights.digest


def test_layers_are_taken_by_order_without_the_front_end(weights):
    content = edited(to_h5(weights, LAYERS), v0_2_0)
    with h5py.File(io.BytesIO(content)) as file:
        assert "conv2d_8" not in [layer.name for layer in LAYERS]
        assert {"conv2d_9", "batch_normalization_8", "audio_embedding_layer_8"} <= file.keys()
    assert same(read_h5(content, LAYERS, name="x"), weights.tensors)


def test_the_goldens_file():
    spec = EmbeddingSpec(weights=str(golden_file("l3_seeded_mel256.h5")))
    loaded = load_weights(spec).tensors
    assert len(loaded) == 48
    assert loaded[4].shape == (3, 3, 1, 64)
    assert loaded[-1].shape == (512,)
    with h5py.File(spec.weights) as file:
        kernel = next(file[f"conv2d/{name}"] for name in file["conv2d"].attrs["weight_names"])
        np.testing.assert_array_equal(loaded[4], kernel)


def test_the_bundled_file():
    loaded = load_weights(EmbeddingSpec(model="edgel3-sea-64"))
    assert [tensor.shape for tensor in loaded.tensors] == [s for layer in LAYERS for s in layer.shapes]
    assert loaded.origin.endswith("edgel3_sea_ust_audio_emb_64.h5.gz")


def test_keras_loads_what_is_written(weights, tmp_path):
    (tmp_path / "w.h5").write_bytes(to_h5(weights, LAYERS))
    empty = [np.zeros_like(tensor) for tensor in weights.tensors]
    network = MODELS["edgel3-sea-64"].build_network(SPEC, empty, folded=False)
    network.load_weights(tmp_path / "w.h5")
    assert same(network.get_weights(), weights.tensors)


def test_a_whole_model_saved_by_keras_is_read(weights, tmp_path):
    network = MODELS["edgel3-sea-64"].build_network(SPEC, weights.tensors, folded=False)
    network.save(tmp_path / "model.h5")
    assert same(read_h5((tmp_path / "model.h5").read_bytes(), LAYERS, name="x"), weights.tensors)


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.filterwarnings("ignore:unclosed file")
def test_nothing_in_a_file_is_executed(weights, tmp_path):
    trap = tmp_path / "sprung"
    code = pickle.dumps(Payload(str(trap)))
    pickle.loads(code).close()
    assert trap.exists()  # the trap works
    trap.unlink()

    def arm(file):
        layer = {"class_name": "Lambda", "config": {"function": [code.hex(), None, None]}}
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": [layer]})
        file.attrs["training_config"] = np.void(code)
        file["optimizer_weights"] = np.void(code)

    content = edited(to_h5(weights, LAYERS), arm)
    assert same(read_h5(content, LAYERS, name="x"), weights.tensors)
    assert not trap.exists()


def test_a_wrong_shape_is_named(weights):
    def edit(file):
        del file["conv2d_2/conv2d_2/kernel:0"]
        file["conv2d_2/conv2d_2/kernel:0"] = np.zeros((3, 3, 32, 65), np.float32)

    message = (
        r"w.h5: layer conv2d_2 has shapes \(3,3,32,65\) \(64,\).* conv2d_2 needs \(3,3,32,64\) \(64,\)"
    )
    with pytest.raises(WeightsError, match=message):
        read_h5(edited(to_h5(weights, LAYERS), edit), LAYERS, name="w.h5")


def test_weights_of_another_model(weights):
    spec = EmbeddingSpec()
    with pytest.raises(WeightsError, match=r"w.h5 has 17 layers with weights, this model needs 16"):
        read_h5(to_h5(weights, LAYERS), spec.network.layer_shapes(spec), name="w.h5")


def test_numbers_that_are_none(weights):
    broken = (*weights.tensors[:-1], np.full_like(weights.tensors[-1], np.nan))
    with pytest.raises(WeightsError, match=r"w.h5 holds numbers that are NaN or infinite"):
        read_h5(to_h5(Weights(broken, "x"), LAYERS), LAYERS, name="w.h5")


def without_layer_names(file):
    del file.attrs["layer_names"]


def without_a_layer(file):
    del file["conv2d_1"]


def with_a_group_for_a_tensor(file):
    del file["conv2d_1/conv2d_1/bias:0"]
    file.create_group("conv2d_1/conv2d_1/bias:0")


def with_text_for_numbers(file):
    del file["conv2d_1/conv2d_1/bias:0"]
    file["conv2d_1/conv2d_1/bias:0"] = np.array([b"a"] * 32)


def with_a_number_for_names(file):
    file.attrs["layer_names"] = 3


@pytest.mark.parametrize(
    "edit",
    [
        without_layer_names,
        without_a_layer,
        with_a_group_for_a_tensor,
        with_text_for_numbers,
        with_a_number_for_names,
    ],
)
def test_hdf5_that_holds_no_keras_weights(weights, edit):
    with pytest.raises(WeightsError, match=r"^w\.h5") as caught:
        read_h5(edited(to_h5(weights, LAYERS), edit), LAYERS, name="w.h5")
    assert str(caught.value).count("w.h5") == 1


def damaged(content):
    """The same with other bytes behind the header."""
    return content[:20] + b"\xff" * 200 + content[220:]


@pytest.mark.parametrize("kind", ["text", "nothing", "cut", "cut gzip", "damaged gzip", "gzip of text"])
def test_what_is_no_hdf5(weights, kind):
    content = to_h5(weights, LAYERS)
    broken = {
        "text": b"404: Not Found",
        "nothing": b"",
        "cut": content[:100_000],
        "cut gzip": gzip.compress(content, 1)[:100_000],
        "damaged gzip": damaged(gzip.compress(content, 1)),
        "gzip of text": gzip.compress(b"404: Not Found"),
    }
    with pytest.raises(WeightsError, match=r"w.h5 is no HDF5 weights file of Keras"):
        read_h5(broken[kind], LAYERS, name="w.h5")


def test_a_file_that_is_not_there(tmp_path):
    spec = EmbeddingSpec(weights=str(tmp_path / "none.h5"))
    with pytest.raises(WeightsError, match=r"no weights file at .*none.h5; --weights takes"):
        load_weights(spec)


def test_a_folder_is_no_weights_file(tmp_path):
    with pytest.raises(WeightsError, match=str(tmp_path)):
        load_weights(EmbeddingSpec(weights=str(tmp_path)))
