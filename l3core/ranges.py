"""A large object as a file: read in ranges that follow the reader, and grow while it reads on."""

import io
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# The first range holds the header of most files; where reading goes on, the next is twice as long, until
# asking takes a small part of the time or the range fills this much memory.
FIRST_BYTES = 2**16
MOST_BYTES = 8 * 2**20
LATENCIES = 10
# An answer that is shorter than it should be is asked for again.
TRIES = 3


class RangedFile(io.RawIOBase):
    """Reads ahead of its reader, by as much as the latency of the store asks for.

    Args:
        fetch: bytes `[start, stop)` of the object.
        size: of the object.
        clock: seconds, to tell how long an answer took.
    """

    def __init__(
        self,
        fetch: Callable[[int, int], bytes],
        size: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._size = size
        self._place = 0
        self._head = b""
        self._start, self._content = 0, b""
        self._span = FIRST_BYTES
        self._took_s = self._latency_s = float("inf")

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """As `io.RawIOBase` has it."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As `io.RawIOBase` has it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"cannot seek to {base + offset}")
        self._place = base + offset
        return self._place

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """As `io.RawIOBase` has it; fewer bytes than there is place for where a range ends."""
        view = memoryview(buffer).cast("B")
        if self._place >= self._size or not len(view):
            return 0
        content, start = self._here(len(view))
        part = memoryview(content)[self._place - start : self._place - start + len(view)]
        view[: len(part)] = part
        self._place += len(part)
        return len(part)

    def _here(self, wanted: int) -> tuple[bytes, int]:
        """A range that holds the place of the reader, and where it begins."""
        if self._place < len(self._head):  # the header, which decoders come back to
            return self._head, 0
        end = self._start + len(self._content)
        if not self._start <= self._place < end:
            self._span = self._next_span() if self._place == end else FIRST_BYTES
            self._load(self._place, max(self._span, wanted))
        return self._content, self._start

    def _next_span(self) -> int:
        longer = self._took_s < LATENCIES * self._latency_s
        return min(2 * self._span, MOST_BYTES) if longer else self._span

    def _load(self, start: int, length: int) -> None:
        began = self._clock()
        content = self._fetch_whole(start, min(self._size, start + length))
        self._took_s = self._clock() - began
        self._latency_s = min(self._latency_s, self._took_s)
        self._start, self._content = start, content
        if start == 0:
            self._head = content[:FIRST_BYTES]

    def _fetch_whole(self, start: int, stop: int) -> bytes:
        for _ in range(TRIES):
            content = self._fetch(start, stop)
            if len(content) == stop - start:
                return content
        raise OSError(f"got {len(content)} of {stop - start} bytes from byte {start} on")
