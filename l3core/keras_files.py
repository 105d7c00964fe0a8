"""Keras' layout of weights in HDF5: what openl3 and edgel3 publish, and what this project writes.

A file is read by the order of its layers, never by their names (Keras numbers them as they were
built), and only its arrays are read: a Keras model description inside a file is not looked at, so no
file can run code.
"""

import gzip
import io
import zlib
from collections.abc import Callable, Iterable, Sequence

import h5py
import numpy as np

from l3core.errors import WeightsError
from l3core.hdf5 import MAX_BYTES, claimed_bytes, held
from l3core.models.base import LayerShapes

_MAGICS = (b"\x89HDF", b"\x1f\x8b")  # HDF5, and gzip


def is_h5(content: bytes) -> bool:
    """Whether a file seems to be an .h5 or .h5.gz."""
    return content.startswith(_MAGICS)


def unpacked(content: bytes, name: str) -> bytes:
    """The .h5 in an .h5.gz.

    Raises:
        WeightsError: it is too large.
    """
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
        with h5py.File(io.BytesIO(unpacked(content, name)), "r") as file:
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
    return finite((array for _, arrays in found for array in arrays), name=name)


def finite(tensors: Iterable[np.ndarray], *, name: str) -> tuple[np.ndarray, ...]:
    """The tensors of a file as they are, if all are numbers.

    Raises:
        WeightsError: they are not.
    """
    tensors = tuple(tensors)
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


def write_h5(
    tensors: Sequence[np.ndarray],
    layers: Sequence[LayerShapes],
    *,
    more: Callable[[h5py.File], None] | None = None,
) -> bytes:
    """An .h5 in the layout of openl3's published v0_4_0 files, which openl3 itself can load.

    Args:
        tensors: in the order of `layers`.
        layers: what they are called.
        more: writes further groups, where readers of that layout do not look.
    """
    buffer = io.BytesIO()
    rest = iter(tensors)
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
        if more:
            more(file)
    return buffer.getvalue()


def _suffixes(layer: LayerShapes) -> tuple[str, ...]:
    if len(layer.shapes) == 2:
        return ("kernel", "bias")
    return ("gamma", "beta", "moving_mean", "moving_variance")
