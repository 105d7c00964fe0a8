"""Streams in one temporary file: any number can be merged, without a file open for each."""

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

# What a stream that is being read holds in memory; thousands may be read at a time.
READ_BYTES = 2048


class Stream:
    """A stream of JSON values at the end of a file; only the last stream of a file can be added to.

    Args:
        file: a temporary one, for reading and writing.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._start = self._end = file.seek(0, 2)

    def add(self, value: Any) -> None:
        """Put a value behind the others."""
        self._end += self._file.write(json.dumps(value).encode() + b"\n")  # ASCII: one line

    def __iter__(self) -> Iterator[Any]:
        """The values in the order they were added; several streams may be read in turns."""
        place = self._start
        while place < self._end:
            self._file.seek(place)
            for line in self._file.readlines(READ_BYTES):
                if place >= self._end:  # the next stream begins here
                    return
                place += len(line)
                yield json.loads(line)
