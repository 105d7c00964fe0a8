"""Conformance: a worker computes what the reference computes, or it computes nothing.

Every worker embeds the same noise when its model has loaded, and compares it with the reference: the
network as published, unfolded, in float32 on a CPU. A GPU that rounds to TF32, a library with another
mel scale, a device that is broken are found before they have written a row.
"""

import platform
import socket
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import numpy as np

from l3core.embedding import Embedder
from l3core.engines import Engine, load_reference
from l3core.engines.halving import compute
from l3core.errors import RunError
from l3core.spec import EmbeddingSpec
from l3core.weights import Weights

# Broadband, because a tone hides how an FFT rounds; at the level of ordinary recordings.
NOISE_SEED = 20190512
NOISE_LEVEL = 0.1
WINDOWS = 2
# Measured on an H100 against a CPU: float32 2e-6, TF32 8e-4 to 1.3e-3 (relative L2); float16 cosine
# 0.99999, bfloat16 0.9996.
FLOAT32_LIMIT = 1e-4
MIXED_LIMIT = 1e-3  # cosine 0.999
# White noise is not what int8 is calibrated on. Measured, calibrated on ESC-10: edgel3-sea-64 4e-4,
# l3 (random:0) 7e-5.
INT8_LIMIT = 1e-2
VERSIONS_OF = ("l3flow", "tensorflow", "keras", "kapre", "openvino", "numpy")


class Deviation(NamedTuple):
    """How far a worker is from the reference.

    Attributes:
        measure: `relative_l2`, or `cosine_distance` (1 - cosine) where a spec rounds on purpose; of the
            window that differs most.
        value: NaN if the worker's numbers are not finite.
        limit: that it must not exceed.
    """

    measure: str
    value: float
    limit: float

    @property
    def conforms(self) -> bool:
        """Whether it is within its limit; NaN is not."""
        return self.value <= self.limit


def noise(sample_rate_hz: int, window_samples: int) -> np.ndarray:
    """The signal of `starts` windows, float32: white noise, the same everywhere and for ever.

    Args:
        sample_rate_hz: only says how it is to be understood: noise is white at any rate.
        window_samples: of a model.
    """
    # RandomState is NumPy's frozen stream; a Generator's may change between versions
    state = np.random.RandomState(NOISE_SEED)
    samples = int(starts(window_samples)[-1]) + window_samples
    return (NOISE_LEVEL * state.standard_normal(samples)).astype(np.float32)


def starts(window_samples: int) -> np.ndarray:
    """Where the windows of the noise start, int32: each half a window after the one before."""
    return np.arange(WINDOWS, dtype=np.int32) * (window_samples // 2)


def embed_noise(spec: EmbeddingSpec, engine: Engine) -> np.ndarray:
    """The noise's vectors, float32 `(WINDOWS, d)`."""
    window_samples = spec.window_grid.window_samples
    return compute(engine, noise(spec.sample_rate_hz, window_samples), starts(window_samples))


def make_reference(spec: EmbeddingSpec, weights: Weights) -> np.ndarray:
    """What every worker of a spec is compared with, float32 `(WINDOWS, d)`.

    Raises:
        RunError: it is no number, so that nothing could be compared.
    """
    vectors = embed_noise(spec, load_reference(spec, weights))
    if not np.isfinite(vectors).all():
        raise RunError(f"the reference that {where()} computes of noise has NaN or infinite numbers")
    return vectors


def deviation(spec: EmbeddingSpec, vectors: np.ndarray, reference: np.ndarray) -> Deviation:
    """Compare vectors with the reference's, both `(windows, d)`."""
    found, expected = vectors.astype(np.float64), reference.astype(np.float64)
    if spec.precision == "float32" and not spec.network.rounds(spec):
        distance = np.linalg.norm(found - expected, axis=1)
        return Deviation("relative_l2", _largest(distance, _length(expected)), FLOAT32_LIMIT)
    limit = INT8_LIMIT if spec.precision == "int8" else MIXED_LIMIT
    return Deviation("cosine_distance", _cosine_distance(found, expected), limit)


def _cosine_distance(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest; zeros have no direction: they are like zeros, and unlike all else."""
    if not np.isfinite(found).all():
        return float("nan")
    lengths = _length(found) * _length(expected)
    distance = lengths - (found * expected).sum(axis=1)
    one_is_zero = (_length(found) == 0) != (_length(expected) == 0)
    return _largest(np.where(one_is_zero, 1.0, distance), lengths)


def _length(vectors: np.ndarray) -> np.ndarray:
    return np.linalg.norm(vectors, axis=1)


def _largest(distance: np.ndarray, scale: np.ndarray) -> float:
    """The largest ratio; vectors of zeros are compared as they are."""
    return float(np.max(distance / np.where(scale == 0, 1, scale)))


def check(embedder: Embedder, reference: np.ndarray) -> Deviation:
    """Hold that a loaded model computes what the reference does.

    Raises:
        RunError: it does not; names host, device, versions and deviation.
    """
    found = deviation(embedder.spec, embed_noise(embedder.spec, embedder.engine), reference)
    if not found.conforms:
        raise RunError(
            f"{where()} with {embedder.engine.device} computes other numbers than the reference: "
            f"{found.measure.replace('_', ' ')} {found.value:.2g}, allowed {found.limit:g} "
            f"({', '.join(f'{name} {number}' for name, number in versions().items())}); "
            "none of its windows are kept: run l3flow doctor there"
        )
    return found


def where() -> str:
    """This machine, for people."""
    return f"worker {socket.gethostname()}"


def versions() -> dict[str, str]:
    """What decides how numbers are computed here."""
    found: dict[str, Any] = {"python": platform.python_version()}
    for package in VERSIONS_OF:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
