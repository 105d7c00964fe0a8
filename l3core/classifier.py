"""A trained classifier of embeddings: its file, and the labels that it gives.

The file is a Keras model (`keras.saving.load_model` reads it: standardisation, three dense layers). It
also holds `l3flow.json`: the labels, and the embedding that it was trained on. Only the arrays of its
weights are read here, never its description of a model, so no file can run code.
"""

import io
import json
import tempfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from l3core.errors import UsageError
from l3core.features import chunks
from l3core.hdf5 import MAX_BYTES, UnsafeHdf5Error, check_contained

HIDDEN = (512, 128)  # Cramer et al. 2019, section 4.2
FACTS = "l3flow.json"
WEIGHTS = "model.weights.h5"
# What a file may claim: far more than any of ours has, and harmless to hold.
MAX_SIZE = 2**16
MAX_LABELS = 10_000
MAX_FACTS_BYTES = 2**24


# Members that are encrypted, packed in unknown ways, cut short, or nested without end.
_NO_ARCHIVE = (RuntimeError, NotImplementedError, EOFError, OSError, zlib.error, RecursionError)


class ClassifierError(UsageError):
    """A file holds no classifier of ours (exit code 2)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Classifier:
    """An MLP with ReLU and softmax on standardised embeddings.

    Attributes:
        labels: of the outputs.
        mean, scale: standardise an embedding, `(d,)`.
        tensors: kernel `(in, out)` and bias `(out,)` of each layer.
        facts: what it was trained on; see `l3core.crossval.folds`.
    """

    labels: tuple[str, ...]
    mean: np.ndarray
    scale: np.ndarray
    tensors: tuple[np.ndarray, ...]
    facts: Mapping[str, Any]

    def probabilities(self, vectors: np.ndarray) -> np.ndarray:
        """Probabilities of the labels, float32 `(windows, labels)` for `(windows, d)`."""
        parts = [self._forward(vectors[rows]) for rows in chunks(*vectors.shape)]
        return np.concatenate(parts or [np.empty((0, len(self.labels)), np.float32)])

    def _forward(self, vectors: np.ndarray) -> np.ndarray:
        values = (vectors - self.mean.astype(np.float32)) / self.scale.astype(np.float32)
        for layer in range(0, len(self.tensors), 2):
            if layer:
                values = np.maximum(values, 0)
            values = values @ self.tensors[layer] + self.tensors[layer + 1]
        values = np.exp(values - values.max(axis=1, keepdims=True))
        return values / values.sum(axis=1, keepdims=True)


def build_keras_model(size: int, classes: int) -> Any:
    """The network: standardisation, then the paper's MLP, `(n, size)` -> `(n, classes)`."""
    import keras

    layers = keras.layers
    return keras.Sequential(
        [
            layers.Input((size,)),
            layers.Normalization(name="standardise"),
            *(
                layers.Dense(units, activation="relu", name=f"hidden_{number}")
                for number, units in enumerate(HIDDEN, start=1)
            ),
            layers.Dense(classes, activation="softmax", name="output"),
        ]
    )


def to_keras(classifier: Classifier) -> bytes:
    """The classifier as a .keras file."""
    model = build_keras_model(len(classifier.mean), len(classifier.labels))
    variance = np.square(classifier.scale)
    model.set_weights([classifier.mean, variance, np.int64(0), *classifier.tensors])
    model.get_layer("standardise").finalize_state()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.keras")
        model.save(path)
        content = io.BytesIO(path.read_bytes())
    facts = {**classifier.facts, "labels": classifier.labels, "size": len(classifier.mean)}
    with zipfile.ZipFile(content, "a") as archive:
        archive.writestr(FACTS, json.dumps(facts, indent=1, sort_keys=True))
    return content.getvalue()


def from_keras(content: bytes, *, name: str) -> Classifier:
    """The classifier in a .keras file.

    Args:
        content: of the file.
        name: of the file, for errors.

    Raises:
        ClassifierError: it is no classifier of ours.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            most = {FACTS: MAX_FACTS_BYTES, WEIGHTS: MAX_BYTES}
            if any(archive.getinfo(name).file_size > size for name, size in most.items()):
                raise ClassifierError(f"{name} holds more than any classifier of ours")
            facts = json.loads(archive.read(FACTS))
            weights = archive.read(WEIGHTS)
        labels, size = facts["labels"], facts["size"]
    except ClassifierError:
        raise
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, *_NO_ARCHIVE):
        raise ClassifierError(
            f"{name} is no classifier of ours; `l3flow crossval` writes some"
        ) from None
    if not _sensible(labels, size):
        raise ClassifierError(f"{name} says nothing sensible of its labels and of its embedding's size")
    mean, variance, _, *tensors = _read_weights(weights, size, len(labels), name)
    return Classifier(
        labels=tuple(labels), mean=mean, scale=np.sqrt(variance), tensors=tuple(tensors), facts=facts
    )


def _sensible(labels: Any, size: Any) -> bool:
    texts = isinstance(labels, list) and all(isinstance(label, str) for label in labels)
    different = texts and len(set(labels)) == len(labels) and 2 <= len(labels) <= MAX_LABELS
    return different and type(size) is int and 0 < size < MAX_SIZE


def _read_weights(content: bytes, size: int, classes: int, name: str) -> Sequence[np.ndarray]:
    try:
        with h5py.File(io.BytesIO(content), "r") as file:  # Keras would follow links to other files
            check_contained(file)
    except UnsafeHdf5Error as error:
        raise ClassifierError(f"{name}: its weights: {error}") from None
    except (OSError, RuntimeError, KeyError, ValueError, TypeError):
        raise ClassifierError(f"{name}: its weights are no HDF5 file") from None
    model = build_keras_model(size, classes)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, WEIGHTS)
        path.write_bytes(content)
        try:
            model.load_weights(path)
        except (OSError, ValueError, KeyError):  # Keras' own words may hold whole tensors
            raise ClassifierError(
                f"{name}: its weights are not those of {size} numbers and {classes} labels"
            ) from None
    return model.get_weights()
