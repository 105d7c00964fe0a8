"""Computing a batch that a device has no memory for: again, in halves, and smaller ones from then on."""

import logging
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from l3core.engines import Engine
from l3core.errors import OutOfMemoryError
from l3core.logs import say

_LOGGER = logging.getLogger("l3core")
_halving = threading.Lock()  # threads share an engine; held while it gets another size


def compute(
    engine: Engine,
    signal: Any,
    starts: np.ndarray,
    *,
    halved: Callable[[int], None] = lambda batch_size: None,
) -> np.ndarray:
    """Vectors `(windows, d)` of all windows, each computed once, in their order.

    Args:
        engine: its batch size may be less than there are windows, and is halved when it must.
        signal: as the engine takes it.
        starts: of the windows.
        halved: told the new batch size by the caller whose batch was too large.

    Raises:
        OutOfMemoryError: there is none for a single window.
    """
    waiting, done = [starts], []  # what comes first is last
    while waiting:
        part, size = waiting.pop(), engine.batch_size
        if len(part) > size:
            waiting += [part[size:], part[:size]]
            continue
        try:
            done.append(engine(signal, part))
        except OutOfMemoryError:
            if size == 1:
                raise
            if _halve(engine, size):
                halved(size // 2)
            waiting.append(part)
    return done[0] if len(done) == 1 else np.concatenate(done)


def _halve(engine: Engine, size: int) -> bool:
    """Halve the batch size, unless another thread has done it."""
    with _halving:
        if engine.batch_size != size:
            return False
        engine.batch_size = size // 2
    say(
        _LOGGER,
        "batch_halved",
        level=logging.WARNING,
        device=engine.device,
        batch_size=size // 2,
    )
    return True
