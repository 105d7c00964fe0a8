"""The default engine: one TensorFlow function from a flat signal to embeddings."""

import os
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from l3core.engines.tensorflow_dense import DenseTensorFlowEngine
from l3core.engines.tensorflow_tuning import tune
from l3core.errors import OutOfMemoryError, UsageError
from l3core.packing import with_context
from l3core.spec import EmbeddingSpec
from l3core.weights import Weights

BATCH_SIZE = 16
GROWS = "TF_FORCE_GPU_ALLOW_GROWTH"


class _Compiled(NamedTuple):
    """A function and what it was made for: a thread that computes keeps it when another is set."""

    embed: Any
    batch_size: int
    xla: bool


class TensorFlowEngine:
    """Cuts windows out of a signal, computes their spectrograms and the folded network.

    Args:
        spec: what to compute.
        weights: of the spec's model.
        batch_size: windows in a call, at most.
        fixed: compute calls with fewer windows as full ones. A GPU chooses and keeps its algorithms by
            shape; a CPU is as fast with any, and would only compute windows that nobody needs.
        folded: see `l3core.models.EmbeddingModel.build_network`.
        place: TensorFlow's name of the device to compute on; None: its default.
    """

    def __init__(
        self,
        spec: EmbeddingSpec,
        weights: Weights,
        batch_size: int,
        *,
        fixed: bool = False,
        folded: bool = True,
        place: str | None = None,
    ) -> None:
        _check_backend()
        # float32 means float32: Ampere and later GPUs would round products to 10 bits otherwise
        tf.config.experimental.enable_tensor_float_32_execution(False)
        self.device = "CPU"
        self._fixed = fixed
        self._memory = place.removeprefix("/device:") if place else "GPU:0"
        self._there: Any = partial(tf.device, place) if place else nullcontext
        model, grid = spec.network, spec.window_grid
        self._grid = grid
        with self._there():
            # Keras layers hold their variables weakly in a function: something must keep them alive
            self._layers = (model.build_frontend(spec), _with_policy(spec, weights, folded=folded))
            self._offsets = tf.range(-grid.context[0], grid.window_samples + grid.context[1])
        self._compiled = self._compile(batch_size, xla=False)

    @property
    def batch_size(self) -> int:
        """See `l3core.engines.Engine`."""
        return self._compiled.batch_size

    @batch_size.setter
    def batch_size(self, batch_size: int) -> None:
        if self._fixed:
            self._compiled = self._compile(batch_size, xla=self._compiled.xla)
        else:
            self._compiled = self._compiled._replace(batch_size=batch_size)

    @property
    def xla(self) -> bool:
        """Whether XLA compiles the network; the front end is as it is."""
        return self._compiled.xla

    @xla.setter
    def xla(self, xla: bool) -> None:
        self._compiled = self._compile(self._compiled.batch_size, xla=xla)

    def _compile(self, batch_size: int, *, xla: bool) -> _Compiled:
        frontend, layers = self._layers
        network = tf.function(layers, jit_compile=True) if xla else layers

        @tf.function(
            input_signature=[
                tf.TensorSpec([None], tf.float32),
                tf.TensorSpec([batch_size if self._fixed else None], tf.int32),
            ]
        )
        def embed(signal: tf.Tensor, starts: tf.Tensor) -> tf.Tensor:
            with self._there():
                windows = tf.gather(signal, starts[:, tf.newaxis] + self._offsets)
                return tf.cast(network(frontend(windows)), tf.float32)

        return _Compiled(embed.get_concrete_function(), batch_size, xla)

    def __call__(self, signal: np.ndarray | tf.Tensor, starts: np.ndarray) -> np.ndarray:
        """See `l3core.engines.Engine`."""
        windows = len(starts)
        if isinstance(signal, np.ndarray):
            signal, starts = with_context(signal, starts, self._grid)
        embed, batch_size, _ = self._compiled
        if self._fixed:
            if windows > batch_size:  # a thread that shares this engine has halved it meanwhile
                raise OutOfMemoryError(
                    f"{self.device} takes {batch_size} windows at once, got {windows}"
                )
            starts = np.pad(starts, (0, batch_size - windows), mode="edge")
        try:
            with self._there():
                return embed(tf.convert_to_tensor(signal), tf.constant(starts)).numpy()[:windows]
        except tf.errors.ResourceExhaustedError as error:
            raise OutOfMemoryError(
                f"{self.device} has no memory for {len(starts)} windows at once: "
                "is something else using it?"
            ) from error

    def gpu_memory_bytes(self) -> int | None:
        """See `l3core.engines.Engine`."""
        if not self.device.startswith("GPU"):
            return None
        return int(tf.config.experimental.get_memory_info(self._memory)["peak"])


