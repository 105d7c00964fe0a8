"""What a consumer read, value by value against what is in the files."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa

KEYS = ("clip_id", "run_id", "window")


class Compared(NamedTuple):
    """What came of it.

    Attributes:
        wrong: a line for each column that has other values.
        changed: columns whose values are the same, in another type that can lose something.
    """

    wrong: list[str]
    changed: list[str]


def compare(read: pa.Table, expected: pa.Table, spec_of_run: dict[str, str] | str) -> Compared:
    """Compare rows in any order.

    Args:
        read: by a consumer; a column `spec`, of the folders' names, may be there.
        expected: from the files.
        spec_of_run: the spec of each run, or of all rows.
    """
    found, truth = _sorted(read), _sorted(expected)
    columns = set(found.column_names) - {"spec"}
    if columns != set(truth.column_names):
        return Compared([f"columns {sorted(columns)}"], [])
    if len(found) != len(truth):
        return Compared([f"{len(found)} rows of {len(truth)}"], [])
    wrong = [name for name in truth.column_names if not _same(found[name], truth[name])]
    if "spec" in found.column_names:
        runs = truth["run_id"].to_pylist() if "run_id" in columns else [None] * len(truth)
        specs = [spec_of_run if run is None else spec_of_run[run] for run in runs]
        wrong += [] if found["spec"].to_pylist() == specs else ["spec"]
    return Compared(wrong, list(_changed(found, truth)))


def _sorted(table: pa.Table) -> pa.Table:
    """By clip, run and window, in Python's order of text: some sort dictionaries otherwise."""
    keys = [table[name].to_pylist() for name in KEYS if name in table.column_names]
    order = sorted(range(len(table)), key=lambda row: [column[row] for column in keys])
    return table.combine_chunks().take(order)


def _same(read: pa.ChunkedArray, truth: pa.ChunkedArray) -> bool:
    if pa.types.is_fixed_size_list(truth.type):
        return _vectors(read, truth.type.list_size) == _vectors(truth, truth.type.list_size)
    if pa.types.is_timestamp(truth.type):
        return pa.types.is_timestamp(read.type) and _instants(read) == _instants(truth)
    if pa.types.is_boolean(truth.type) != pa.types.is_boolean(read.type):  # Python's True is 1
        return False
    return read.to_pylist() == truth.to_pylist()


def _vectors(column: pa.ChunkedArray, size: int) -> bytes | str:
    """The bits of the vectors; or what is wrong with them."""
    lengths = {len(vector) for vector in (column.slice(0, 1).to_pylist() if len(column) else [])}
    array = column.combine_chunks()
    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    values = array.flatten().to_numpy(zero_copy_only=False)
    if column.null_count or lengths - {size} or len(values) != size * len(column):
        return f"lengths {lengths}, {column.null_count} missing"
    if not pa.types.is_fixed_size_list(array.type):
        sizes = set(array.value_lengths().to_pylist())
        if sizes != {size}:
            return f"lengths {sizes}"
    narrow = values.astype(np.float32)
    if not np.array_equal(narrow.astype(values.dtype), values):
        return f"{values.dtype} that are no float32"
    return narrow.tobytes()


def _instants(column: pa.ChunkedArray) -> list[int]:
    return column.cast(pa.timestamp("us", column.type.tz)).cast(pa.int64()).to_pylist()


def _changed(read: pa.Table, truth: pa.Table) -> Iterator[str]:
    for name in truth.column_names:
        was, now = truth.schema.field(name).type, read.schema.field(name).type
        if pa.types.is_integer(was) and not pa.types.is_integer(now):
            yield f"{name} is {now}"
        elif pa.types.is_timestamp(was) and now.tz is None:
            yield f"{name} without its time zone"
