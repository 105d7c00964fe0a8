"""The answer to a question: as CSV, JSON, Parquet or Arrow, row by row as it comes, and in words."""

import base64
import csv
import io
import json
import math
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from l3core.errors import UsageError
from launch.words import printable

ROW_GROUP_BYTES = 32 * 2**20
LIST_SHOWN = 4  # of a vector on a screen


def write_csv(rows: pa.RecordBatchReader, file: BinaryIO) -> None:
    """CSV as RFC 4180 has it, with a header, in UTF-8; null is an empty field, lists are JSON."""
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    try:
        lines = csv.writer(text, lineterminator="\r\n")
        lines.writerow(_names(rows.schema))
        for row in _values(rows):
            lines.writerow(map(_field, row))
    finally:
        text.detach()


def write_json(rows: pa.RecordBatchReader, file: BinaryIO) -> None:
    """A JSON array with an object for each row; what is no number in JSON (NaN, infinity) is null."""
    names = _names(rows.schema)
    before = b"[\n"
    for row in _values(rows):
        values = dict(zip(names, map(_json_value, row)))
        file.write(before + json.dumps(values, allow_nan=False).encode())
        before = b",\n"
    file.write(b"\n]\n" if before == b",\n" else b"[]\n")


def write_parquet(rows: pa.RecordBatchReader, file: BinaryIO) -> None:
    """Parquet; vectors without a dictionary, as in a table."""
    schema = _renamed(rows.schema)
    plain = [field.name for field in schema if not pa.types.is_nested(field.type)]
    with pq.ParquetWriter(file, schema, compression="zstd", use_dictionary=plain) as writer:
        for table in _large(rows, schema):
            writer.write_table(table)


def write_arrow(rows: pa.RecordBatchReader, file: BinaryIO) -> None:
    """Arrow's file format, also known as Feather."""
    schema = _renamed(rows.schema)
    with pa.ipc.new_file(file, schema) as writer:
        for table in _large(rows, schema):
            writer.write_table(table)


FORMATS: dict[str, Callable[[pa.RecordBatchReader, BinaryIO], None]] = {
    "csv": write_csv,
    "json": write_json,
    "parquet": write_parquet,
    "arrow": write_arrow,
}


class Counted:
    """Rows that are counted as they are read.

    Attributes:
        reader: of the rows.
        rows: read so far.
    """

    def __init__(self, rows: pa.RecordBatchReader) -> None:
        self.rows = 0
        self.reader = pa.RecordBatchReader.from_batches(rows.schema, self._counting(rows))

    def _counting(self, rows: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        for batch in rows:
            self.rows += batch.num_rows
            yield batch


def first_rows(rows: pa.RecordBatchReader, most: int) -> tuple[pa.Table, bool]:
    """At most so many rows, and whether there are more."""
    batches: list[pa.RecordBatch] = []
    count = 0
    for batch in rows:
        batches.append(batch)
        count += batch.num_rows
        if count > most:
            break
    return pa.Table.from_batches(batches, rows.schema).slice(0, most), count > most


def cells_of(table: pa.Table) -> list[tuple[str, ...]]:
    """Rows in words, each cell in one line."""
    columns = []
    for field, column in zip(table.schema, table.columns):
        form = partial(_cell, single=pa.types.is_float32(_inner(field.type)))
        columns.append([form(value) for value in _as_python(field.name, column)])
    return list(zip(*columns))


def is_number(kind: pa.DataType) -> bool:
    """Whether a column goes to the right."""
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _inner(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind) else kind


def _cell(value: Any, *, single: bool) -> str:
    """A value in one line; of a long list its beginning and its length."""
    if value is None:
        return "NULL"
    if isinstance(value, float):
        return f"{value:.7g}" if single else repr(value)
    if isinstance(value, list):
        shown = [_cell(each, single=single) for each in value[:LIST_SHOWN]]
        more = [f"... {len(value)} in all"] if len(value) > LIST_SHOWN else []
        return f"[{', '.join([*shown, *more])}]"
    return printable(str(_field(value)))


def _large(rows: pa.RecordBatchReader, schema: pa.Schema) -> Iterator[pa.Table]:
    """The rows in pieces that are worth a row group; one piece at least."""
    waiting: list[pa.RecordBatch] = []
    size, none_yet = 0, True
    for batch in rows:
        waiting.append(batch)
        size += batch.nbytes
        if size >= ROW_GROUP_BYTES:
            yield pa.Table.from_batches(waiting).cast(schema)
            waiting, size, none_yet = [], 0, False
    if waiting or none_yet:
        yield pa.Table.from_batches(waiting, rows.schema).rename_columns(schema.names)


def _names(schema: pa.Schema) -> list[str]:
    """Names of the columns, each once: two that are called `a` are `a` and `a_1`."""
    found: list[str] = []
    for name in schema.names:
        number, free = 0, name
        while free in found:
            number += 1
            free = f"{name}_{number}"
        found.append(free)
    return found


def _renamed(schema: pa.Schema) -> pa.Schema:
    return pa.schema([field.with_name(name) for field, name in zip(schema, _names(schema))])


def _values(rows: pa.RecordBatchReader) -> Iterator[tuple[Any, ...]]:
    """Rows of Python's values; a whole number is an int, whatever DuckDB adds up in."""
    for batch in rows:
        columns = zip(batch.schema.names, batch.columns)
        yield from zip(*(map(_plain, _as_python(name, column)) for name, column in columns))


def _as_python(name: str, column: Any) -> list[Any]:
    """The values of a column, times without nanoseconds, which Python's do not have.

    Raises:
        UsageError: dates that Python does not have, either.
    """
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    try:
        return list(column.to_pylist())
    except OverflowError:
        raise UsageError(
            f"SQL: {name} has dates before year 1 or after 9999: select {name}::VARCHAR, or "
            "--format parquet"
        ) from None


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value


def _json_value(value: Any) -> Any:
    """A value as JSON can hold it."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _json_value(each) for key, each in value.items()}
    if isinstance(value, list) and value and all(isinstance(each, tuple) for each in value):  # a map
        return {_key(key): _json_value(each) for key, each in value}
    if isinstance(value, list):
        return [_json_value(each) for each in value]
    if isinstance(value, Decimal):
        return _plain(value)
    return in_words(value)


def _key(value: Any) -> str:
    return value if isinstance(value, str) else in_words(value)


def _field(value: Any) -> Any:
    """A value as a field of CSV."""
    if isinstance(value, dict | list):
        return json.dumps(_json_value(value), allow_nan=False)
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or isinstance(value, str | int | float):
        return value
    return in_words(value)


def in_words(value: Any) -> str:
    """What is neither a number nor text, as text."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, datetime):
        return value.isoformat(" ")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return str(value)
    if isinstance(value, pa.MonthDayNano):
        return f"{value.months} months {value.days} days {value.nanoseconds / 1e9:g} s"
    return str(value)
