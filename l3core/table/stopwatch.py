"""Where a shard's time goes: busy seconds by kind of work, and the wrappers that measure them."""

import io
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, BinaryIO, TypeVar

import numpy as np

from l3core.audio import AudioInfo, Source
from l3core.channels import Mix

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

T = TypeVar("T")

# Work first, then what the readers, the decoders among them and the model wait for each other.
KINDS = (
    *("read", "decode", "resample", "model", "write"),
    *("wait_for_audio", "wait_for_turn", "wait_for_model"),
)


class Stopwatch:
    """Seconds by kind; a kind timed within another one counts for itself alone.

    Threads that do the same kind of work at the same time add up.

    Attributes:
        seconds: of each of `KINDS`.
        bytes_read: from the store.
        inferences: batches: their windows, their number, seconds, and how often one was too large.
    """

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(KINDS, 0.0)
        self.bytes_read = 0
        self.inferences: dict[str, float] = {
            "windows": 0,
            "batches": 0,
            "seconds": 0.0,
            "halved": 0,
        }
        self._local = threading.local()
        self._adding = threading.Lock()

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
            self.add(kind, took - self._local.inner)
            self._local.inner = outer + took

    @contextmanager
    def timing_ends(self, kind: str, context: AbstractContextManager[T]) -> Iterator[T]:
        """Enter and leave a context, and add the time that takes to `kind`; the block does not count."""
        with self.timing(kind):
            entered = context.__enter__()
        try:
            yield entered
        except BaseException as error:
            with self.timing(kind):
                if not context.__exit__(type(error), error, error.__traceback__):
                    raise
        else:
            with self.timing(kind):
                context.__exit__(None, None, None)

    def timing_items(self, kind: str, items: Iterator[T]) -> Iterator[T]:
        """The same items; the time that they keep the caller waiting is added to `kind`."""
        while True:
            with self.timing(kind):
                item = next(items, None)
            if item is None:
                return
            yield item

    def add(self, kind: str, seconds: float) -> None:
        """Add to `kind`."""
        with self._adding:
            self.seconds[kind] += seconds

    def add_batch(self, windows: int, seconds: float) -> None:
        """Add to `inferences`; one thread does."""
        self.inferences["windows"] += windows
        self.inferences["batches"] += 1
        self.inferences["seconds"] += seconds

    def add_halved(self, batch_size: int) -> None:
        """Count in `inferences` that the device had no memory for a batch."""
        self.inferences["halved"] += 1

    def add_bytes(self, count: int) -> None:
        """Add to `bytes_read`."""
        with self._adding:
            self.bytes_read += count


class TimedFile(io.RawIOBase):
    """A binary file whose reads are timed and counted; it is not closed with this one."""

    def __init__(self, file: BinaryIO, watch: Stopwatch) -> None:
        self._file = file
        self._watch = watch

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """As `io.RawIOBase` has it."""
        view = memoryview(buffer)
        with self._watch.timing("read"):
            content = self._file.read(len(view))
        view[: len(content)] = content
        self._watch.add_bytes(len(content))
        return len(content)

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
    def mix(self) -> Mix:
        """As the source's own."""
        return self._source.mix

    @mix.setter
    def mix(self, mix: Mix) -> None:
        self._source.mix = mix

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
