"""A tiny real model without TensorFlow, for tests of tables and pipelines.

8 numbers from each window of 1000 samples at 4 kHz: its mean level in eight equal parts, times a weight.
It goes through the same spec, weights, engine and embedder as any other model.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from l3core.engines import ENGINES, EngineInfo
from l3core.models import MODELS, BundledFile, EmbeddingModel, LayerShapes, PublishedFile
from l3core.spec import EmbeddingSpec
from l3core.weights import Weights
from l3core.windows import GRIDS


class FakeModel(EmbeddingModel):
    name = "fake"
    summary = "mean levels"
    sample_rate_hz = 4_000
    window_samples = 1_000
    choices: Mapping[str, tuple] = {"embedding_size": (8,), "grid": GRIDS}
    default_hop_s = 0.25
    windows_per_second = 5_000.0

    def embedding_size(self, spec: EmbeddingSpec) -> int:
        return 8

    def weight_files(self) -> Mapping[str, PublishedFile | BundledFile]:
        return {}

    def weight_file(self, spec: EmbeddingSpec) -> PublishedFile | BundledFile:
        raise AssertionError("the fake model has no published weights, use random:SEED")

    def layer_shapes(self, spec: EmbeddingSpec) -> tuple[LayerShapes, ...]:
        return (LayerShapes("dense", ((8,), (8,))),)

    def random_tensors(self, spec: EmbeddingSpec, seed: int) -> list[np.ndarray]:
        state = np.random.RandomState(seed)
        return [state.rand(8).astype(np.float32) + 1, state.rand(8).astype(np.float32)]

    def build_frontend(self, spec: EmbeddingSpec) -> Any:
        raise AssertionError("the fake engine needs no Keras graph")

    def build_network(self, spec: EmbeddingSpec, tensors: Sequence[np.ndarray], *, folded: bool) -> Any:
        raise AssertionError("the fake engine needs no Keras graph")


class FakeEngine:
    def __init__(self, spec: EmbeddingSpec, weights: Weights, batch_size: int) -> None:
        self.batch_size = batch_size
        self.device = "CPU"
        self._window = spec.network.window_samples
        self._scale, self._offset = weights.tensors

    def __call__(self, signal: np.ndarray, starts: np.ndarray) -> np.ndarray:
        windows = signal[starts[:, np.newaxis] + np.arange(self._window)]
        levels = np.abs(windows.reshape(len(starts), 8, -1)).mean(axis=2)
        return levels * self._scale + self._offset

    def gpu_memory_bytes(self) -> None:
        return None


def load(spec: EmbeddingSpec, weights: Weights, *, batch_size: int | None) -> FakeEngine:
    return FakeEngine(spec, weights, batch_size or 16)


def load_reference(spec: EmbeddingSpec, weights: Weights) -> FakeEngine:
    return FakeEngine(spec, weights, 16)


def register() -> None:
    """Make `EmbeddingSpec(model="fake", engine="fake", weights="random:0")` work."""
    MODELS.setdefault("fake", FakeModel())
    ENGINES.setdefault("fake", EngineInfo("tests.fake_model", ("float32",)))
