"""How fast a model is on this machine, from a few timed seconds."""

from l3core.dense import MAP_COLUMNS
from l3core.embedding import Embedder
from l3core.engines.probing import engine_speed

TIMED_MAPS = 2  # of dense windows in a batch


def windows_per_second(embedder: Embedder, *, seconds: float) -> float:
    """Windows a second of the bare compiled model, over the batches that fit into `seconds`.

    Args:
        embedder: already loaded.
        seconds: see `l3core.engines.probing.engine_speed`.
    """
    grid = embedder.grid
    windows = embedder.engine.batch_size
    if dense := embedder.spec.dense:  # whose batches take long
        most = TIMED_MAPS * MAP_COLUMNS * dense.stride_samples
        windows = min(windows, most // min(grid.hop_samples, grid.window_samples))
    return engine_speed(
        embedder.engine,
        window_samples=grid.window_samples,
        hop_samples=grid.hop_samples,
        seconds=seconds,
        windows=windows,
    )
