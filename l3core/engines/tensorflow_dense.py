"""The default engine for dense windows: one TensorFlow function from a signal to a map's columns."""

from contextlib import nullcontext
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from l3core.dense import DenseLayout, embed_dense, usual_batch_size
from l3core.errors import OutOfMemoryError
from l3core.spec import EmbeddingSpec


class _Compiled(NamedTuple):
    """A function and what it was made for: a thread that computes keeps it when another is set."""

    columns: Any
    batch_size: int
    layout: DenseLayout


class DenseTensorFlowEngine:
    """Cuts frames out of a signal, computes a map of them and the folded trunk.

    Args:
        spec: what to compute.
        frontend, network: of the spec's `DenseWindows`.
        batch_size: windows in a call, at most; None: as many as some maps hold.
        fixed: as of `l3core.engines.tensorflow.TensorFlowEngine`.
        place: TensorFlow's name of the device to compute on; None: its default.
    """

    def __init__(
        self,
        spec: EmbeddingSpec,
        frontend: "tf.keras.Model",
        network: "tf.keras.Model",
        batch_size: int | None,
        *,
        fixed: bool = False,
        place: str | None = None,
    ) -> None:
        tf.config.experimental.enable_tensor_float_32_execution(False)
        assert spec.dense is not None
        self._dense = spec.dense
        self._hop = spec.window_grid.hop_samples // self._dense.stride_samples
        self.device = "CPU"
        self._fixed = fixed
        self._memory = place.removeprefix("/device:") if place else "GPU:0"
        self._there: Any = partial(tf.device, place) if place else nullcontext
        # Keras layers hold their variables weakly in a function: something must keep them alive
        self._layers = (frontend, network)
        with self._there():
            self._offsets = tf.range(self._dense.frontend.n_fft, dtype=tf.int32)
        self._compiled = self._compile(batch_size or usual_batch_size(self._dense, self._hop))

    @property
    def batch_size(self) -> int:
        """See `l3core.engines.Engine`; a map becomes smaller when it is all that is left of a batch."""
        return self._compiled.batch_size

    @batch_size.setter
    def batch_size(self, batch_size: int) -> None:
        self._compiled = self._compile(batch_size)

    def _compile(self, batch_size: int) -> _Compiled:
        layout = DenseLayout.of(self._dense, self._hop, batch_size)
        frontend, network = self._layers

        @tf.function(
            input_signature=[
                tf.TensorSpec([None], tf.float32),
                tf.TensorSpec([layout.most_frames if self._fixed else None], tf.int32),
                tf.TensorSpec([layout.map_frames if self._fixed else None], tf.int32),
            ]
        )
        def columns(signal: tf.Tensor, firsts: tf.Tensor, kept: tf.Tensor) -> tf.Tensor:
            with self._there():
                frames = tf.gather(signal, firsts[:, tf.newaxis] + self._offsets)
                return tf.cast(network(frontend([frames, kept])), tf.float32)[0]

        return _Compiled(columns.get_concrete_function(), batch_size, layout)

    def __call__(self, signal: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """See `l3core.engines.Engine`; what lies outside of the signal is zeros."""
        compiled = self._compiled
        try:
            return embed_dense(
                signal, starts, layout=compiled.layout, compute=partial(self._compute, compiled)
            )
        except tf.errors.ResourceExhaustedError as error:
            raise OutOfMemoryError(
                f"{self.device} has no memory for a map of {compiled.layout.map_columns} columns: "
                "is something else using it?"
            ) from error

    def _compute(
        self, compiled: _Compiled, signal: np.ndarray, firsts: np.ndarray, kept: np.ndarray
    ) -> np.ndarray:
        if self._fixed:
            firsts = np.pad(firsts, (0, compiled.layout.most_frames - len(firsts)))
            kept = np.pad(kept, (0, compiled.layout.map_frames - len(kept)))
        with self._there():
            given = map(tf.constant, (signal, firsts, kept))
            return compiled.columns(*given).numpy()

    def gpu_memory_bytes(self) -> int | None:
        """See `l3core.engines.Engine`."""
        if not self.device.startswith("GPU"):
            return None
        return int(tf.config.experimental.get_memory_info(self._memory)["peak"])
