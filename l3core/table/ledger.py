"""Reading, writing and updating a partition's ledger as a stream, sorted by clip id.

An update makes only the rows that change Python's: all others pass as Arrow, even where their windows
files are rewritten, so that a night's handful of new files costs a table of a million clips one second.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, BinaryIO, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from l3core import storage
from l3core.table.damage import naming_damage
from l3core.table.layout import LEDGER_SCHEMA, LedgerRow, TablePaths, ledger_batch

T = TypeVar("T")
# Makes a clip's row of the one that it had, or of None.
Settle = Callable[[LedgerRow | None], LedgerRow]

BATCH_ROWS = 5_000
GROUP_ROWS = 50_000


class Known(NamedTuple):
    """What of a ledger row decides whether its object is embedded again; fields as in `LedgerRow`."""

    clip_id: str
    uri: str
    size_bytes: int
    version: str
    checksum: str | None
    status: str
    error: str | None
    windows_expected: int
    windows_written: int
    files: Sequence[str]


class Moved(NamedTuple):
    """Where the rows of a rewritten windows file are now.

    Attributes:
        path: below the table.
        first_clip, last_clip: ids of its first and last clip.
    """

    path: str
    first_clip: str
    last_clip: str


def read_ledger(paths: TablePaths, files: Sequence[str]) -> Iterator[LedgerRow]:
    """All rows of ledger files, merged in the order of their clip ids.

    Args:
        paths: of the table.
        files: paths below the table, each sorted.
    """
    return heapq.merge(*(_rows(paths.at(file)) for file in files), key=lambda row: row.clip_id)


def read_known(paths: TablePaths, files: Sequence[str]) -> Iterator[Known]:
    """The same rows, of which only what decides is read."""
    return heapq.merge(*(_known(paths.at(file)) for file in files), key=lambda row: row.clip_id)


def read_facts(paths: TablePaths, files: Sequence[str]) -> Iterator[tuple[str, str, int, float | None]]:
    """(clip id, status, windows written, seconds) of the same rows."""
    names = ["clip_id", "status", "windows_written", "duration_s"]
    return heapq.merge(*(_values(paths.at(file), names) for file in files), key=lambda row: row[0])


def _rows(uri: str) -> Iterator[LedgerRow]:
    for batch in _batches(uri):
        yield from _rows_of(batch)


def _rows_of(batch: pa.RecordBatch | pa.Table) -> Iterator[LedgerRow]:
    return (LedgerRow.from_json(row) for row in batch.to_pylist())


def _known(uri: str) -> Iterator[Known]:
    return map(Known._make, _values(uri, Known._fields))


def _values(uri: str, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Rows of some columns."""
    for batch in _batches(uri, names):
        yield from zip(*(batch[name].to_pylist() for name in names))


