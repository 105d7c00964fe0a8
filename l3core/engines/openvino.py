"""The engine for processors: OpenVINO, in float32, bfloat16 or 8-bit integers."""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from l3core.engines.openvino_graph import draw
from l3core.errors import UsageError
from l3core.models.stages import Stages
from l3core.spec import EmbeddingSpec
from l3core.spectra import PowerSpectra
from l3core.weights import Weights

BATCH_SIZE = 16
PRECISIONS = {"float32": "f32", "mixed_bfloat16": "bf16", "int8": "f32"}


class Network:
    """Outputs of a compiled graph, for any number of threads.

    Args:
        compiled: an `openvino.CompiledModel` of a graph of `l3core.engines.openvino_graph`.
        stages: of its model.
    """

    def __init__(self, compiled: Any, stages: Stages) -> None:
        self._spectra = PowerSpectra(stages.frontend)
        self._compiled = compiled
        self._local = threading.local()  # a request serves one thread at a time

    def __call__(self, windows: np.ndarray) -> list[np.ndarray]:
        """Windows float32 `(windows, samples)` -> all outputs."""
        if not hasattr(self._local, "request"):
            self._local.request = self._compiled.create_infer_request()
        request = self._local.request
        request.infer({0: self._spectra(windows)}, share_inputs=True)
        return [output.data.copy() for output in request.output_tensors]


class OpenVinoEngine:
    """Cuts windows out of a signal and computes those that are not silent.

    All silent windows are alike: they are computed once, in float32 whatever the precision, since a
    constant map lets all rounding errors of a layer add up.

    Args:
        spec: what to compute.
        weights: of the spec's model.
        batch_size: windows in a call, at most.
    """

    def __init__(self, spec: EmbeddingSpec, weights: Weights, batch_size: int) -> None:
        self.batch_size = batch_size
        self.device = "CPU"
        self._window_samples = spec.network.window_samples
        stages = stages_of(spec)
        graph = draw(stages, weights, quantised=weights.quantisation)
        precision = PRECISIONS[spec.precision]
        self._network = Network(graph.compile([graph.embedding], precision=precision), stages)
        exact = self._network
        if spec.precision != "float32":
            plain = draw(stages, weights)
            exact = Network(plain.compile([plain.embedding]), stages)
        (self._silent,) = exact(np.zeros((1, self._window_samples), np.float32))

    def __call__(self, signal: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """See `l3core.engines.Engine`."""
        windows = np.lib.stride_tricks.sliding_window_view(signal, self._window_samples)[starts]
        vectors = np.repeat(self._silent, len(windows), axis=0)
        sounding = windows.any(axis=1)
        if sounding.any():
            (vectors[sounding],) = self._network(windows[sounding])
        return vectors

    def gpu_memory_bytes(self) -> int | None:
        """None: it computes on processors only."""
        return None


def load(spec: EmbeddingSpec, weights: Weights, *, batch_size: int | None) -> OpenVinoEngine:
    """The engine for a spec; see `l3core.engines.load_engine`."""
    return OpenVinoEngine(spec, weights, batch_size or BATCH_SIZE)


def load_reference(spec: EmbeddingSpec, weights: Weights) -> Any:
    """See `l3core.engines.EngineInfo`: what the default engine is compared with, too."""
    from l3core.engines import tensorflow

    return tensorflow.load_reference(spec, weights)


def gpus() -> Sequence[str]:
    """None, see `l3core.engines.EngineInfo`."""
    return []


def stages_of(spec: EmbeddingSpec) -> Stages:
    """What the network of a spec is made of.

    Raises:
        UsageError: this engine cannot run it.
    """
    stages = spec.network.stages(spec)
    if stages is None:
        raise UsageError(f"engine openvino cannot run model {spec.model}")
    return stages
