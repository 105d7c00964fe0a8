"""Reading a table: the windows of its last commit, whole, whatever is being published meanwhile."""

import os
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from l3core import storage
from l3core.storage import as_text
from l3core.table.clip_names import require_clips
from l3core.table.layout import TablePaths
from l3core.table.row_groups import matrix, opened, vector_size
from l3core.table.selection import METADATA, METADATA_SCHEMA, Selection, select
from l3core.table.state import TableState, choose_spec, existing_state

__all__ = ["METADATA", "ClipVectors", "following_commits", "read_clip_vectors", "read_windows"]
T = TypeVar("T")
# Decoded at once: what stays in a processor's cache until it is copied.
DECODED_BYTES = 2**20


class ClipVectors(NamedTuple):
    """The vectors of some clips.

    Attributes:
        vectors: float32 `(windows, d)`, by clip in the order that was asked for, and window.
        clips: int64 `(windows,)`, the place of each row's clip in that order, ascending.
    """

    vectors: np.ndarray
    clips: np.ndarray


class _Kept(NamedTuple):
    """Rows of a row group that are asked for.

    Attributes:
        path, group: of a windows file.
        places: of the rows in the group; None for all of them.
        rows: how many.
    """

    path: str
    group: int
    places: np.ndarray | None
    rows: int


def read_windows(
    table: str | os.PathLike[str],
    spec: str | None = None,
    columns: str | Sequence[str] | None = None,
    clips: str | Sequence[str] | None = None,
    where: pc.Expression | Sequence[Any] | None = None,
) -> tuple[pa.Table, np.ndarray]:
    """The windows of a table, sorted by clip and window.

    Each vector is copied once, to its place in one matrix; where all rows are those of row groups of one
    file, in order, nothing is copied: the matrix is Arrow's own memory, which is read-only.

    Args:
        table: path or URI of the table.
        spec: a fingerprint or the beginning of one; None if the table has only one.
        columns: metadata column or columns to read, of `METADATA`; None for all.
        clips: only this clip id, or these; row groups without any of them are not read.
        where: only rows of which it is true: an expression of pyarrow, such as
            `pyarrow.compute.field("start_s") >= 1`, or a list as pyarrow's `filters` are. It may speak
            of the metadata and of the columns of the ledger, the clip's `duration_s` for example. Row
            groups whose statistics rule it out are not read.

    Returns:
        Metadata as an Arrow table and vectors float32 `(windows, d)`, row for row.

    Raises:
        TableError: no such table, or not one spec, a clip that it does not have (one that could not be
            read has a ledger row, and no windows), or a condition that cannot be evaluated.
    """
    selection = select(columns, clips, where)
    paths = table_paths(table)
    return following_commits(
        paths, lambda state: read_state(paths, state, spec, selection, missing_ok=False)
    )


def read_clip_vectors(
    table: str | os.PathLike[str], spec: str | None, clips: Sequence[str]
) -> ClipVectors:
    """The vectors of some clips, each copied once, to its place in one array.

    Of a row group without any of the clips nothing is read, and of the others two columns first, to
    know where each vector goes.

    Args:
        table: path or URI of the table.
        spec: a fingerprint or the beginning of one; None if the table has only one.
        clips: clip ids, each once. Those that have no windows have no rows.

    Raises:
        TableError: no such table, or not one spec.
    """
    paths = table_paths(table)
    return following_commits(paths, lambda state: _read_vectors(paths, state, spec, clips))


def following_commits(
    paths: TablePaths,
    read: Callable[[TableState], T],
    state_of: Callable[[TablePaths], TableState] | None = None,
) -> T:
    """What is read of one commit, whole; read again if the next one has taken a file away.

    Args:
        paths: of the table.
        read: reads the files of a state.
        state_of: gives the state; None for `existing_state`. Readers that do not know where the files of
            a commit are that is being published take `l3core.table.journal.published_state`.
    """
    state_of = state_of or existing_state
    state = state_of(paths)
    while True:
        try:
            return read(state)
        except FileNotFoundError:
            before, state = state, state_of(paths)
            if state == before:  # no commit came: it is missing
                raise


def table_paths(table: str | os.PathLike[str]) -> TablePaths:
    """The paths of a table that somebody names."""
    return TablePaths(storage.absolute(os.fspath(table)).rstrip("/"))


