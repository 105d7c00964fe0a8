"""How a network is run. The table is plain text, so that asking what there is loads no library."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from l3core.loading import without_collection

if TYPE_CHECKING:
    from l3core.spec import EmbeddingSpec
    from l3core.weights import Weights


class Engine(Protocol):
    """A compiled network.

    Attributes:
        batch_size: windows in a call, at most; the size that it is fastest with.
        device: what it computes on, for people.
    """

    batch_size: int
    device: str

    def __call__(self, signal: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """Signal float32 `(samples,)` and window starts int32 `(windows,)` -> `(windows, d)`."""


class EngineInfo(NamedTuple):
    """Where an engine lives and what it can do.

    Attributes:
        module: module with a `load(spec, weights, *, batch_size) -> Engine`, and a
            `load_reference(spec, weights) -> Engine` that computes the network as published, in float32
            on a CPU; and a `gpus()` that names those that it would compute on.
        precisions: values of `EmbeddingSpec.precision` that it knows.
    """

    module: str
    precisions: tuple[str, ...]


ENGINES: dict[str, EngineInfo] = {
    "tensorflow": EngineInfo(
        "l3core.engines.tensorflow", ("float32", "mixed_bfloat16", "mixed_float16")
    ),
}


def load_engine(spec: "EmbeddingSpec", weights: "Weights", *, batch_size: int | None) -> Engine:
    """The engine that a spec names, with the spec's network compiled."""
    return _loaded(spec.engine).load(spec, weights, batch_size=batch_size)


def load_reference(spec: "EmbeddingSpec", weights: "Weights") -> Engine:
    """What the spec's engine is compared with: slow, and right on every machine."""
    return _loaded(spec.engine).load_reference(spec, weights)


def gpus_of(engine: str) -> list[str]:
    """Names of the GPUs that an engine would compute on."""
    return _loaded(engine).gpus()


def _loaded(engine: str) -> Any:
    with without_collection():
        return import_module(ENGINES[engine].module)
