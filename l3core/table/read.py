"""Reading a table: the windows of its last commit, whole, whatever is being published meanwhile."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import BinaryIO, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from l3core import storage
from l3core.errors import TableError
from l3core.table.layout import TablePaths
from l3core.table.state import TableState, choose_spec, existing_state

METADATA = ("clip_id", "window", "start_s", "silent")
T = TypeVar("T")


class ClipVectors(NamedTuple):
    """The vectors of some clips.

    Attributes:
        vectors: float32 `(windows, d)`, by clip in the order that was asked for, and window.
        clips: int64 `(windows,)`, the place of each row's clip in that order, ascending.
    """

    vectors: np.ndarray
    clips: np.ndarray


def read_windows(
    table: str | os.PathLike[str],
    spec: str | None = None,
    columns: str | Sequence[str] | None = None,
    clips: str | Sequence[str] | None = None,
) -> tuple[pa.Table, np.ndarray]:
    """The windows of a table, sorted by clip and window.

    Args:
        table: path or URI of the table.
        spec: a fingerprint or the beginning of one; None if the table has only one.
        columns: metadata column or columns to read, of `METADATA`; None for all.
        clips: only this clip id, or these; row groups without any of them are not read.

    Returns:
        Metadata as an Arrow table and vectors float32 `(windows, d)`, row for row.

    Raises:
        TableError: no such table, or not one spec.
    """
    names = METADATA if columns is None else _listed(columns)
    if unknown := [name for name in names if name not in METADATA]:
        raise TableError(f"columns must be of {', '.join(METADATA)}, got {', '.join(unknown)}")
    wanted = None if clips is None else pa.array(sorted(_listed(clips)), pa.string())
    paths = _paths(table)
    return following_commits(paths, lambda state: _read_state(paths, state, spec, names, wanted))


def read_clip_vectors(
    table: str | os.PathLike[str], spec: str | None, clips: Sequence[str]
) -> ClipVectors:
    """The vectors of some clips, straight into one array: the only copy there ever is.

    Of a row group without any of the clips nothing is read, and of the others two columns first, to
    know where each vector goes.

    Args:
        table: path or URI of the table.
        spec: a fingerprint or the beginning of one; None if the table has only one.
        clips: clip ids, each once. Those that have no windows have no rows.

    Raises:
        TableError: no such table, or not one spec.
    """
    paths = _paths(table)
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


def _paths(table: str | os.PathLike[str]) -> TablePaths:
    return TablePaths(storage.absolute(os.fspath(table)).rstrip("/"))


def _listed(names: str | Sequence[str]) -> list[str]:
    """One name, or several."""
    return [names] if isinstance(names, str) else list(names)


def _read_state(
    paths: TablePaths,
    state: TableState,
    spec: str | None,
    columns: Sequence[str],
    clips: pa.Array | None,
) -> tuple[pa.Table, np.ndarray]:
    fingerprint = choose_spec(paths, state, spec)
    wanted = list(columns)
    read = list(dict.fromkeys([*wanted, "clip_id", "window", "embedding"]))
    parts = []
    for path in state.windows(fingerprint):
        with _opened(paths, state, path) as parquet:
            rows = parquet.read_row_groups(_groups(parquet, clips), read)
        parts.append(rows if clips is None else rows.filter(pc.is_in(rows["clip_id"], clips)))
    if not parts:
        return pa.table({name: pa.array([]) for name in wanted}), np.empty((0, 0), np.float32)
    rows = pa.concat_tables(parts).sort_by([("clip_id", "ascending"), ("window", "ascending")])
    return rows.select(wanted), _matrix(rows["embedding"].combine_chunks())


def _read_vectors(
    paths: TablePaths, state: TableState, spec: str | None, clips: Sequence[str]
) -> ClipVectors:
    files = state.windows(choose_spec(paths, state, spec))
    asked = pa.array(clips, pa.string())
    ordered = pc.take(asked, pc.sort_indices(asked))
    places, windows, ends, size = [], [], [0], 0
    for path in files:
        with _opened(paths, state, path) as parquet:
            size = parquet.schema_arrow.field("embedding").type.list_size
            for group in _groups(parquet, ordered):
                found = parquet.read_row_group(group, ["clip_id", "window"])
                place = pc.index_in(found["clip_id"], asked).combine_chunks()
                places.append(place.fill_null(-1).to_numpy(zero_copy_only=False))
                windows.append(found["window"].to_numpy())
                ends.append(ends[-1] + len(found))
    if not places:
        return ClipVectors(np.empty((0, size), np.float32), np.empty(0, np.int64))
    place = np.concatenate(places).astype(np.int64)
    order = np.lexsort((np.concatenate(windows), place))
    order = order[np.searchsorted(place[order], 0) :]  # rows of other clips are in front
    row_of = np.full(len(place), -1, np.int64)
    row_of[order] = np.arange(len(order))
    vectors = np.empty((len(order), size), np.float32)
    number = 0
    for path in files:
        with _opened(paths, state, path) as parquet:
            for group in _groups(parquet, ordered):
                rows = row_of[ends[number] : ends[number + 1]]
                number += 1
                if (rows >= 0).any():
                    read = parquet.read_row_group(group, ["embedding"])["embedding"]
                    vectors[rows[rows >= 0]] = _matrix(read.combine_chunks())[rows >= 0]
    return ClipVectors(vectors, place[order])


def _matrix(vectors: pa.FixedSizeListArray) -> np.ndarray:
    return vectors.flatten().to_numpy(zero_copy_only=False).reshape(-1, vectors.type.list_size)


def _groups(parquet: pq.ParquetFile, clips: pa.Array | None) -> list[int]:
    """Row groups that may hold some of the clips, which are sorted; all of them for None."""
    every = range(parquet.num_row_groups)
    if clips is None:
        return list(every)
    names = clips.to_numpy(zero_copy_only=False)
    column = parquet.schema_arrow.get_field_index("clip_id")
    return [group for group in every if _may_hold(parquet.metadata.row_group(group), column, names)]


def _may_hold(group: pq.RowGroupMetaData, column: int, names: np.ndarray) -> bool:
    statistics = group.column(column).statistics
    if statistics is None or not statistics.has_min_max:
        return True
    # Parquet orders strings by their bytes in UTF-8, Python by code points: the same order
    first = np.searchsorted(names, statistics.min)
    return bool(first < len(names) and names[first] <= statistics.max)


@contextmanager
def _opened(paths: TablePaths, state: TableState, path: str) -> Iterator[pq.ParquetFile]:
    with ExitStack() as stack:
        yield pq.ParquetFile(stack.enter_context(_reading(paths, state, path)))


def _reading(paths: TablePaths, state: TableState, path: str) -> BinaryIO:
    """Open a file of the state; it may just be moving into its place."""
    staged = (state.pending or {"staged": {}})["staged"].get(path)
    for place in (path, staged) if staged is not None else ():
        with suppress(FileNotFoundError):
            return storage.reading(paths.at(place))
    return storage.reading(paths.at(path))
