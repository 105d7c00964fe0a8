"""Turns: many threads wait for a store at the same time, and few of them compute."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext


class Turns:
    """A bound on threads that compute at the same time.

    Args:
        count: how many may.
        waiting: entered while a thread waits for its turn.
    """

    def __init__(
        self, count: int, waiting: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> None:
        self._free = threading.Semaphore(count)
        self._waiting = waiting

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Compute while the block runs."""
        self._take()
        try:
            yield
        finally:
            self._free.release()

    @contextmanager
    def lend(self) -> Iterator[None]:
        """Within a turn: let another thread have it while the block waits for something."""
        self._free.release()
        try:
            yield
        finally:
            self._take()

    def _take(self) -> None:
        with self._waiting():
            self._free.acquire()
