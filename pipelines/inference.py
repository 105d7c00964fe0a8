"""Embedding inside other people's pipelines: `EmbedSignals`, and a handler for Beam's `RunInference`.

    from pipelines import EmbedSignals, L3ModelHandler

`EmbedSignals` keeps timestamps and windows, fills the model's batches across elements and hands bad
signals out beside the good ones. `RunInference` batches elements itself, and its outputs have the
timestamp of their batch.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam import typehints
from apache_beam.metrics import Metrics
from apache_beam.ml.inference.base import ModelHandler
from apache_beam.typehints.trivial_inference import key_value_types
from apache_beam.utils.windowed_value import WindowedValue

from l3core.audio import ArraySource
from l3core.embedding import Embedder, Embedding
from l3core.signals import Signal, SignalEmbedding, embed_signals, embed_sources, open_signal
from l3core.spec import EmbeddingSpec
from l3core.table.counters import NAMESPACE

ERRORS = "errors"
# Windows wait for company until they fill so many batches: at most one of them is not full.
FULL_BATCHES = 8
SIGNALS_A_BATCH = 32

_lock = threading.Lock()
_embedders: dict[tuple[EmbeddingSpec, int | None], Embedder] = {}


def embedder_for(spec: EmbeddingSpec, batch_size: int | None = None) -> Embedder:
    """The model of a spec: one in a process, loaded by whoever asks first, kept as long as it lives.

    Raises:
        WeightsError: the weights could not be had or do not fit.
    """
    # Beam's own way keeps only the last model of a process alive, and drops it when it is idle
    with _lock:
        if (spec, batch_size) not in _embedders:
            _embedders[spec, batch_size] = Embedder(spec, batch_size=batch_size)
        return _embedders[spec, batch_size]


class L3ModelHandler(ModelHandler):
    """For `RunInference`: `Signal`s or (audio, sample rate) in, `SignalEmbedding`s out.

    With keys: `RunInference(KeyedModelHandler(L3ModelHandler(spec)))`. A signal that cannot be embedded
    has an `error`; the others of its batch are not touched.

    Args:
        spec: what to compute.
        batch_size: windows in one call of the network, at most; None for what suits the device.
        signals_a_batch: signals that are embedded together, at most: they are in memory at a time.
    """

    def __init__(
        self,
        spec: EmbeddingSpec,
        *,
        batch_size: int | None = None,
        signals_a_batch: int = SIGNALS_A_BATCH,
    ) -> None:
        super().__init__(min_batch_size=signals_a_batch, max_batch_size=signals_a_batch)
        self._spec = spec
        self._batch_size = batch_size

    def load_model(self) -> Embedder:
        """The spec's `Embedder`, one in a process."""
        return embedder_for(self._spec, self._batch_size)

    def run_inference(
        self,
        batch: Sequence[Any],
        model: Embedder,
        inference_args: dict[str, Any] | None = None,
    ) -> Iterable[SignalEmbedding]:
        """One result for each signal, in order.

        Beam's `failed_batches_counter` stays at zero: no signal fails its batch. What does is in the
        counters of `EmbedSignals`.
        """
        found = embed_signals(batch, model)
        failed = sum(one.error is not None for one in found)
        _count(len(found) - failed, failed=failed, windows=sum(len(one.vectors) for one in found))
        return found

    def get_num_bytes(self, batch: Sequence[Any]) -> int:
        """Bytes of the samples."""
        return sum(map(_sample_bytes, batch))

    def get_metrics_namespace(self) -> str:
        """Beside the counters of `EmbedSignals`."""
        return NAMESPACE

    def validate_inference_args(self, inference_args: dict[str, Any] | None) -> None:
        """There are none: what can be chosen is in the spec.

        Raises:
            ValueError: some were given.
        """
        if inference_args:
            raise ValueError(f"L3ModelHandler takes no inference_args, got {sorted(inference_args)}")


