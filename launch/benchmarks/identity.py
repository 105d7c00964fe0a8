"""A model that costs nothing, to measure everything around a model.

Its vector is the beginning of the window itself. Only `l3flow bench` knows it.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from l3core.engines import ENGINES, EngineInfo
from l3core.models import MODELS, BundledFile, EmbeddingModel, LayerShapes, PublishedFile
from l3core.spec import EmbeddingSpec
from l3core.weights import Weights
from l3core.windows import GRIDS

if TYPE_CHECKING:
    import keras


class Identity(EmbeddingModel):
    """The first 512 or 6144 samples of each window of `l3`'s length and rate."""

    name = "identity"
    summary = "no model at all, for benchmarks"
    sample_rate_hz = 48_000
    window_samples = 48_000
    choices: Mapping[str, tuple] = {"embedding_size": (512, 6144), "grid": GRIDS}
    windows_per_second = 5_000.0

    def embedding_size(self, spec: EmbeddingSpec) -> int:
        """512 or 6144."""
        assert spec.embedding_size is not None
        return spec.embedding_size

    def weight_files(self) -> Mapping[str, PublishedFile | BundledFile]:
        """None."""
        return {}

    def weight_file(self, spec: EmbeddingSpec) -> PublishedFile | BundledFile:
        """There is none: `random:0` stands for nothing."""
        raise LookupError("the identity has no weights")

    def layer_shapes(self, spec: EmbeddingSpec) -> tuple[LayerShapes, ...]:
        """No layers."""
        return ()

    def random_tensors(self, spec: EmbeddingSpec, seed: int) -> list[np.ndarray]:
        """No tensors."""
        return []

    def build_frontend(self, spec: EmbeddingSpec) -> "keras.Model":
        """There is none."""
        raise LookupError("the identity has no front end")

    def build_network(
        self, spec: EmbeddingSpec, tensors: Sequence[np.ndarray], *, folded: bool
    ) -> "keras.Model":
        """There is none."""
        raise LookupError("the identity has no network")


class IdentityEngine:
    """Copies the beginning of each window."""

    def __init__(self, size: int, batch_size: int) -> None:
        self.batch_size = batch_size
        self.device = "CPU"
        self._size = size

    def __call__(self, signal: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """See `l3core.engines.Engine`."""
        return np.lib.stride_tricks.sliding_window_view(signal, self._size)[starts]

    def gpu_memory_bytes(self) -> None:
        """None: it has no GPU."""


def load(spec: EmbeddingSpec, weights: Weights, *, batch_size: int | None) -> IdentityEngine:
    """The engine; see `l3core.engines.load_engine`."""
    return IdentityEngine(spec.size, batch_size or 16)


def load_reference(spec: EmbeddingSpec, weights: Weights) -> IdentityEngine:
    """The same."""
    return IdentityEngine(spec.size, 16)


def register() -> None:
    """Make the model known in this process."""
    MODELS.setdefault("identity", Identity())
    ENGINES.setdefault("identity", EngineInfo(__name__, ("float32",)))