def read_state(
    paths: TablePaths,
    state: TableState,
    spec: str | None,
    selection: Selection,
    *,
    missing_ok: bool = True,
) -> tuple[pa.Table, np.ndarray]:
    """The windows of a commit, as `read_windows` returns them; `missing_ok`: as for `scan_windows`.

    Raises:
        FileNotFoundError: a later commit has taken a file away, or it is missing.
        TableError: as `read_windows`.
    """
    fingerprint = choose_spec(paths, state, spec)
    needed = list(dict.fromkeys(["clip_id", "window", *selection.read]))
    rows, kept = _chosen(paths, state, fingerprint, selection, needed)
    if selection.clips is not None and not missing_ok:
        without = selection.clips.filter(pc.invert(pc.is_in(selection.clips, rows["clip_id"])))
        require_clips(paths, state, fingerprint, without)
    order = pc.sort_indices(rows, [("clip_id", "ascending"), ("window", "ascending")]).to_numpy()
    if not np.array_equal(order, np.arange(len(order))):
        rows = rows.take(order)
    elif len(whole := {one.path for one in kept}) == 1 and all(one.places is None for one in kept):
        with opened(paths, state, whole.pop()) as windows:
            read = windows.parquet.read_row_groups([one.group for one in kept], ["embedding"])
            return rows.select(selection.columns), matrix(read["embedding"])
    return rows.select(selection.columns), _gathered(paths, state, fingerprint, kept, order)


def _chosen(
    paths: TablePaths,
    state: TableState,
    fingerprint: str,
    selection: Selection,
    columns: Sequence[str],
) -> tuple[pa.Table, list[_Kept]]:
    """The rows that are asked for, without their vectors, and where those are."""
    ledger = selection.ledger(paths, state, fingerprint)
    parts, kept = [pa.schema([METADATA_SCHEMA.field(name) for name in columns]).empty_table()], []
    for path in state.windows(fingerprint):
        with opened(paths, state, path) as windows:
            for group in selection.groups(windows):
                rows = windows.parquet.read_row_group(group, columns)
                places = selection.kept(rows, ledger)
                rows = rows if places is None else rows.take(places)
                parts.append(rows)
                kept.append(_Kept(path, group, places, len(rows)))
    return pa.concat_tables(parts), kept


def _gathered(
    paths: TablePaths, state: TableState, fingerprint: str, kept: Sequence[_Kept], order: np.ndarray
) -> np.ndarray:
    """Vectors of rows of row groups, straight to their places in one matrix; `order` is of them all."""
    target = np.empty_like(order)
    target[order] = np.arange(len(order))
    size = vector_size(paths, state, fingerprint)
    vectors, done = np.empty((len(order), size), np.float32), 0
    for path, here in groupby((one for one in kept if one.rows), key=lambda one: one.path):
        with opened(paths, state, path) as (parquet, _):
            for _, group, places, count in here:
                _place(parquet, group, places, target[done : done + count], vectors)
                done += count
    return vectors


def _place(
    parquet: pq.ParquetFile, group: int, places: np.ndarray | None, target: np.ndarray, out: np.ndarray
) -> None:
    """Decode a row group's vectors, a little at a time, into rows of a matrix.

    Args:
        parquet: an open windows file.
        group: of it.
        places: of the rows that are wanted, ascending; None for all.
        target: their rows in `out`.
        out: the matrix.
    """
    chunk = max(1, DECODED_BYTES // (4 * out.shape[1]))
    begin = done = 0
    for batch in parquet.iter_batches(chunk, row_groups=[group], columns=["embedding"]):
        found = matrix(batch["embedding"])
        if places is not None:
            stop = int(np.searchsorted(places, begin + len(found)))
            begin, found = begin + len(found), found[places[done:stop] - begin]
        rows = target[done : done + len(found)]
        done += len(found)
        if len(rows) and np.array_equal(rows, np.arange(rows[0], rows[0] + len(rows))):
            out[rows[0] : rows[0] + len(rows)] = found  # as a block
        else:
            out[rows] = found


def _read_vectors(
    paths: TablePaths, state: TableState, spec: str | None, clips: Sequence[str]
) -> ClipVectors:
    fingerprint = choose_spec(paths, state, spec)
    columns = ["clip_id", "window"]
    rows, kept = _chosen(paths, state, fingerprint, select(columns, clips, None), columns)
    asked = pa.array(list(map(as_text, clips)), pa.string())
    place = pc.index_in(rows["clip_id"], asked).to_numpy().astype(np.int64)
    order = np.lexsort((rows["window"].to_numpy(), place))
    return ClipVectors(_gathered(paths, state, fingerprint, kept, order), place[order])
