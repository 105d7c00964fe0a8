"""Reading a table: the windows of its last commit, whole, whatever is being published meanwhile."""

import os
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from l3core import storage
from l3core.errors import TableError
from l3core.table.layout import TablePaths
from l3core.table.state import TableState, choose_spec, existing_state

METADATA = ("clip_id", "window", "start_s", "silent")


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
        clips: only this clip id, or these.

    Returns:
        Metadata as an Arrow table and vectors float32 `(windows, d)`, row for row.

    Raises:
        TableError: no such table, or not one spec.
    """
    paths = TablePaths(storage.absolute(os.fspath(table)).rstrip("/"))
    columns = METADATA if columns is None else _listed(columns)
    if unknown := [name for name in columns if name not in METADATA]:
        raise TableError(f"columns must be of {', '.join(METADATA)}, got {', '.join(unknown)}")
    clips = None if clips is None else _listed(clips)
    state = existing_state(paths)
    while True:
        try:
            return _read_state(paths, state, spec, columns, clips)
        except FileNotFoundError:
            # a commit that came meanwhile has moved or removed the file: look again, unless none came
            before, state = state, existing_state(paths)
            if state == before:
                raise


def _listed(names: str | Sequence[str]) -> list[str]:
    """One name, or several."""
    return [names] if isinstance(names, str) else list(names)


def _read_state(
    paths: TablePaths,
    state: TableState,
    spec: str | None,
    columns: Sequence[str],
    clips: Sequence[str] | None,
) -> tuple[pa.Table, np.ndarray]:
    fingerprint = choose_spec(paths, state, spec)
    wanted = list(columns)
    read = list(dict.fromkeys([*wanted, "clip_id", "window", "embedding"]))
    parts = [_read(paths, state, path, read, clips) for path in state.windows(fingerprint)]
    if not parts:
        return pa.table({name: pa.array([]) for name in wanted}), np.empty((0, 0), np.float32)
    rows = pa.concat_tables(parts).sort_by([("clip_id", "ascending"), ("window", "ascending")])
    vectors = rows["embedding"].combine_chunks()
    size = vectors.type.list_size
    matrix = vectors.flatten().to_numpy(zero_copy_only=False).reshape(-1, size)
    return rows.select(wanted), matrix


def _read(
    paths: TablePaths,
    state: TableState,
    path: str,
    columns: list[str],
    clips: Sequence[str] | None,
) -> pa.Table:
    staged = (state.pending or {"staged": {}})["staged"].get(path)
    # a commit that is being published has its files at one place or the other
    uri = paths.at(path)
    if staged is not None and not storage.exists(uri):
        uri = paths.at(staged)
    fs, name = storage.filesystem(uri)
    with fs.open(name, "rb") as file:
        rows = pq.ParquetFile(file).read(columns)
    if clips is not None:
        rows = rows.filter(pc.is_in(rows["clip_id"], pa.array(clips, pa.string())))
    return rows
