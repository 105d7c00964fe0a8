"""Batches through an engine, one after the other; the next may come to its device meanwhile."""

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

import numpy as np

from l3core.engines import Engine
from l3core.engines.halving import compute
from l3core.packing import Batch

K = TypeVar("K")


def compute_batches(
    engine: Engine,
    batches: Iterable[Batch[K]],
    *,
    computed: Callable[[int, float], None],
    halved: Callable[[int], None],
) -> Iterator[tuple[Batch[K], np.ndarray]]:
    """Batches with their vectors `(windows, d)`, in order.

    Where the engine has a `place`, a thread computes; the caller makes the next batch meanwhile, whose
    signal is on the device before the present one is done. Two batches exist at a time, at most.

    Args:
        engine: to compute with.
        batches: taken by the caller's thread.
        computed: told windows and seconds of each batch, by the thread that computes.
        halved: see `l3core.engines.halving.compute`.

    Raises:
        Exception: that of `batches` or of the engine, after the batches before it.
    """
    work = partial(_compute, engine, computed, halved)
    place = getattr(engine, "place", None)
    if place is None:
        for batch in batches:
            yield batch, work(batch.signal, batch.starts)
    else:
        yield from _overlapped(batches, place, work)


def _compute(
    engine: Engine,
    computed: Callable[[int, float], None],
    halved: Callable[[int], None],
    signal: Any,
    starts: np.ndarray,
) -> np.ndarray:
    begin = time.perf_counter()
    vectors = compute(engine, signal, starts, halved=halved)
    computed(len(starts), time.perf_counter() - begin)
    return vectors


def _overlapped(
    batches: Iterable[Batch[K]],
    place: Callable[[np.ndarray], Any],
    work: Callable[[Any, np.ndarray], np.ndarray],
) -> Iterator[tuple[Batch[K], np.ndarray]]:
    coming = iter(batches)
    before: tuple[Batch[K], Future[np.ndarray]] | None = None
    following: tuple[Batch[K], Future[np.ndarray]] | None = None
    problem: Exception | None = None
    with ThreadPoolExecutor(1, "compute") as pool:
        try:
            while True:
                try:
                    batch = next(coming, None)
                except Exception as error:  # the batch before it comes first
                    batch, problem = None, error
                if batch is not None:
                    # what the thread logs is about what the caller is working on
                    run = copy_context().run
                    following = batch, pool.submit(run, work, place(batch.signal), batch.starts)
                if before is not None:
                    yield before[0], before[1].result()
                if batch is None:
                    break
                before = following
        finally:
            if following is not None:
                following[1].cancel()
    if problem is not None:
        raise problem
