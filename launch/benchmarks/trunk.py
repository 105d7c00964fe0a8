"""The trunk alone, under each Keras backend that is installed: maps in, embeddings out.

A backend is chosen once for a process, so each has its own; where only JAX is installed it runs, too.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from l3core.errors import RunError, UsageError
from l3core.spec import EmbeddingSpec
from l3core.weights import load_weights
from launch.benchmarks.alone import answer, in_process
from launch.benchmarks.figures import Figure

BATCH_SIZE = 16
TURNS = 2
SETTING = "trunk.json"


class Way(NamedTuple):
    """How a trunk can be computed.

    Attributes:
        name: for people.
        backend: Keras's.
        prepare: (network, maps) -> what computes their embeddings, and the device's name.
    """

    name: str
    backend: str
    prepare: Callable[[Any, np.ndarray], tuple[Callable[[], np.ndarray], str]]


def _tensorflow(network: Any, maps: np.ndarray, *, xla: bool) -> tuple[Callable[[], np.ndarray], str]:
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(False)
    function, there = tf.function(network, jit_compile=xla), tf.constant(maps)
    return lambda: function(there).numpy(), there.device.rpartition("device:")[2]


def _jax(network: Any, maps: np.ndarray) -> tuple[Callable[[], np.ndarray], str]:
    import jax

    jax.config.update("jax_default_matmul_precision", "float32")  # not TF32
    function, there = jax.jit(lambda x: network(x)), jax.device_put(maps)
    (device,) = there.devices()
    return lambda: np.asarray(function(there)), device.device_kind.upper()


WAYS = {
    "tensorflow": Way("TensorFlow", "tensorflow", lambda *given: _tensorflow(*given, xla=False)),
    "xla": Way("TensorFlow with XLA", "tensorflow", lambda *given: _tensorflow(*given, xla=True)),
    "jax": Way("JAX", "jax", _jax),
}


def trunk(spec: EmbeddingSpec, seconds: float, folder: Path) -> Iterator[Figure]:
    """Windows a second of each way, by turns, and how far their numbers are apart.

    Args:
        spec: of a model.
        seconds: to time, each time.
        folder: for what the processes are told and say.

    Raises:
        UsageError: there is no backend, or not the one that KERAS_BACKEND names.
    """
    ways = chosen_ways()
    (folder / SETTING).write_text(json.dumps({"spec": spec.to_dict(), "seconds": seconds}))
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    for _ in range(TURNS):
        for way in ways:
            in_process("launch.benchmarks.trunk", way, BATCH_SIZE, folder)
            found[way].append(json.loads((folder / f"{way}.json").read_bytes()))
    speeds = {way: float(np.mean([turn["speed"] for turn in turns])) for way, turns in found.items()}
    first = ways[0]
    for way in ways:
        told = found[way][0]
        note = f"{spec.model}, {spec.precision}, batches of {BATCH_SIZE}, {told['device']}"
        yield Figure(f"trunk, {WAYS[way].name}", speeds[way], "windows/s", note)
        gflops = speeds[way] * told["flop"] / 1e9
        yield Figure(f"trunk, {WAYS[way].name}", gflops, "GFLOP/s", "convolutions only")
        if way != first:
            pair = f"{WAYS[way].name} / {WAYS[first].name}"
            yield Figure(f"trunk, {pair}", speeds[way] / speeds[first], "", f"{TURNS} turns")
            apart = _apart(
                *(np.load(folder / f"{each}.npy", allow_pickle=False) for each in (way, first))
            )
            yield Figure(f"trunk, {pair}, difference", apart, "relative L2", "largest of the windows")


def chosen_ways() -> list[str]:
    """Those of the backend that KERAS_BACKEND names, or of all that are installed."""
    named = os.environ.get("KERAS_BACKEND")
    there = {way.backend for way in WAYS.values() if find_spec(way.backend) is not None}
    wanted = there & {named} if named else there
    if not wanted:
        raise UsageError(
            f"trunk needs TensorFlow or JAX (pip install 'l3flow[jax]'); installed: "
            f"{', '.join(sorted(there)) or 'neither'}, KERAS_BACKEND is {named or 'not set'}"
        )
    return [name for name, way in WAYS.items() if way.backend in wanted]


def flop_a_window(network: Any) -> float:
    """Floating point operations of a network's convolutions, a product and a sum being two."""
    flop = 0.0
    for layer in network.layers:
        if len(getattr(layer, "kernel_size", ())) == 2:
            _, rows, columns, filters = layer.output.shape
            flop += 2.0 * rows * columns * filters * layer.input.shape[-1] * np.prod(layer.kernel_size)
    return flop


def network_of(spec: EmbeddingSpec) -> Any:
    """The folded network of a spec, in its precision, under Keras's backend of this process."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(spec.precision)
    try:
        return spec.network.build_network(spec, load_weights(spec).tensors, folded=True)
    finally:
        keras.config.set_dtype_policy(before)


def measure(way: str, batch_size: int, folder: Path) -> None:
    """Time one way in this process; leaves what it has found, and the vectors, in the folder."""
    os.environ["KERAS_BACKEND"] = WAYS[way].backend
    setting = json.loads((folder / SETTING).read_bytes())
    network = network_of(EmbeddingSpec(**setting["spec"]))
    shape = (batch_size, *network.input_shape[1:])
    maps = np.random.default_rng(0).uniform(-80, 0, shape).astype(np.float32)
    compute, device = WAYS[way].prepare(network, maps)
    np.save(folder / f"{way}.npy", compute().astype(np.float32))
    batches, took, begin = 0, 0.0, time.perf_counter()
    while not batches or took < setting["seconds"]:
        compute()
        batches += 1
        took = time.perf_counter() - begin
    told = {"speed": batches * batch_size / took, "flop": flop_a_window(network), "device": device}
    (folder / f"{way}.json").write_text(json.dumps(told))


def _apart(found: np.ndarray, expected: np.ndarray) -> float:
    lengths = np.linalg.norm(expected, axis=1)
    if not lengths.all():
        raise RunError("a vector of the trunk is zero: nothing can be compared with it")
    return float((np.linalg.norm(found - expected, axis=1) / lengths).max())


if __name__ == "__main__":

    def _verb(way: str) -> Callable[[int, Path], None]:
        return lambda batch_size, folder: measure(way, batch_size, folder)

    answer({way: _verb(way) for way in WAYS}, *sys.argv[1:])
