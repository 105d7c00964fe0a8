"""Doing what comes next while the present is used: several recordings are read and decoded ahead."""

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextvars import copy_context
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class _End(NamedTuple):
    """Behind the last item of a source, or behind the last source."""

    error: BaseException | None = None


def prefetch(
    sources: Iterable[Callable[[], Iterable[T]]],
    *,
    threads: int,
    sources_ahead: int,
    items_ahead: int,
    waited: Callable[[float], None] = lambda seconds: None,
) -> Generator[T, None, None]:
    """The items of all sources, one source after the other, made ahead of need by threads.

    Each source is worked on by one thread. An error of a source is raised here, after the items before
    it. A caller that may stop early closes the generator: then the threads end after the items that they
    are at.

    Args:
        sources: called, in a thread, for their items.
        threads: sources that are worked on at the same time.
        sources_ahead: sources that are begun before the one in use is used up, at most.
        items_ahead: finished items of one source that wait, at most.
        waited: told, by the threads, the seconds that each of them has waited for the caller.
    """
    work = _Work(iter(sources), sources_ahead, items_ahead, waited)
    workers = [
        # what they log is about what the caller is working on
        threading.Thread(target=copy_context().run, args=(work.run,), name="prefetch", daemon=True)
        for _ in range(threads)
    ]
    for worker in workers:
        worker.start()
    try:
        yield from work.items()
    finally:
        work.stop.set()
        for worker in workers:
            worker.join()


class _Work(Generic[T]):
    """What the threads share: the sources that are left, and the begun ones in their order."""

    def __init__(
        self,
        sources: Iterator[Callable[[], Iterable[T]]],
        sources_ahead: int,
        items_ahead: int,
        waited: Callable[[float], None],
    ) -> None:
        self.stop = threading.Event()
        self._sources = sources
        self._taking = threading.Lock()
        self._items_ahead = items_ahead
        self._waited = waited
        self._begun: queue.Queue[queue.Queue[T | _End] | _End] = queue.Queue(max(1, sources_ahead))

    def items(self) -> Iterator[T]:
        """Items in the order of the sources, as they come."""
        while not isinstance(begun := self._begun.get(), _End):
            while not isinstance(item := begun.get(), _End):
                yield item
            if item.error is not None:
                raise item.error
        if begun.error is not None:
            raise begun.error

    def run(self) -> None:
        """Work on one source after the other until there are no more."""
        while True:
            with self._taking:  # so that sources are queued in the order in which they are taken
                begun: queue.Queue[T | _End] = queue.Queue(self._items_ahead)
                try:
                    source = next(self._sources, None)
                except BaseException as error:  # every error belongs to the caller's thread
                    self._put(self._begun, _End(error))
                    return
                if not self._put(self._begun, _End() if source is None else begun) or source is None:
                    return
            self._fill(begun, source)

    def _fill(self, begun: "queue.Queue[T | _End]", source: Callable[[], Iterable[T]]) -> None:
        try:
            for item in source():
                if not self._put(begun, item):
                    return
        except BaseException as error:  # every error belongs to the caller's thread
            self._put(begun, _End(error))
        else:
            self._put(begun, _End())

    def _put(self, place: "queue.Queue", item: object) -> bool:
        """Wait for a free place; False if nobody wants the item any more."""
        begin = time.perf_counter()
        while not self.stop.is_set():
            try:
                place.put(item, timeout=0.1)
            except queue.Full:
                continue
            self._waited(time.perf_counter() - begin)
            return True
        return False
