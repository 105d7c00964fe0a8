"""How a network is run. The table is plain text, so that asking what there is loads no library."""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from l3core.errors import UsageError
from l3core.loading import without_collection

if TYPE_CHECKING:
    from l3core.spec import EmbeddingSpec
    from l3core.weights import Weights


class Engine(Protocol):
    """A compiled network.

    It may have a `place(signal)`, which brings a signal to the device and gives what a call takes in its
    stead: then a thread computes, while the next batch is made and placed.

    Attributes:
        batch_size: windows in a call, at most; the size that it is fastest with. It can be set, to a
            smaller one after an `l3core.errors.OutOfMemoryError`.
        device: what it computes on, for people.
    """

    batch_size: int
    device: str

    def __call__(self, signal: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """Signal float32 `(samples,)` and window starts int32 `(windows,)` -> `(windows, d)`.

        Raises:
            l3core.errors.OutOfMemoryError: there is none for so many windows.
        """

    def gpu_memory_bytes(self) -> int | None:
        """The most of its GPU's memory that this process has used so far; None without a GPU."""


class EngineInfo(NamedTuple):
    """Where an engine lives and what it can do.

    Attributes:
        module: module with a `load(spec, weights, *, batch_size) -> Engine`, and a
            `load_reference(spec, weights) -> Engine` that computes the network as published, in float32
            on a CPU; and a `gpus()` that names those that it would compute on. It may have a `devices()`
            that names those beside each other, for `load(..., device=NAME)`; and a `limit_memory(mb)`.
        precisions: values of `EmbeddingSpec.precision` that it knows.
        dense: whether it computes the windows of the dense grid (`l3core.dense`), too.
        extra: of l3flow, and the package in it that the engine needs; None: l3flow has all.
    """

    module: str
    precisions: tuple[str, ...]
    dense: bool = False
    extra: str | None = None


ENGINES: dict[str, EngineInfo] = {
    "tensorflow": EngineInfo(
        "l3core.engines.tensorflow", ("float32", "mixed_bfloat16", "mixed_float16"), dense=True
    ),
    "openvino": EngineInfo(
        "l3core.engines.openvino", ("float32", "mixed_bfloat16", "int8"), dense=True, extra="openvino"
    ),
}


def load_engine(
    spec: "EmbeddingSpec", weights: "Weights", *, batch_size: int | None, device: str | None = None
) -> Engine:
    """The engine that a spec names, with the spec's network compiled.

    Args:
        spec: what to compute.
        weights: of its model.
        batch_size: windows in a call, at most; None: the engine's own.
        device: one of `devices_of`.

    Raises:
        UsageError: the engine is not installed, or cannot run the spec's model.
        l3core.errors.OutOfMemoryError: the device has no memory for the model.
    """
    pinned = {} if device is None else {"device": device}
    return _loaded(spec.engine).load(spec, weights, batch_size=batch_size, **pinned)


def load_reference(spec: "EmbeddingSpec", weights: "Weights") -> Engine:
    """What the spec's engine is compared with: slow, and right on every machine."""
    return _loaded(spec.engine).load_reference(spec, weights)


def devices_of(engine: str) -> list[str | None]:
    """What an engine can compute on, side by side; None: it has one device, and knows it."""
    found: list[str] = getattr(_loaded(engine), "devices", list)()
    return list(found) if len(found) > 1 else [None]


def limit_memory(engine: str, mb: int) -> None:
    """Let an engine use so much of a GPU's memory, which other processes use, too; before it loads.

    Args:
        engine: its name.
        mb: mebibytes.
    """
    if limit := getattr(_loaded(engine), "limit_memory", None):
        limit(mb)


def gpus_of(engine: str) -> list[str]:
    """Names of the GPUs that an engine would compute on."""
    return _loaded(engine).gpus()


def check_installed(engine: str) -> None:
    """Hold that an engine can be loaded here.

    Raises:
        UsageError: it is an extra that is not installed.
    """
    extra = ENGINES[engine].extra
    if extra and find_spec(extra) is None:
        raise UsageError(f"engine {engine} is not installed: pip install 'l3flow[{extra}]'")


def _loaded(engine: str) -> Any:
    check_installed(engine)
    with without_collection():
        return import_module(ENGINES[engine].module)
