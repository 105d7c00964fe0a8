"""The ledger of fetching: what became of each video, a line of JSON each, beside the videos.

Each run writes files of its own in `OUTPUT/fetch-ledger/`: on a disk one, to which it adds line by line;
in a store, which cannot add to an object, a new one for every few lines. The last line about a video
counts.
"""

import json
import os
import posixpath
import threading
import time
import uuid
from typing import Any, NamedTuple

from l3core import storage
from l3core.ahead import map_ahead
from l3core.errors import DamagedError
from l3core.stores import filesystem, is_disk
from l3core.table.layout import TablePaths

FOLDER = "fetch-ledger"
SUFFIX = ".jsonl"
# What is lost of a ledger in a store if a run is killed: the videos themselves are there.
LINES_HELD, SECONDS_HELD = 50, 60.0


class FetchRow(NamedTuple):
    """One video that was asked for.

    Attributes:
        name: of its file, without the ending.
        video: its id.
        start_s, end_s: that were asked for.
        status: one of `l3core.avc.fetch_statuses.STATUSES`.
        error: in words; empty if it is ok.
        file: its file's name; empty if there is none.
        size_bytes: of the file.
        seconds: that fetching took.
        at: when it was over, UTC.
    """

    name: str
    video: str
    start_s: float
    end_s: float
    status: str
    error: str = ""
    file: str = ""
    size_bytes: int = 0
    seconds: float = 0.0
    at: str = ""


def read_fetched(output: str) -> dict[str, FetchRow]:
    """The last row of each name, in the order of the first; nothing where nothing was fetched.

    Raises:
        DamagedError: a file of it cannot be read.
    """
    folder = storage.join(output, FOLDER)
    uris = [storage.join(folder, name) for name in storage.names_below(folder, suffix=SUFFIX)]
    rows: dict[str, FetchRow] = {}
    for content, uri in zip(map_ahead(storage.read_bytes, uris), uris):
        lines = content.split(b"\n")
        for number, line in enumerate(lines[:-1], start=1):  # what follows the last break is torn
            row = _row(uri, number, line)
            rows[row.name] = row
    return rows


def _row(uri: str, number: int, line: bytes) -> FetchRow:
    try:
        return FetchRow(**json.loads(line))
    except (ValueError, TypeError):
        raise DamagedError(f"{uri} line {number} is no row of a ledger of fetching") from None


def locks_of(output: str) -> TablePaths:
    """What the locks of tables (`l3core.table.lock`) take, for a folder of videos: beside its ledger."""
    return TablePaths(storage.join(storage.absolute_folder(output), FOLDER))


class FetchLedger:
    """The rows that this run adds; to be used by several threads."""

    def __init__(self, output: str) -> None:
        """Writes nothing yet.

        Args:
            output: folder of the videos.
        """
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        self._run = storage.join(output, FOLDER, f"{stamp}-{uuid.uuid4().hex[:8]}")
        self._fs, self._path = filesystem(self._run)
        self._lock = threading.Lock()
        self._held: list[bytes] = []
        self._parts = 0
        self._written = time.monotonic()

    def add(self, row: FetchRow) -> None:
        """Keep a row.

        Raises:
            OSError: it cannot be written.
        """
        line = json.dumps(_told(row)).encode() + b"\n"
        with self._lock:
            if is_disk(self._fs):
                self._append(line)
                return
            self._held.append(line)
            if len(self._held) >= LINES_HELD or time.monotonic() - self._written > SECONDS_HELD:
                self._put()

    def close(self) -> None:
        """Write what is held."""
        with self._lock:
            self._put()

    def _append(self, line: bytes) -> None:
        os.makedirs(posixpath.dirname(self._path), exist_ok=True)
        with open(self._path + SUFFIX, "ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def _put(self) -> None:
        if self._held:
            storage.write_bytes(f"{self._run}-{self._parts:06d}{SUFFIX}", b"".join(self._held))
            self._held, self._parts = [], self._parts + 1
        self._written = time.monotonic()


def _told(row: FetchRow) -> dict[str, Any]:
    return row._asdict() | {"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