def _batches(uri: str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    fs, path = storage.filesystem(uri)
    with fs.open(path, "rb") as file, naming_damage(uri):
        yield from pq.ParquetFile(file).iter_batches(BATCH_ROWS, columns=columns)


class WrittenLedger(NamedTuple):
    """What is in a ledger file, read back from it before it was put in place.

    Attributes:
        rows: in it.
        windows: that they promise.
        size_bytes: of the file.
        sha256: of its content.
        statuses: rows by status.
    """

    rows: int
    windows: int
    size_bytes: int
    sha256: str
    statuses: dict[str, int]


def write_ledger(uri: str, batches: Iterable[pa.RecordBatch | pa.Table]) -> WrittenLedger:
    """Write batches of rows, which must be sorted by clip id."""
    with storage.writing(uri) as file:
        _write_rows(file, batches)
        file.seek(0)
        digest = storage.sha256_of_file(file)
        size_bytes = file.tell()
        rows = windows = 0
        statuses: Counter[str] = Counter()
        for batch in pq.ParquetFile(file).iter_batches(columns=["windows_written", "status"]):
            rows += len(batch)
            windows += pc.sum(batch["windows_written"]).as_py() or 0
            for count in pc.value_counts(batch["status"]).to_pylist():
                statuses[count["values"]] += count["counts"]
        return WrittenLedger(rows, windows, size_bytes, digest, dict(statuses))


def _write_rows(file: BinaryIO, batches: Iterable[pa.RecordBatch | pa.Table]) -> None:
    with pq.ParquetWriter(file, LEDGER_SCHEMA, compression="zstd") as writer:
        waiting: list[pa.Table] = [LEDGER_SCHEMA.empty_table()]
        for batch in batches:
            table = pa.Table.from_batches([batch]) if isinstance(batch, pa.RecordBatch) else batch
            waiting.append(table.cast(LEDGER_SCHEMA))
            if sum(map(len, waiting)) >= GROUP_ROWS:
                writer.write_table(pa.concat_tables(waiting), row_group_size=GROUP_ROWS)
                waiting = [LEDGER_SCHEMA.empty_table()]
        if any(map(len, waiting)):
            writer.write_table(pa.concat_tables(waiting), row_group_size=GROUP_ROWS)


def find_rows(
    paths: TablePaths, files: Sequence[str], wanted: Iterator[tuple[str, T]]
) -> Iterator[tuple[T, LedgerRow | None]]:
    """The rows of some clips, None for those that have none; only these become Python.

    Args:
        paths: of the table.
        files: the ledger, paths below the table.
        wanted: (clip id, what to return with its row), sorted.
    """
    waiting = next(wanted, None)
    for batch in _ledger_batches(paths, files):
        last = batch["clip_id"][-1].as_py()
        here = {}
        while waiting is not None and waiting[0] <= last:
            here[waiting[0]] = waiting[1]
            waiting = next(wanted, None)
        if here:
            mask = pc.is_in(batch["clip_id"], pa.array(list(here), pa.string()))
            rows = {row.clip_id: row for row in _rows_of(batch.filter(mask))}
            yield from ((value, rows.get(clip_id)) for clip_id, value in here.items())
    while waiting is not None:
        yield waiting[1], None
        waiting = next(wanted, None)


def update_ledger(
    paths: TablePaths,
    files: Sequence[str],
    changes: Iterator[tuple[str, Settle]],
    moved: Mapping[str, Sequence[Moved]],
) -> Iterator[pa.RecordBatch | pa.Table]:
    """Batches of the ledger with some rows changed.

    Args:
        paths: of the table.
        files: the ledger as it is, paths below the table.
        changes: (clip id, what makes its row), sorted.
        moved: rewritten windows file -> where its rows are now.
    """
    gone = pa.array(list(moved), pa.string())
    successors = _successors(moved)
    waiting = next(changes, None)
    for batch in _ledger_batches(paths, files):
        last = batch["clip_id"][-1].as_py()
        here = {}
        while waiting is not None and waiting[0] <= last:
            here[waiting[0]] = waiting[1]
            waiting = next(changes, None)
        yield from _changed(_followed(batch, successors), here, moved, gone)
    while waiting is not None:
        rows: list[LedgerRow] = []
        while waiting is not None and len(rows) < BATCH_ROWS:
            rows.append(resettled(waiting[1](None), moved))
            waiting = next(changes, None)
        yield ledger_batch(rows)


def _ledger_batches(paths: TablePaths, files: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The rows in order; every commit leaves one file, whose batches can be taken as they are."""
    if len(files) == 1:
        yield from (batch for batch in _batches(paths.at(files[0])) if len(batch))
        return
    rows = read_ledger(paths, files)
    while batch := list(islice(rows, BATCH_ROWS)):
        yield ledger_batch(batch)


def _successors(moved: Mapping[str, Sequence[Moved]]) -> pa.Table:
    """Of the files that became one file: which (`old`), and `Moved` of that one."""
    successors = [
        {"old": old, **places[0]._asdict()} for old, places in moved.items() if len(places) == 1
    ]
    return pa.Table.from_pylist(successors, pa.schema({n: pa.string() for n in ("old", *Moved._fields)}))


def _followed(batch: pa.RecordBatch, successors: pa.Table) -> pa.RecordBatch:
    """The same rows; those of clips in one file that became one other file as `resettled` makes them."""
    old = pc.list_flatten(batch["files"])
    found = pc.index_in(old, successors["old"])
    if found.null_count == len(found):
        return batch
    owners = pc.list_parent_indices(batch["files"])
    counts = pc.list_value_length(batch["files"])
    clips, successor = batch["clip_id"].take(owners), successors.take(found)
    inside = pc.and_(
        pc.greater_equal(clips, successor["first_clip"]), pc.less_equal(clips, successor["last_clip"])
    )
    sure = pc.fill_null(pc.and_(inside, pc.equal(counts.take(owners), 1)), False)
    new = pc.if_else(sure, successor["path"], old).combine_chunks()
    ends = np.concatenate([[0], np.cumsum(counts.to_numpy())])
    place = batch.schema.get_field_index("files")
    lists = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), new)
    return batch.set_column(place, "files", lists)


def _changed(
    batch: pa.RecordBatch,
    changes: Mapping[str, Settle],
    moved: Mapping[str, Sequence[Moved]],
    gone: pa.Array,
) -> Iterator[pa.RecordBatch | pa.Table]:
    """One batch of the ledger with its changes, sorted."""
    touched = _holds_any(batch["files"], gone)
    if changes:
        touched |= pc.is_in(batch["clip_id"], pa.array(sorted(changes), pa.string())).to_numpy(False)
    if not changes and not touched.any():
        yield batch
        return
    old = {row.clip_id: row for row in _rows_of(batch.filter(pa.array(touched)))}
    unknown = [make(None) for clip_id, make in changes.items() if clip_id not in old]
    known = [changes[row.clip_id](row) if row.clip_id in changes else row for row in old.values()]
    new = ledger_batch(resettled(row, moved) for row in [*unknown, *known])
    rest = batch.filter(pa.array(~touched)).cast(LEDGER_SCHEMA)
    yield pa.Table.from_batches([rest, new]).sort_by("clip_id")


def _holds_any(lists: pa.ListArray, values: pa.Array) -> np.ndarray:
    """For each list whether any of some values is in it."""
    found = np.zeros(len(lists), bool)
    if len(values):
        hits = pc.is_in(pc.list_flatten(lists), values)
        found[pc.list_parent_indices(lists).filter(hits).to_numpy()] = True
    return found


def resettled(row: LedgerRow, moved: Mapping[str, Sequence[Moved]]) -> LedgerRow:
    """The row with the files that its windows are in now."""
    if not any(file in moved for file in row.files):
        return row
    files: list[str] = []
    for file in row.files:
        places = moved.get(file)
        if places is None:
            files.append(file)
            continue
        files += [place.path for place in places if place.first_clip <= row.clip_id <= place.last_clip]
    return replace(row, files=tuple(dict.fromkeys(files)))
