"""Checking the rows of a table's files, batch by batch.

What has to be compared across files, the windows and the ledger row of each clip, goes to streams that
`l3core.table.verify_clips` merges.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from l3core import storage
from l3core.spec import EmbeddingSpec
from l3core.table.finding import Finding
from l3core.table.layout import STATUSES, WITH_WINDOWS
from l3core.table.spool import Stream
from l3core.table.verify_clips import WindowRun

START_TOLERANCE_S = 1e-6
MAY_HAVE_WINDOWS = WITH_WINDOWS | {"gone"}  # until they are pruned


class _Count(NamedTuple):
    """How often something is wrong in a file, and where first."""

    rows: int = 0
    first: str = ""

    def more(self, rows: int, first: str) -> "_Count":
        return _Count(self.rows + rows, self.first or first)


class WindowsScan:
    """Reads a windows file batch by batch; at most one is in memory.

    Args:
        path: of the file, below the table.
        spec: None if it is not known: then start times are not checked.
        stream: gets the `WindowRun`s.
    """

    def __init__(self, path: str, spec: EmbeddingSpec | None, stream: Stream) -> None:
        self.path = path
        self.stream = stream
        self.unsorted: str | None = None
        self._spec = spec
        self._last: tuple[str, int] | None = None
        self._not_finite = _Count()
        self._misplaced = _Count()

    def take(self, batch: pa.RecordBatch) -> None:
        """The next rows, of the schema of a windows file."""
        windows = batch["window"].to_numpy().astype(np.int64)
        start_s = batch["start_s"].to_numpy()
        vectors = batch["embedding"].flatten().to_numpy(zero_copy_only=False)  # null becomes NaN
        finite = np.isfinite(vectors).reshape(len(batch), -1).all(axis=1) & np.isfinite(start_s)
        self._not_finite = _counted(self._not_finite, batch, ~finite)
        if self._spec is not None:
            misplaced = finite & ~on_grid(self._spec, windows, start_s)
            self._misplaced = _counted(self._misplaced, batch, misplaced)
        for run in _runs(batch["clip_id"], windows, self.path):
            self._take_run(run)

    def _take_run(self, run: WindowRun) -> None:
        first = (run.clip_id, run.first)
        if self._last is not None and first < self._last and self.unsorted is None:
            self.unsorted = (
                f"should be sorted by clip_id, window, has window {run.first} of {run.clip_id} "
                f"after window {self._last[1]} of {self._last[0]}"
            )
        self._last = (run.clip_id, run.first + run.length - 1)
        self.stream.add([run.clip_id, run.first, run.length])

    def findings(self) -> Iterator[Finding]:
        """What is wrong with the rows: one of a kind, with how often and where first."""
        if self.unsorted is not None:
            yield Finding("unsorted", self.path, self.unsorted)
        if self._not_finite.rows:
            rows, first = self._not_finite
            problem = f"should have finite numbers only, has NaN or infinity in {in_rows(rows)}: {first}"
            yield Finding("not-finite", self.path, problem)
        if self._misplaced.rows:
            rows, first = self._misplaced
            problem = (
                f"start_s should be where the grid has the window, is not in {in_rows(rows)}: {first}"
            )
            yield Finding("start-times", self.path, problem)


def on_grid(spec: EmbeddingSpec, windows: np.ndarray, start_s: np.ndarray) -> np.ndarray:
    """Which windows start where they should.

    Args:
        spec: of the partition.
        windows: index of each, int64 `(rows,)`.
        start_s: float64 `(rows,)`.

    Returns:
        bool `(rows,)`.
    """
    grid, rate = spec.window_grid, spec.sample_rate_hz
    first = grid.offset(grid.window_samples)
    right = np.abs(start_s - (first + windows * grid.hop_samples) / rate) <= START_TOLERANCE_S
    if grid.kind == "paper":  # a signal shorter than a window stands in the middle of its only one
        early = -(grid.window_samples // 2) / rate - START_TOLERANCE_S
        right |= (windows == 0) & (early <= start_s) & (start_s <= 0)
    return right


def _runs(clip_ids: pa.StringArray, windows: np.ndarray, path: str) -> Iterator[WindowRun]:
    """Rows of one clip whose windows follow one another."""
    codes = clip_ids.dictionary_encode().indices.to_numpy()
    follows = (codes[1:] == codes[:-1]) & (windows[1:] == windows[:-1] + 1)
    edges = np.concatenate([[0], np.flatnonzero(~follows) + 1, [len(windows)]])
    names = clip_ids.take(pa.array(edges[:-1])).to_pylist()
    for name, first, count in zip(names, windows[edges[:-1]].tolist(), np.diff(edges).tolist()):
        yield WindowRun(name, first, count, path)


def _counted(count: _Count, batch: pa.RecordBatch, wrong: np.ndarray) -> _Count:
    if not wrong.any():
        return count
    row = int(np.argmax(wrong))
    start_s = batch["start_s"][row].as_py()
    first = f"first window {batch['window'][row]} of {batch['clip_id'][row]}, start_s {start_s:g}"
    return count.more(int(wrong.sum()), first)


class LedgerScan:
    """Reads a ledger file row by row.

    Args:
        path: of the file, below the table.
        root: of the table.
        stream: gets the `LedgerFacts`.
    """

    COLUMNS = ("clip_id", "uri", "status", "windows_expected", "windows_written", "files")

    def __init__(self, path: str, root: str, stream: Stream) -> None:
        self.path = path
        self.stream = stream
        self.unsorted: str | None = None
        self._base = storage.beginning_below(storage.as_text(root))
        self._last = ""

    def take(self, row: dict[str, Any]) -> Iterator[Finding]:
        """The next row; yields what is wrong with it by itself."""
        clip_id = row["clip_id"]
        for kind, problem in self._problems(row):
            yield Finding(kind, self.path, f"{clip_id}: {problem}")
        if clip_id < self._last and self.unsorted is None:
            self.unsorted = f"should be sorted by clip_id, has {clip_id} after {self._last}"
        self._last = clip_id
        files = [str(file) for file in row["files"]]  # an element may be null
        self.stream.add([clip_id, row["windows_written"], files])

    def _problems(self, row: dict[str, Any]) -> Iterator[tuple[str, str]]:
        status, expected, written = row["status"], row["windows_expected"], row["windows_written"]
        if row["uri"] != self._base + row["clip_id"]:
            yield "uri", f"uri should be {self._base}{row['clip_id']}, is {row['uri']}"
        if status not in STATUSES:
            yield "status", f"status should be one of {', '.join(STATUSES)}, is {status}"
        elif status not in MAY_HAVE_WINDOWS and (written or row["files"]):
            files = len(row["files"])
            problem = f"status {status} should have no windows, has {written} in {files} files"
            yield "failed-with-windows", problem
        elif status == "ok" and written != expected:
            yield "ledger-counts", f"status ok should have all {expected} windows, has {written}"
        elif not 0 <= written <= expected and status in MAY_HAVE_WINDOWS:
            yield "ledger-counts", f"{status} should have 0 to {expected} windows, has {written}"


def in_rows(count: int) -> str:
    """A number of rows in words."""
    return "1 row" if count == 1 else f"{count} rows"
