"""How fast a model is on this machine, from a few timed seconds."""

import time

import numpy as np

from l3core.dense import MAP_COLUMNS
from l3core.embedding import Embedder

TIMED_MAPS = 2  # of dense windows in a batch


def windows_per_second(embedder: Embedder, *, seconds: float) -> float:
    """Windows a second of the bare compiled model, over the batches that fit into `seconds`.

    Args:
        embedder: already loaded.
        seconds: to spend; at least one batch is timed, after one that warms up.
    """
    engine = embedder.engine
    grid = embedder.grid
    hop_samples = min(grid.hop_samples, grid.window_samples)
    windows = engine.batch_size
    if dense := embedder.spec.dense:  # whose batches take long
        windows = min(windows, TIMED_MAPS * MAP_COLUMNS * dense.stride_samples // hop_samples)
    starts = np.arange(windows, dtype=np.int32) * hop_samples
    length = int(starts[-1]) + grid.window_samples
    signal = np.random.default_rng(0).uniform(-0.5, 0.5, length).astype(np.float32)
    engine(signal, starts)
    batches, took, begin = 0, 0.0, time.perf_counter()
    while not batches or took < seconds:
        engine(signal, starts)
        batches += 1
        took = time.perf_counter() - begin
    return batches * windows / took
