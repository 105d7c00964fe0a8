"""The engine for processors: OpenVINO, in float32, bfloat16 or 8-bit integers."""

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import scipy.ndimage

from l3core.dense import DenseLayout, embed_dense, usual_batch_size
from l3core.engines.openvino_graph import Graph, draw, draw_columns
from l3core.errors import UsageError
from l3core.frontends import DYNAMIC_RANGE_DB
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
    """

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self._local = threading.local()  # a request serves one thread at a time

    def __call__(self, *given: np.ndarray) -> list[np.ndarray]:
        """Its inputs -> all outputs."""
        if not hasattr(self._local, "request"):
            self._local.request = self._compiled.create_infer_request()
        request = self._local.request
        request.infer(dict(enumerate(given)), share_inputs=True)
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
        self._spectra = PowerSpectra(stages.frontend)
        self._network, exact = networks(partial(draw, stages), weights, spec.precision)
        (self._silent,) = exact(self._spectra(np.zeros((1, self._window_samples), np.float32)))

    def __call__(self, signal: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """See `l3core.engines.Engine`."""
        windows = np.lib.stride_tricks.sliding_window_view(signal, self._window_samples)[starts]
        vectors = np.repeat(self._silent, len(windows), axis=0)
        sounding = windows.any(axis=1)
        if sounding.any():
            (vectors[sounding],) = self._network(self._spectra(windows[sounding]))
        return vectors

    def gpu_memory_bytes(self) -> int | None:
        """None: it computes on processors only."""
        return None


class DenseOpenVinoEngine:
    """Dense windows; columns of a map that is as low as it can be are computed once, as above.

    Args:
        spec: what to compute.
        weights: of the spec's model.
        batch_size: windows in a call, at most; None: as many as some maps hold.
    """

    def __init__(self, spec: EmbeddingSpec, weights: Weights, batch_size: int | None) -> None:
        assert spec.dense is not None
        self.device = "CPU"
        self._dense = spec.dense
        self._hop = spec.window_grid.hop_samples // self._dense.stride_samples
        self.batch_size = batch_size or usual_batch_size(self._dense, self._hop)
        self._spectra = PowerSpectra(self._dense.frontend)
        self._network, exact = networks(partial(draw_columns, self._dense), weights, spec.precision)
        margin = self._dense.margin_columns
        frames = np.arange((1 + 2 * margin) * self._dense.frames_a_column, dtype=np.int32)
        silence = np.zeros(self._dense.frontend.n_fft, np.float32)
        self._silent = exact(self._spectra.of_frames(silence, 0 * frames), frames)[0][margin]

    def __call__(self, signal: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """See `l3core.engines.Engine`; what lies outside of the signal is zeros."""
        layout = DenseLayout.of(self._dense, self._hop, self.batch_size)
        return embed_dense(signal, starts, layout=layout, compute=self._columns)

    def _columns(self, signal: np.ndarray, firsts: np.ndarray, kept: np.ndarray) -> np.ndarray:
        spectra = self._spectra.of_frames(signal, firsts)
        columns, loudest = self._network(spectra, kept)
        heard = (loudest > -DYNAMIC_RANGE_DB).reshape(len(columns), -1).any(axis=1)
        near = np.ones(2 * self._dense.margin_columns + 1, bool)
        columns[~scipy.ndimage.binary_dilation(heard, near)] = self._silent
        return columns

    def gpu_memory_bytes(self) -> int | None:
        """None: it computes on processors only."""
        return None


def networks(drawn: Callable[..., Graph], weights: Weights, precision: str) -> tuple[Network, Network]:
    """What computes in a precision, and what computes in float32.

    Args:
        drawn: `draw` or `draw_columns` of a model.
        weights: of it.
        precision: one of `PRECISIONS`.
    """
    graph = drawn(weights, quantised=weights.quantisation)
    network = Network(graph.compile(graph.results, precision=PRECISIONS[precision]))
    if precision == "float32":
        return network, network
    plain = drawn(weights)
    return network, Network(plain.compile(plain.results))


def load(
    spec: EmbeddingSpec, weights: Weights, *, batch_size: int | None
) -> OpenVinoEngine | DenseOpenVinoEngine:
    """The engine for a spec; see `l3core.engines.load_engine`."""
    if spec.dense:
        return DenseOpenVinoEngine(spec, weights, batch_size)
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
