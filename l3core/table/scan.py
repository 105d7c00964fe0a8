"""Reading a table in pieces: `iter_windows` in bounded memory, and what others share a table out by."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from l3core.ahead import map_ahead
from l3core.errors import TableError
from l3core.table.clip_names import require_clips
from l3core.table.layout import TablePaths
from l3core.table.read import following_commits, table_paths
from l3core.table.row_groups import matrix, opened, vector_size
from l3core.table.selection import Selection, select
from l3core.table.state import TableState, choose_spec, existing_state

# Vectors that are decoded at once, whatever the row groups' size.
CHUNK_BYTES = 8 * 2**20


class Piece(NamedTuple):
    """Rows of a row group of a windows file, also those that are not asked for.

    Attributes:
        path: of the file, below the table.
        group: its number in the file.
        start, stop: of the rows in the group.
    """

    path: str
    group: int
    start: int
    stop: int


class Windows(NamedTuple):
    """Some windows.

    Attributes:
        metadata: the columns that were asked for.
        vectors: float32 `(windows, d)`, row for row.
    """

    metadata: pa.Table
    vectors: np.ndarray


@dataclass(frozen=True)
class Scan:
    """Windows of one commit of a table, to be read piece by piece; travels to other processes.

    Attributes:
        paths: of the table.
        state: the commit.
        fingerprint: the partition.
        selection: which windows.
        ledger: what the selection needs of it.
        size: numbers in a vector.
    """

    paths: TablePaths
    state: TableState
    fingerprint: str
    selection: Selection
    ledger: pa.Table | None
    size: int

    def pieces(self) -> list[Piece]:
        """Row groups that may hold windows that are asked for, in the order of the files.

        Raises:
            TableError: files are no longer there, or damaged.
        """
        try:
            return [piece for found in map_ahead(self._pieces_of, self._files()) for piece in found]
        except FileNotFoundError:
            raise self._lost() from None

    def read(self, pieces: Iterable[Piece]) -> Iterator[Windows]:
        """The windows of some pieces, in order, at most some megabytes at a time, none of them empty.

        Raises:
            TableError: a file is no longer there, or damaged.
        """
        for piece in pieces:
            try:
                with opened(self.paths, self.state, piece.path) as (parquet, _):
                    yield from self._read_group(parquet, piece.group, piece.start, piece.stop)
            except FileNotFoundError:
                raise self._lost() from None

    def read_files(self) -> Iterator[Windows]:
        """The same of all pieces, where each file is opened when it is its turn.

        Raises:
            FileNotFoundError: a file is no longer there.
            TableError: one is damaged.
        """
        for path in self._files():
            with opened(self.paths, self.state, path) as windows:
                for group in self.selection.groups(windows):
                    yield from self._read_group(windows.parquet, group)

    def count(self, pieces: Iterable[Piece]) -> int:
        """How many windows `read` gives; no vector is read.

        Raises:
            TableError: as `read`.
        """
        pieces = list(pieces)
        if self.selection.everything:
            return sum(piece.stop - piece.start for piece in pieces)
        return sum(map_ahead(self._count, pieces))

    def _count(self, piece: Piece) -> int:
        try:
            with opened(self.paths, self.state, piece.path) as (parquet, _):
                rows = parquet.read_row_group(piece.group, self.selection.read)
        except FileNotFoundError:
            raise self._lost() from None
        rows = rows.slice(piece.start, piece.stop - piece.start)
        places = self.selection.kept(rows, self.ledger)
        return len(rows) if places is None else len(places)

    def clip_ids(self) -> pa.ChunkedArray:
        """Clips of the partition's ledger, also those without windows.

        Raises:
            TableError: the ledger is no longer there, or damaged.
        """
        found = [pa.chunked_array([], pa.string())]
        for path in self.state.ledger(self.fingerprint):
            try:
                with opened(self.paths, self.state, path) as ledger:
                    found.append(ledger.parquet.read(["clip_id"])["clip_id"])
            except FileNotFoundError:
                raise self._lost() from None
        return pa.chunked_array([chunk for one in found for chunk in one.chunks], pa.string())

    def _files(self) -> list[str]:
        return self.state.windows(self.fingerprint)

    def _pieces_of(self, path: str) -> list[Piece]:
        with opened(self.paths, self.state, path) as windows:
            metadata = windows.parquet.metadata
            groups = self.selection.groups(windows)
            return [Piece(path, group, 0, metadata.row_group(group).num_rows) for group in groups]

    def _read_group(
        self, parquet: pq.ParquetFile, group: int, start: int = 0, stop: int | None = None
    ) -> Iterator[Windows]:
        chunk = max(1, CHUNK_BYTES // (4 * max(1, self.size)))
        needed = [*dict.fromkeys([*self.selection.read, *self.selection.columns]), "embedding"]
        end = 0
        for batch in parquet.iter_batches(chunk, row_groups=[group], columns=needed):
            begin, end = end, end + len(batch)
            first, last = max(start, begin), end if stop is None else min(stop, end)
            if first < last:
                yield from self._asked(batch.slice(first - begin, last - first))
            if last == stop:
                return

    def _asked(self, batch: pa.RecordBatch) -> Iterator[Windows]:
        places = self.selection.kept(batch, self.ledger)
        rows = pa.Table.from_batches([batch]).select(self.selection.columns)
        vectors = matrix(batch["embedding"])
        if places is None:
            yield Windows(rows, vectors)
        elif len(places):
            yield Windows(rows.take(places), vectors[places])

    def _lost(self) -> TableError:
        return TableError(
            f"{self.paths.root} was changed by another run while it was read: files of its commit "
            f"{self.state.commits} are no longer there, begin again"
        )


def scan_windows(
    table: str | os.PathLike[str],
    spec: str | None = None,
    columns: str | Sequence[str] | None = None,
    clips: str | Sequence[str] | None = None,
    where: pc.Expression | Sequence[Any] | None = None,
    *,
    missing_ok: bool = False,
) -> Scan:
    """A scan of a table's last commit; arguments and errors as of `l3core.table.read.read_windows`.

    With `missing_ok` clips that the table does not have are no error.
    """
    selection = select(columns, clips, where)
    paths = table_paths(table)

    def scan(state: TableState) -> Scan:
        found = _scan(paths, state, spec, selection)
        if selection.clips is not None and not missing_ok:
            require_clips(paths, state, found.fingerprint, selection.clips)
        return found

    return following_commits(paths, scan)


def _scan(paths: TablePaths, state: TableState, spec: str | None, selection: Selection) -> Scan:
    fingerprint = choose_spec(paths, state, spec)
    ledger = selection.ledger(paths, state, fingerprint)
    size = vector_size(paths, state, fingerprint)
    files = [*state.windows(fingerprint), *state.ledger(fingerprint)]
    here = {path: state.files[path] for path in files}
    return Scan(paths, state._replace(files=here), fingerprint, selection, ledger, size)


def iter_windows(
    table: str | os.PathLike[str],
    spec: str | None = None,
    columns: str | Sequence[str] | None = None,
    clips: str | Sequence[str] | None = None,
    where: pc.Expression | Sequence[Any] | None = None,
    *,
    batch_size: int = 1024,
) -> Iterator[Windows]:
    """The windows of a table in batches, in memory that does not depend on the table's size.

    All of them are of one commit. Files come one after the other, each sorted by clip and window: all
    windows of a clip follow one another, except where a clip lies in several files. If another run
    replaces files meanwhile, the iteration begins anew unseen as long as nothing was given out, and ends
    with an error afterwards.

    Args:
        table: path or URI of the table.
        spec: a fingerprint or the beginning of one; None if the table has only one.
        columns: metadata column or columns to read; None for all.
        clips: only this clip id, or these.
        where: only rows of which it is true, as for `read_windows`.
        batch_size: rows in a batch, the last one excepted.

    Returns:
        Batches of metadata, an Arrow table, and vectors float32 `(windows, d)`, perhaps read-only.

    Raises:
        TableError: as `read_windows`, at once; later on if the files of the commit are taken away.
    """
    if batch_size < 1:
        raise TableError(f"batch_size must be at least 1, got {batch_size}")
    return rebatched(_following(scan_windows(table, spec, columns, clips, where)), batch_size)


def _following(scan: Scan) -> Iterator[Windows]:
    """All windows of a scan; of a later commit if another has come before there were any."""
    begun = False
    while True:
        try:
            for windows in scan.read_files():
                begun = True
                yield windows
            return
        except FileNotFoundError:
            state = existing_state(scan.paths)
            if state.commits == scan.state.commits:  # no commit came: it is missing
                raise
            if begun:
                raise scan._lost() from None
            scan = _scan(scan.paths, state, scan.fingerprint, scan.selection)


def rebatched(parts: Iterable[Windows], batch_size: int) -> Iterator[Windows]:
    """The same rows in batches of exactly `batch_size`, the last one excepted."""
    waiting: list[Windows] = []
    count = 0
    for part in parts:
        done = 0
        while count + len(part.vectors) - done >= batch_size:
            stop = done + batch_size - count
            yield _joined([*waiting, _sliced(part, done, stop)])
            waiting, count, done = [], 0, stop
        if done < len(part.vectors):
            waiting.append(_sliced(part, done, len(part.vectors)))
            count += len(part.vectors) - done
    if waiting:
        yield _joined(waiting)


def _sliced(windows: Windows, start: int, stop: int) -> Windows:
    return Windows(windows.metadata.slice(start, stop - start), windows.vectors[start:stop])


def _joined(parts: Sequence[Windows]) -> Windows:
    if len(parts) == 1:
        return parts[0]
    metadata = pa.concat_tables(part.metadata for part in parts)
    return Windows(metadata, np.concatenate([part.vectors for part in parts]))
