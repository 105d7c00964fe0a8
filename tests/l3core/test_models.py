"""The models: their tables, their networks against NumPy, and what they must not import."""

import ast
import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from l3core.models import MODELS
from l3core.spec import EmbeddingSpec
from l3core.weights import load_weights
from tests.l3core.oracle import edgel3_embedding

ROOT = Path(__file__).resolve().parents[2]
EDGEL3 = EmbeddingSpec(model="edgel3-sea-64")


def relative_l2(found, expected):
    found, expected = (np.asarray(a, dtype=np.float64) for a in (found, expected))
    return np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)


def maps(rows, columns, batch=3):
    """Maps in dB as a front end makes them: noise with a maximum of 0 and a floor of -80."""
    values = np.random.default_rng(0).normal(-35, 20, (batch, rows, columns, 1))
    return np.clip(values - values.max(axis=(1, 2, 3), keepdims=True) + 30, -80, 0).astype(np.float32)


def test_the_table_is_by_name():
    assert {"l3", "edgel3-sea-64"} <= MODELS.keys()
    assert all(model.name == name for name, model in MODELS.items())


# facts 3.1 and 5: 4,689,860 numbers up to the embedding convolution, 399,460 in emb_64
@pytest.mark.parametrize(
    ("model", "layers", "tensors", "numbers"),
    [("l3", 16, 48, 4_689_860), ("edgel3-sea-64", 17, 52, 399_460)],
)
def test_layers_of_a_weights_file(model, layers, tensors, numbers):
    spec = EmbeddingSpec(model=model)
    shapes = MODELS[model].layer_shapes(spec)
    assert len(shapes) == layers
    assert sum(len(layer.shapes) for layer in shapes) == tensors
    assert sum(np.prod(shape) for layer in shapes for shape in layer.shapes) == numbers
    drawn = MODELS[model].random_tensors(spec, 0)
    assert [tensor.shape for tensor in drawn] == [s for layer in shapes for s in layer.shapes]
    assert {tensor.dtype for tensor in drawn} == {np.dtype(np.float32)}


def test_random_kernels_are_he_normal():
    kernels = [t for t in MODELS["l3"].random_tensors(EmbeddingSpec(), 1) if t.ndim == 4]
    for kernel in kernels:
        expected = np.sqrt(2 / np.prod(kernel.shape[:3]))
        assert kernel.std() == pytest.approx(expected, rel=0.1)
    assert len({float(kernel.flat[0]) for kernel in kernels}) == 8  # each has its own stream


def test_files_of_l3():
    files = MODELS["l3"].weight_files()
    assert len(files) == len({file.git_blob_sha1 for file in files.values()}) == 6
    spec = EmbeddingSpec(input_repr="linear", content="env")
    file = MODELS["l3"].weight_file(spec)
    assert file == files["linear-env"]
    assert file.name == "openl3_audio_linear_env-v0_4_0.h5.gz"
    assert file.git_blob_sha1 == "7837407f033f3564c7e8d53fc4a4241fe160478b"  # facts 6.5
    assert file.base_url == "https://github.com/marl/openl3/raw/models/"


def test_the_bundled_file_is_the_published_one():
    file = MODELS["edgel3-sea-64"].weight_file(EDGEL3)
    assert hashlib.sha256(file.path.read_bytes()).hexdigest() == file.sha256
    assert file.licence == "MIT"
    # the level of the maps that it was trained on, in dB (facts 5)
    batch_norm = load_weights(EDGEL3).tensors[:4]
    assert batch_norm[2][0] == pytest.approx(-26.15, abs=0.01)
    assert batch_norm[3][0] == pytest.approx(114.1, abs=0.1)


@pytest.mark.parametrize("folded", [True, False])
def test_edgel3s_network_equals_numpys(folded):
    tensors = load_weights(EDGEL3).tensors
    network = MODELS["edgel3-sea-64"].build_network(EDGEL3, tensors, folded=folded)
    x = maps(64, 50)
    assert relative_l2(network(x).numpy(), edgel3_embedding(x, tensors)).max() < 1e-5


def shaken(tensors):
    """Weights whose normalizations all do something, as trained ones' do."""
    rng = np.random.default_rng(0)
    return [t if t.ndim == 4 else (t + rng.uniform(0, 0.3, t.shape)).astype(np.float32) for t in tensors]


@pytest.mark.parametrize(
    ("input_repr", "size", "shape"),
    [("linear", 512, (257, 197)), ("mel128", 6144, (128, 199)), ("mel256", 512, (256, 199))],
)
def test_a_folded_l3_equals_the_published_one(input_repr, size, shape):
    spec = EmbeddingSpec(input_repr=input_repr, embedding_size=size)
    tensors = shaken(MODELS["l3"].random_tensors(spec, 0))
    x = maps(*shape, batch=2)
    whole, folded = (
        MODELS["l3"].build_network(spec, tensors, folded=folded)(x).numpy() for folded in (False, True)
    )
    assert whole.shape == (2, size)
    assert whole.min() < 0  # the last convolution is linear
    assert relative_l2(folded, whole).max() < 1e-5


def imported(path):
    """Names that a module imports, at any level of it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize("module", ["trunk", "l3", "edgel3", "dense", "base", "__init__"])
def test_models_import_no_tensorflow(module):
    names = set(imported(ROOT / "l3core" / "models" / f"{module}.py"))
    assert names  # the walk found something
    assert {name.split(".")[0] for name in names}.isdisjoint({"tensorflow", "kapre", "jax", "torch"})


@pytest.mark.parametrize("module", ["models", "spec", "weights", "published", "segments", "packing"])
def test_planning_loads_no_tensorflow(module):
    code = (
        f"import sys, l3core.{module}; "
        "sys.exit(' '.join({'tensorflow', 'keras', 'kapre', 'librosa'} & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