def _count(signals: int, *, failed: int, windows: int) -> None:
    for name, count in {"signals": signals, "signals_failed": failed, "windows": windows}.items():
        Metrics.counter(NAMESPACE, name).inc(count)


def _sample_bytes(signal: Any) -> int:
    """Of what may be no signal at all."""
    audio = signal[0] if isinstance(signal, tuple) and signal else None
    return audio.nbytes if isinstance(audio, np.ndarray) else 0


@dataclass
class EmbedSignals(beam.PTransform):
    """(key, signal) -> (key, `Embedding`), and (key, why not) for those that cannot be embedded.

        embedded, errors = signals | EmbedSignals(EmbeddingSpec(hop_s=0.5))

    A signal is a `Signal` or a tuple (audio, sample rate): `(samples,)` or `(samples, channels)`,
    floating point in [-1, 1], of any whole rate. Keys, timestamps, windows and panes stay as they are.

    Attributes:
        spec: what to compute.
        batch_size: windows in one call of the network, at most; None for what suits the device.
    """

    spec: EmbeddingSpec = field(default_factory=EmbeddingSpec)
    batch_size: int | None = None

    def expand(self, pcoll: beam.PCollection) -> Any:  # of several outputs Beam reads no annotation
        """`embedded` and `errors`."""
        key, _ = key_value_types(pcoll.element_type)
        typed = (
            beam.ParDo(_EmbedSignals(self.spec, self.batch_size))
            .with_input_types(typehints.Tuple[key, Any])
            .with_output_types(typehints.Tuple[key, Embedding], **{ERRORS: typehints.Tuple[key, str]})
        )
        return pcoll | "Embed" >> typed.with_outputs(ERRORS, main="embedded")


class _Waiting(NamedTuple):
    """A signal that waits for company, with what its result needs."""

    key: Any
    source: ArraySource
    timestamp: Any
    window: Any
    pane: Any


class _EmbedSignals(beam.DoFn):
    """Nothing waits longer than its bundle, so that a stream is committed together with its results."""

    def __init__(self, spec: EmbeddingSpec, batch_size: int | None) -> None:
        self._spec = spec
        self._batch_size = batch_size

    def setup(self) -> None:
        """Load the model, or take the process's."""
        self._embedder = embedder_for(self._spec, self._batch_size)

    def start_bundle(self) -> None:
        """Nothing waits."""
        self._waiting: list[_Waiting] = []
        self._pending = 0

    def process(
        self,
        element: Any,
        timestamp: Any = beam.DoFn.TimestampParam,
        window: Any = beam.DoFn.WindowParam,
        pane: Any = beam.DoFn.PaneInfoParam,
    ) -> Iterator[Any]:
        """Take a signal in, and embed those that wait once they fill some batches."""
        key, signal = element
        try:
            source = open_signal(signal)
        except ValueError as error:
            _count(0, failed=1, windows=0)
            yield beam.pvalue.TaggedOutput(ERRORS, (key, str(error)))
            return
        self._waiting.append(_Waiting(key, source, timestamp, window, pane))
        self._pending += self._embedder.window_count(source.info)
        if self._pending >= FULL_BATCHES * self._embedder.engine.batch_size:
            yield from self._embed()

    def finish_bundle(self) -> Iterator[Any]:
        """Embed what still waits."""
        return self._embed()

    def _embed(self) -> Iterator[WindowedValue]:
        waiting, self._waiting, self._pending = self._waiting, [], 0
        embeddings = embed_sources([one.source for one in waiting], self._embedder)
        for one, embedding in zip(waiting, embeddings):
            _count(1, failed=0, windows=len(embedding.vectors))
            yield WindowedValue((one.key, embedding), one.timestamp, (one.window,), one.pane)


__all__ = ["EmbedSignals", "L3ModelHandler", "Signal", "SignalEmbedding", "embedder_for"]
