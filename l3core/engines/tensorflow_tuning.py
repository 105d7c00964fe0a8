"""What a GPU computes fastest with: how many windows at once, and whether by XLA."""

import logging
from functools import partial
from typing import TYPE_CHECKING

import tensorflow as tf

from l3core import conformance
from l3core.engines.probing import best_batch_size, engine_speed
from l3core.errors import OutOfMemoryError
from l3core.logs import say
from l3core.spec import EmbeddingSpec

if TYPE_CHECKING:
    from l3core.engines.tensorflow import TensorFlowEngine

PROBE_S = 0.3  # of each batch size, and of XLA; what is compiled for it comes on top
_LOGGER = logging.getLogger("l3core")


def tune(engine: "TensorFlowEngine", spec: EmbeddingSpec, *, sizes: bool = True) -> None:
    """Give an engine the batch size that it is fastest with, and XLA if that is faster.

    XLA has to compute what the rest does, as near as a worker has to be to the reference.

    Args:
        engine: of a GPU, whose shapes are fixed.
        spec: what it computes.
        sizes: whether to try sizes; else it keeps its own.
    """
    grid = spec.window_grid
    window, hop = grid.window_samples, grid.hop_samples
    speed = partial(engine_speed, engine, window_samples=window, hop_samples=hop, seconds=PROBE_S)

    def of_size(size: int) -> float:
        engine.batch_size = size
        return speed()

    if sizes:
        engine.batch_size = best_batch_size(of_size)
    plain, expected = speed(), conformance.embed_noise(spec, engine)
    engine.xla = True
    compiled, agrees, problem = 0.0, False, None
    try:
        compiled = speed()
        found = conformance.embed_noise(spec, engine)
        agrees = conformance.deviation(spec, found, expected).conforms
    except (tf.errors.OpError, OutOfMemoryError) as error:  # not every machine has all that XLA needs
        problem = f"{type(error).__name__}: {error}"
    if not (agrees and compiled > plain):
        engine.xla = False
    speeds = {"plain": round(plain, 1), "xla": round(compiled, 1), "agrees": agrees}
    size, used = engine.batch_size, engine.xla
    say(
        _LOGGER,
        "engine_tuned",
        device=engine.device,
        batch_size=size,
        xla=used,
        windows_per_s=speeds,
        error=problem,
    )
