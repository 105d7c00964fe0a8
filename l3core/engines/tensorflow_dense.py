"""The default engine for dense windows: one TensorFlow function from a signal to a map's columns."""

from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from l3core.dense import BATCH_MAPS, MAP_COLUMNS, DenseLayout, embed_dense
from l3core.spec import EmbeddingSpec


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
        dense = spec.dense
        assert dense is not None
        hop = spec.window_grid.hop_samples // dense.stride_samples
        shared = min(hop, dense.columns)
        self.batch_size = batch_size or max(1, BATCH_MAPS * MAP_COLUMNS // shared)
        most = (self.batch_size - 1) * shared + dense.columns + 2 * dense.margin_columns
        self._layout = DenseLayout(dense=dense, hop_columns=hop, map_columns=min(MAP_COLUMNS, most))
        self.device = "CPU"
        self._fixed = fixed
        self._memory = place.removeprefix("/device:") if place else "GPU:0"
        self._there: Any = partial(tf.device, place) if place else nullcontext
        with self._there():
            offsets = tf.range(dense.frontend.n_fft, dtype=tf.int32)
        layout = self._layout

        @tf.function(
            input_signature=[
                tf.TensorSpec([None], tf.float32),
                tf.TensorSpec([layout.most_frames if fixed else None], tf.int32),
                tf.TensorSpec([layout.map_frames if fixed else None], tf.int32),
            ]
        )
        def columns(signal: tf.Tensor, firsts: tf.Tensor, kept: tf.Tensor) -> tf.Tensor:
            with self._there():
                frames = tf.gather(signal, firsts[:, tf.newaxis] + offsets)
                return tf.cast(network(frontend([frames, kept])), tf.float32)[0]

        # Keras layers hold their variables weakly here: the function must keep them alive
        self._layers = (frontend, network)
        self._columns = columns.get_concrete_function()

    def __call__(self, signal: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """See `l3core.engines.Engine`; what lies outside of the signal is zeros."""
        return embed_dense(signal, starts, layout=self._layout, compute=self._compute)

    def _compute(self, signal: np.ndarray, firsts: np.ndarray, kept: np.ndarray) -> np.ndarray:
        if self._fixed:
            firsts = np.pad(firsts, (0, self._layout.most_frames - len(firsts)))
            kept = np.pad(kept, (0, self._layout.map_frames - len(kept)))
        with self._there():
            given = map(tf.constant, (signal, firsts, kept))
            return self._columns(*given).numpy()

    def gpu_memory_bytes(self) -> int | None:
        """See `l3core.engines.Engine`."""
        if not self.device.startswith("GPU"):
            return None
        return int(tf.config.experimental.get_memory_info(self._memory)["peak"])
