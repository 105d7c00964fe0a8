"""Many small requests side by side: each alone would wait for its answer."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

# Requests to a store at the same time: at 50 ms of latency 300 are answered in a second.
IO_CONCURRENCY = 16


def map_ahead(
    function: Callable[[T], R], items: Iterable[T], *, threads: int = IO_CONCURRENCY
) -> Generator[R, None, None]:
    """Results in the order of the items, of which a few are taken ahead of need.

    Args:
        function: called by threads.
        items: taken by the caller's thread, at most twice as many as there are threads.
        threads: how many.

    Raises:
        Exception: that of the first item that failed; what was begun meanwhile is finished.
    """
    begun: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                begun.append(pool.submit(function, item))
                if len(begun) == 2 * threads:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            for future in begun:
                future.cancel()


def do_all(function: Callable[[T], object], items: Iterable[T]) -> None:
    """Call a function with each item."""
    for _ in map_ahead(function, items):
        continue
