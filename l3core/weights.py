"""Weights: from the published files, from any .h5 of their layouts, or drawn at random; and to a file.

A weights file is read by the order of its layers, never by their names (Keras numbers them as they were
built), and only its arrays are read: a Keras model description inside a file is not looked at, so no
file can run code.
"""

import gzip
import hashlib
import io
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from l3core.errors import WeightsError
from l3core.hdf5 import MAX_BYTES, claimed_bytes, held
from l3core.models import BundledFile, LayerShapes
from l3core.published import fetch
from l3core.quantisation import Quantisation, read_quantisation, write_quantisation
from l3core.spec import EmbeddingSpec
from l3core.storage import filesystem, read_bytes, type_of
from l3core.stores import is_disk


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
        source = spec.network.weight_file(spec)
        path = source.path if isinstance(source, BundledFile) else fetch(source)
        return read_weights(Path(path).read_bytes(), spec, name=str(path))
    try:
        content = _read(spec.weights)
    except (FileNotFoundError, IsADirectoryError):
        raise WeightsError(
            f"no weights file at {spec.weights}; --weights takes 'published', a path or URI of an "
            ".h5, or random:SEED"
        ) from None
    return read_weights(content, spec, name=spec.weights)


def _read(uri: str) -> bytes:
    fs, path = filesystem(uri)
    if not is_disk(fs):
        return read_bytes(uri)
    if type_of(fs, path) not in ("file", "directory"):  # a device has no end, and a pipe may not begin
        raise FileNotFoundError(uri)
    with fs.open(path, "rb") as file:
        return file.read(MAX_BYTES + 1)


def read_weights(content: bytes, spec: EmbeddingSpec, *, name: str) -> Weights:
    """The weights in an .h5 (or .h5.gz) with all that a spec needs of them.

    Args:
        content: of the file.
        spec: what they are for.
        name: of the file, for people.

    Raises:
        WeightsError: from `read_h5`, or the spec's precision is int8 and the file is not made for that.
    """
    tensors = read_h5(content, spec.network.layer_shapes(spec), name=name)
    if spec.precision != "int8":
        return Weights(tensors, name)
    with h5py.File(io.BytesIO(_unpacked(content, name)), "r") as file:  # which `read_h5` has read
        try:
            return Weights(tensors, name, read_quantisation(file, spec, name=name))
        except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
            if isinstance(error, WeightsError):
                raise
            raise WeightsError(f"{name}: its int8 model cannot be read: {error}") from None


def _unpacked(content: bytes, name: str) -> bytes:
    if content[:2] == b"\x1f\x8b":
        with gzip.open(io.BytesIO(content)) as packed:
            content = packed.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise WeightsError(f"{name} unpacks to more than {MAX_BYTES >> 20} MiB")
    return content


def read_h5(content: bytes, layers: Sequence[LayerShapes], *, name: str) -> tuple[np.ndarray, ...]:
    """The tensors of an .h5 (or .h5.gz) in Keras' layout, checked against `layers`.

    Takes `save_weights` files (openl3 v0_4_0), whole `model.save` files (edgel3) and files whose first
    layers are those of a front end (openl3 v0_2_0): these are left out, since ours are computed.

    Raises:
        WeightsError: no such file, or layers of other shapes, with the first that differs.
    """
    try:
        with h5py.File(io.BytesIO(_unpacked(content, name)), "r") as file:
            found = _layers_of(file, name)
    except WeightsError:
        raise
    except (OSError, EOFError, zlib.error, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise WeightsError(f"{name} is no HDF5 weights file of Keras: {error}") from None
    if len(found) != len(layers):
        raise WeightsError(
            f"{name} has {len(found)} layers with weights, this model needs {len(layers)}"
        )
    for (layer, arrays), expected in zip(found, layers):
        shapes = tuple(array.shape for array in arrays)
        if shapes != expected.shapes:
            raise WeightsError(
                f"{name}: layer {layer} has shapes {_listed(shapes)}, "
                f"this model's {expected.name} needs {_listed(expected.shapes)}"
            )
    tensors = tuple(array for _, arrays in found for array in arrays)
    if not all(np.isfinite(tensor).all() for tensor in tensors):
        raise WeightsError(f"{name} holds numbers that are NaN or infinite")
    return tensors


def _layers_of(file: h5py.File, name: str) -> list[tuple[str, list[np.ndarray]]]:
    root = held(file, "model_weights") if "model_weights" in file else file
    if "layer_names" not in root.attrs:
        raise WeightsError(
            f"{name} is HDF5 without Keras' layer_names; "
            "save weights with Keras' save_weights('....h5') or `l3flow weights export`"
        )
    found = []
    claimed = 0
    for layer in map(_text, root.attrs["layer_names"]):
        names = [_text(weight) for weight in held(root, layer).attrs["weight_names"]]
        # kapre 0.1.4 kept its DFT kernels and mel filters as weights of a "(mel)spectrogram" layer
        if names and "spectrogram" not in layer:
            datasets = [held(held(root, layer), weight) for weight in names]
            if not all(isinstance(dataset, h5py.Dataset) for dataset in datasets):
                raise WeightsError(f"{name}: layer {layer} holds something else than arrays")
            # one that is named many times counts as often
            claimed += sum(map(claimed_bytes, names, datasets))
            if claimed > MAX_BYTES:
                raise WeightsError(f"{name}: layer {layer} claims more than {MAX_BYTES >> 20} MiB")
            arrays = [np.asarray(dataset, dtype=np.float32) for dataset in datasets]
            found.append((layer, arrays))
    return found


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _listed(shapes: Sequence[tuple[int, ...]]) -> str:
    return " ".join(str(shape).replace(" ", "") for shape in shapes)


def to_h5(weights: Weights, layers: Sequence[LayerShapes]) -> bytes:
    """An .h5 in the layout of openl3's published v0_4_0 files, which openl3 itself can load.

    What int8 needs lies beside it, where readers of that layout do not look.
    """
    buffer = io.BytesIO()
    rest = iter(weights.tensors)
    with h5py.File(buffer, "w") as file:
        file.attrs["backend"] = "tensorflow"
        file.attrs["keras_version"] = "2.15.0"
        file.attrs["layer_names"] = [layer.name.encode() for layer in layers]
        for layer in layers:
            names = [f"{layer.name}/{suffix}:0" for suffix in _suffixes(layer)]
            group = file.create_group(layer.name)
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name in names:
                group.create_dataset(name, data=next(rest))
        if weights.quantisation:
            write_quantisation(file, weights.quantisation)
    return buffer.getvalue()


def _suffixes(layer: LayerShapes) -> tuple[str, ...]:
    if len(layer.shapes) == 2:
        return ("kernel", "bias")
    return ("gamma", "beta", "moving_mean", "moving_variance")
