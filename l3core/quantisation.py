"""How a network is computed in 8-bit integers: what calibration found, and what follows from it.

A convolution's input is a byte from 0 to the largest value that calibration saw; its kernel is 8 bits
and a scale for each output channel. Two things keep that near float32 (measured in docs/performance.md):
channels that are much fainter than others are raised before they share a byte's range with them
(Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction",
arXiv 1906.04721, section 4.1), and each bias makes up for what rounding adds on average (section 4.2).
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import h5py
import numpy as np

from l3core.errors import WeightsError
from l3core.hdf5 import claimed_bytes, held
from l3core.models.trunk import Convolution

if TYPE_CHECKING:
    from l3core.spec import EmbeddingSpec

GROUP = "l3flow_int8"
SCHEME = 1
# What the values in a network depend on, beside its weights
_CALIBRATED_FIELDS = ("model", "input_repr", "frontend")


class Quantisation(NamedTuple):
    """What calibration found.

    Attributes:
        gains: by convolution, float32 `(out,)`: what its channels are divided by.
        biases: by convolution, float32 `(out,)`: of the divided channels, corrected.
        highs: by convolution but the last, float32: the largest value of its divided channels.
        calibrated: the spec's fields that it holds for, as JSON.
    """

    gains: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    highs: np.ndarray
    calibrated: str

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """All numbers, in order."""
        return (*self.gains, *self.biases, self.highs)


class Byte(NamedTuple):
    """Numbers as int8 and a float32 scale for each output channel `(out, 1, 1, 1)`."""

    values: np.ndarray
    scale: np.ndarray


def in_bytes(kernel: np.ndarray) -> Byte:
    """A kernel `(out, in, 3, 3)` in 8 bits, symmetric around 0."""
    largest = np.abs(kernel).max(axis=(1, 2, 3), keepdims=True).astype(np.float32)
    scale = np.where(largest > 0, largest, np.float32(1)) / np.float32(127)
    return Byte(np.rint(kernel / scale).astype(np.int8), scale)


def equalised(
    convolutions: Sequence[Convolution], gains: Sequence[np.ndarray]
) -> tuple[Convolution, ...]:
    """The same network with its channels divided by gains, which the next convolution makes up for."""
    before: np.ndarray = np.ones(1, np.float32)
    divided = []
    for convolution, gain in zip(convolutions, gains, strict=True):
        kernel = convolution.kernel * before[:, np.newaxis] / gain
        divided.append(convolution._replace(kernel=kernel, bias=convolution.bias / gain))
        before = gain
    return tuple(divided)


def calibrated_fields(spec: "EmbeddingSpec") -> str:
    """Of a spec, what a calibration holds for."""
    return json.dumps({name: getattr(spec, name) for name in _CALIBRATED_FIELDS})


def write_quantisation(file: h5py.File, quantisation: Quantisation) -> None:
    """Into an open weights file, where nothing else looks."""
    group = file.create_group(GROUP)
    group.attrs["scheme"] = SCHEME
    group.attrs["calibrated"] = quantisation.calibrated
    for number, (gain, bias) in enumerate(zip(quantisation.gains, quantisation.biases)):
        group.create_dataset(f"gain_{number}", data=gain)
        group.create_dataset(f"bias_{number}", data=bias)
    group.create_dataset("highs", data=quantisation.highs)


def read_quantisation(file: h5py.File, spec: "EmbeddingSpec", *, name: str) -> Quantisation:
    """From an open weights file.

    Raises:
        WeightsError: there is none, or it does not fit the spec.
    """
    stages = spec.network.stages(spec)
    if GROUP not in file or stages is None:
        raise WeightsError(
            f"{name} holds no int8 model of {spec.model}; l3flow weights quantise makes one"
        )
    group = held(file, GROUP)
    if group.attrs.get("scheme") != SCHEME:
        raise WeightsError(f"{name}: its int8 model is of another version; quantise the weights again")
    calibrated = str(group.attrs.get("calibrated"))
    if calibrated != calibrated_fields(spec):
        raise WeightsError(f"{name} was calibrated for {calibrated}, this is {calibrated_fields(spec)}")
    sizes = stages.trunk.filters
    gains = [_array(group, f"gain_{number}", (size,), name) for number, size in enumerate(sizes)]
    biases = [_array(group, f"bias_{number}", (size,), name) for number, size in enumerate(sizes)]
    highs = _array(group, "highs", (len(sizes) - 1,), name)
    if not all((array > 0).all() for array in (*gains, highs)):
        raise WeightsError(f"{name}: its int8 model has ranges that are not above 0")
    return Quantisation(tuple(gains), tuple(biases), highs, calibrated)


def _array(group: h5py.Group, key: str, shape: tuple[int, ...], name: str) -> np.ndarray:
    dataset = held(group, key)
    if not isinstance(dataset, h5py.Dataset) or dataset.shape != shape:
        raise WeightsError(f"{name}: {GROUP}/{key} is no array of shape {shape}")
    claimed_bytes(key, dataset)
    array = np.asarray(dataset, np.float32)
    if not np.isfinite(array).all():
        raise WeightsError(f"{name}: {GROUP}/{key} holds numbers that are NaN or infinite")
    return array