class PlacingEngine(TensorFlowEngine):
    """The same for a GPU, whose next signal is on it before the present batch is computed."""

    def place(self, signal: np.ndarray) -> np.ndarray | tf.Tensor:
        """See `l3core.engines.Engine`; a signal that a full device cannot take stays where it is."""
        try:
            with self._there():
                return tf.constant(signal)
        except tf.errors.ResourceExhaustedError:
            return signal  # the call will say so, and compute halves


def load(
    spec: EmbeddingSpec, weights: Weights, *, batch_size: int | None, device: str | None = None
) -> TensorFlowEngine | DenseTensorFlowEngine:
    """The engine for a spec; see `l3core.engines.load_engine`."""
    found = _growing_gpus()
    place = _places()[device] if device else None
    name = device or (f"GPU {_name_of(found[0])}" if found else "CPU")
    if spec.dense:
        dense = _dense(spec, weights, batch_size, fixed=bool(found), folded=True, place=place)
        dense.device = name
        return dense
    kind = PlacingEngine if found else TensorFlowEngine
    engine = kind(spec, weights, batch_size or BATCH_SIZE, fixed=bool(found), place=place)
    engine.device = name
    if found:
        tune(engine, spec, sizes=batch_size is None)
    return engine


def devices() -> list[str]:
    """See `l3core.engines.devices_of`."""
    return list(_places())


def limit_memory(mb: int) -> None:
    """See `l3core.engines.limit_memory`."""
    os.environ.setdefault(GROWS, "true")  # with a limit TensorFlow forgets what it was told of growth
    for gpu in tf.config.list_physical_devices("GPU"):
        limited = [tf.config.LogicalDeviceConfiguration(memory_limit=mb)]
        try:
            tf.config.set_logical_device_configuration(gpu, limited)
        except RuntimeError:  # as in `_growing_gpus`
            break


def _growing_gpus() -> list[tf.config.PhysicalDevice]:
    """The GPUs; of their memory TensorFlow takes what it needs, and not all."""
    found = tf.config.list_physical_devices("GPU")
    for gpu in found:
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:  # the device is in use by this process already, as its owner chose
            break
        except ValueError:  # `limit_memory` was before
            break
    return list(found)


def _places() -> dict[str, str]:
    """Name for people -> TensorFlow's, of what there is to compute on: GPUs, or else CPUs."""
    gpus = _growing_gpus()
    kind = "GPU" if gpus else "CPU"
    names = [f" {_name_of(gpu)}" for gpu in gpus]
    places = [device.name for device in tf.config.list_logical_devices(kind)]
    names = names if len(names) == len(places) else [""] * len(places)
    return {f"{kind} {number}{name}": place for number, (name, place) in enumerate(zip(names, places))}


def gpus() -> list[str]:
    """See `l3core.engines.EngineInfo`."""
    return [_name_of(gpu) for gpu in tf.config.list_physical_devices("GPU")]


def _name_of(gpu: tf.config.PhysicalDevice) -> str:
    return tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)


def load_reference(spec: EmbeddingSpec, weights: Weights) -> TensorFlowEngine | DenseTensorFlowEngine:
    """See `l3core.engines.EngineInfo`."""
    spec = replace(spec, precision="float32")
    with tf.device("/CPU:0"):
        if spec.dense:
            return _dense(spec, weights, None, fixed=False, folded=False, place=None)
        return TensorFlowEngine(spec, weights, BATCH_SIZE, folded=False)


def _dense(
    spec: EmbeddingSpec,
    weights: Weights,
    batch_size: int | None,
    *,
    fixed: bool,
    folded: bool,
    place: str | None,
) -> DenseTensorFlowEngine:
    assert spec.dense is not None
    _check_backend()
    with tf.device(place) if place else nullcontext():
        frontend = spec.dense.build_frontend()
        network = _with_policy(spec, weights, folded=folded)
    return DenseTensorFlowEngine(spec, frontend, network, batch_size, fixed=fixed, place=place)


def _check_backend() -> None:
    """Refuse a Keras whose layers TensorFlow cannot compute."""
    import keras

    if (backend := keras.backend.backend()) != "tensorflow":
        raise UsageError(
            f"engine tensorflow needs Keras with TensorFlow, and it has {backend} here: "
            "unset KERAS_BACKEND (or set it to tensorflow)"
        )


def _with_policy(spec: EmbeddingSpec, weights: Weights, *, folded: bool) -> tf.keras.Model:
    """The network with its layers in the spec's precision; the front end stays in float32."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(spec.precision)
    try:
        if spec.dense:
            return spec.dense.build_network(weights.tensors, folded=folded)
        return spec.network.build_network(spec, weights.tensors, folded=folded)
    finally:
        keras.config.set_dtype_policy(before)
