"""Weights: published ones, those of any file that a model reads, or drawn at random; and to a file."""

import hashlib
import io
import posixpath
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from l3core.errors import WeightsError
from l3core.hdf5 import MAX_BYTES
from l3core.keras_files import read_h5, unpacked, write_h5
from l3core.models import BundledFile, LayerShapes, PublishedFile
from l3core.models.base import Beside
from l3core.published import fetch
from l3core.quantisation import Quantisation, read_quantisation, write_quantisation
from l3core.spec import EmbeddingSpec
from l3core.storage import filesystem, read_bytes, type_of
from l3core.stores import is_disk

__all__ = ["Weights", "load_weights", "read_h5", "read_weights", "to_h5"]


class Weights(NamedTuple):
    """The tensors of a network.

    Attributes:
        tensors: float32 arrays in the order of the model's `layer_shapes`.
        origin: where they came from, for people.
        quantisation: how to compute with them in int8, where a spec asks for that.
    """

    tensors: tuple[np.ndarray, ...]
    origin: str
    quantisation: Quantisation | None = None

    @property
    def byte_size(self) -> int:
        """Bytes of the tensors."""
        return sum(tensor.nbytes for tensor in self.tensors)

    @property
    def digest(self) -> str:
        """SHA-256 over the tensors in order, whatever file they came in; and over what int8 needs."""
        digest = hashlib.sha256()
        for tensor in (*self.tensors, *(self.quantisation.arrays if self.quantisation else ())):
            digest.update(repr(tensor.shape).encode())
            digest.update(np.ascontiguousarray(tensor, dtype="<f4").tobytes())
        return digest.hexdigest()


def load_weights(spec: EmbeddingSpec) -> Weights:
    """The weights that a spec names.

    Args:
        spec: its `weights` says which: "published", "random:SEED", or a path or URI.

    Raises:
        WeightsError: they could not be had, or do not fit the spec's network.
    """
    if spec.weights.startswith("random:"):
        seed = int(spec.weights.removeprefix("random:"))
        return Weights(tuple(spec.network.random_tensors(spec, seed)), spec.weights)
    if spec.weights == "published":
        return _published(spec)
    try:
        content = _read(spec.weights)
    except (FileNotFoundError, IsADirectoryError):
        raise WeightsError(
            f"no weights file at {spec.weights}; --weights takes 'published', random:SEED, or a path or "
            f"URI: model {spec.model} reads {spec.network.weights_are}"
        ) from None
    try:
        return read_weights(content, spec, name=spec.weights, beside=_beside(spec.weights))
    except WeightsError as error:
        raise WeightsError(f"{error}; model {spec.model} reads {spec.network.weights_are}") from None


def _published(spec: EmbeddingSpec) -> Weights:
    further = spec.network.further_files(spec)

    def beside(name: str) -> bytes:
        return _place_of(further[name]).read_bytes()

    path = _place_of(spec.network.weight_file(spec))
    return read_weights(path.read_bytes(), spec, name=str(path), beside=beside)


def _place_of(file: PublishedFile | BundledFile) -> Path:
    return file.path if isinstance(file, BundledFile) else fetch(file)


def _beside(uri: str) -> Beside:
    """What reads a file that belongs beside one."""

    def read(name: str) -> bytes:
        other = posixpath.join(posixpath.dirname(uri), name)
        try:
            return _read(other)
        except (FileNotFoundError, IsADirectoryError):
            raise WeightsError(f"{uri} needs {name} beside it, and there is none") from None

    return read


def _nothing_beside(name: str) -> bytes:
    raise WeightsError(f"it needs {name} beside it, and stands alone")


def _read(uri: str) -> bytes:
    fs, path = filesystem(uri)
    if not is_disk(fs):
        return read_bytes(uri)
    if type_of(fs, path) not in ("file", "directory"):  # a device has no end, and a pipe may not begin
        raise FileNotFoundError(uri)
    with fs.open(path, "rb") as file:
        return file.read(MAX_BYTES + 1)


def read_weights(
    content: bytes, spec: EmbeddingSpec, *, name: str, beside: Beside = _nothing_beside
) -> Weights:
    """The weights in a file with all that a spec needs of them.

    Args:
        content: of the file: an .h5 (or .h5.gz), or what else the model reads.
        spec: what they are for.
        name: of the file, for people.
        beside: gives the content of a file of another name that belongs to it.

    Raises:
        WeightsError: the file is not of this model, or the spec's precision is int8 and it is not made
            for that.
    """
    tensors = spec.network.read_tensors(content, spec, name=name, beside=beside)
    if spec.precision != "int8":
        return Weights(tensors, name)
    with h5py.File(io.BytesIO(unpacked(content, name)), "r") as file:  # which has been read
        try:
            return Weights(tensors, name, read_quantisation(file, spec, name=name))
        except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
            if isinstance(error, WeightsError):
                raise
            raise WeightsError(f"{name}: its int8 model cannot be read: {error}") from None


def to_h5(weights: Weights, layers: Sequence[LayerShapes]) -> bytes:
    """An .h5 of Keras, see `l3core.keras_files.write_h5`, with what int8 needs."""
    quantisation = weights.quantisation
    more = (lambda file: write_quantisation(file, quantisation)) if quantisation else None
    return write_h5(weights.tensors, layers, more=more)
