"""How large a batch an engine is fastest with: tried out, within what its device has memory for."""

import time
from collections.abc import Callable

import numpy as np

from l3core.engines import Engine
from l3core.errors import OutOfMemoryError

SMALLEST = 16
# Activations of 512 windows of the largest model are some 14 GB, and a batch waits for all its windows.
LARGEST = 512
LEAST_GAIN = 1.05  # windows a second, for twice the memory


def engine_speed(
    engine: Engine,
    *,
    window_samples: int,
    hop_samples: int,
    seconds: float,
    windows: int | None = None,
) -> float:
    """Windows a second of an engine, over the batches that fit into `seconds`.

    Args:
        engine: already loaded.
        window_samples: of its model.
        hop_samples: between windows.
        seconds: to spend; at least one batch is timed, after one that warms up.
        windows: in a batch; None: as many as it takes.
    """
    count = windows or engine.batch_size
    starts = np.arange(count, dtype=np.int32) * min(hop_samples, window_samples)
    length = int(starts[-1]) + window_samples
    signal = np.random.default_rng(0).uniform(-0.5, 0.5, length).astype(np.float32)
    engine(signal, starts)
    batches, took, begin = 0, 0.0, time.perf_counter()
    while not batches or took < seconds:
        engine(signal, starts)
        batches += 1
        took = time.perf_counter() - begin
    return batches * count / took


def best_batch_size(
    speed_of: Callable[[int], float], *, smallest: int = SMALLEST, largest: int = LARGEST
) -> int:
    """Doubled as long as that brings more than `LEAST_GAIN`; halved while there is no memory for it.

    Args:
        speed_of: batch size -> windows a second.
        smallest: to begin with.
        largest: that may be tried.

    Raises:
        OutOfMemoryError: there is none for a single window.
    """
    size = smallest
    while True:
        try:
            speed = speed_of(size)
            break
        except OutOfMemoryError:
            if size == 1:
                raise
            size //= 2
    while smallest <= size and 2 * size <= largest:
        try:
            doubled = speed_of(2 * size)
        except OutOfMemoryError:
            break
        if doubled <= LEAST_GAIN * speed:
            break
        size, speed = 2 * size, doubled
    return size
