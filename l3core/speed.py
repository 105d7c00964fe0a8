"""How fast a model is on this machine, from a few timed seconds."""

import time

import numpy as np

from l3core.embedding import Embedder


def windows_per_second(embedder: Embedder, *, seconds: float) -> float:
    """Windows a second of the bare compiled model, over the batches that fit into `seconds`.

    Args:
        embedder: already loaded.
        seconds: to spend; at least one batch is timed, after one that warms up.
    """
    engine = embedder.engine
    grid = embedder.grid
    starts = np.arange(engine.batch_size, dtype=np.int32) * min(grid.hop_samples, grid.window_samples)
    length = int(starts[-1]) + grid.window_samples
    signal = np.random.default_rng(0).uniform(-0.5, 0.5, length).astype(np.float32)
    engine(signal, starts)
    batches, took, begin = 0, 0.0, time.perf_counter()
    while not batches or took < seconds:
        engine(signal, starts)
        batches += 1
        took = time.perf_counter() - begin
    return batches * engine.batch_size / took
