"""The networks under Keras' JAX backend, in a process that has no TensorFlow."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from l3core.embedding import Embedder
from l3core.errors import UsageError
from l3core.models import MODELS
from l3core.spec import EmbeddingSpec
from tests.l3core.test_models import maps, relative_l2, shaken

REPOSITORY = Path(__file__).parents[2]
SPECS = {
    "edgel3": {"model": "edgel3-sea-64", "weights": "random:0"},
    "l3": {"input_repr": "mel128", "embedding_size": 512, "weights": "random:0"},
}
UNDER_JAX = """
import json
import sys

class NoTensorFlow:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "kapre"):
            raise ImportError(f"{name} is not installed")

sys.meta_path.insert(0, NoTensorFlow())
import keras
import numpy as np
from l3core.models import MODELS
from l3core.spec import EmbeddingSpec

given = dict(np.load(sys.argv[1]))
found = {}
for name, fields in json.loads(sys.argv[3]).items():
    spec = EmbeddingSpec(**fields)
    tensors = [given[f"{name} {n}"] for n in range(sum(key.startswith(f"{name} ") for key in given))]
    network = MODELS[spec.model].build_network(spec, tensors, folded=True)
    found[name] = np.asarray(network(given[name]))
assert keras.backend.backend() == "jax" and "jax" in sys.modules
np.savez(sys.argv[2], **found)
"""


def test_the_folded_networks_compute_the_same_under_jax(tmp_path):
    given, expected = {}, {}
    for name, fields in SPECS.items():
        spec = EmbeddingSpec(**fields)
        tensors = shaken(MODELS[spec.model].random_tensors(spec, 0))
        network = MODELS[spec.model].build_network(spec, tensors, folded=True)
        given |= {f"{name} {number}": tensor for number, tensor in enumerate(tensors)}
        given[name] = maps(*network.input_shape[1:3], batch=2)
        expected[name] = network(given[name]).numpy()
    files = [str(tmp_path / name) for name in ("given.npz", "found.npz")]
    np.savez(files[0], **given)
    done = subprocess.run(
        [sys.executable, "-c", UNDER_JAX, *files, json.dumps(SPECS)],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = np.load(files[1])
    for name, vectors in expected.items():
        assert vectors.any()
        assert relative_l2(found[name], vectors).max() < 1e-5, name


def test_the_engine_of_tensorflow_needs_its_backend(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(UsageError, match="it has jax here: unset KERAS_BACKEND"):
        Embedder(EmbeddingSpec(model="edgel3-sea-64"))
