"""Where a shard's time goes: busy seconds by kind of work, and the wrappers that measure them."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np

from l3core.audio import AudioInfo, Source

# Work first, then what the two threads wait for each other.
KINDS = ("read", "decode", "resample", "model", "write", "wait_for_audio", "wait_for_model")


class Stopwatch:
    """Seconds by kind; a kind timed within another one counts for itself alone.

    Each kind is timed by one thread at a time.

    Attributes:
        seconds: of each of `KINDS`.
        bytes_read: from the store.
    """

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(KINDS, 0.0)
        self.bytes_read = 0
        self._local = threading.local()

    @contextmanager
    def timing(self, kind: str) -> Iterator[None]:
        """Add the time that the block takes to `kind`, less what is timed within it."""
        outer: float = getattr(self._local, "inner", 0.0)
        self._local.inner = 0.0
        start = time.perf_counter()
        try:
            yield
        finally:
            took = time.perf_counter() - start
            self.seconds[kind] += took - self._local.inner
            self._local.inner = outer + took


class TimedFile:
    """A binary file whose reads are timed and counted."""

    def __init__(self, file: BinaryIO, watch: Stopwatch) -> None:
        self._file = file
        self._watch = watch

    def read(self, size: int = -1) -> bytes:
        """As the file's own."""
        with self._watch.timing("read"):
            content = self._file.read(size)
        self._watch.bytes_read += len(content)
        return content

    def seek(self, offset: int, whence: int = 0) -> int:
        """As the file's own."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """As the file's own."""
        return self._file.tell()


class TimedSource:
    """A recording whose decoding is timed."""

    def __init__(self, source: Source, watch: Stopwatch) -> None:
        self._source = source
        self._watch = watch

    @property
    def info(self) -> AudioInfo:
        """As the source's own."""
        return self._source.info

    @property
    def damage(self) -> str | None:
        """As the source's own."""
        return self._source.damage

    def read(self, start: int, stop: int) -> np.ndarray:
        """As the source's own."""
        with self._watch.timing("decode"):
            return self._source.read(start, stop)
