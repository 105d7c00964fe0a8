"""The views over a table and a result of cross-validation, as SQL (docs/tables.md has their columns)."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from l3core.sql.text import sql_list, sql_text
from l3core.table.layout import LEDGER_SCHEMA, windows_schema

RUN_COLUMNS = {
    "run_id": "VARCHAR",
    "status": "VARCHAR",
    "command": "VARCHAR",
    "fingerprint": "VARCHAR",
    "commit": "BIGINT",
    "started_at": "TIMESTAMPTZ",
    "ended_at": "TIMESTAMPTZ",
    "wall_s": "DOUBLE",
    "audio_s": "DOUBLE",
    "windows": "BIGINT",
    "windows_per_s": "DOUBLE",
    "x_real_time": "DOUBLE",
    "bytes_read": "BIGINT",
    "bytes_written": "BIGINT",
    "workers": "INTEGER",
    "clips": "JSON",
    "message": "VARCHAR",
    "stage": "VARCHAR",
}
SPEC_COLUMNS = {
    "fingerprint": "VARCHAR",
    "model": "VARCHAR",
    "input_repr": "VARCHAR",
    "content": "VARCHAR",
    "embedding_size": "INTEGER",
    "hop_s": "DOUBLE",
    "grid": "VARCHAR",
    "frontend": "VARCHAR",
    "weights": "VARCHAR",
    "precision": "VARCHAR",
    "resampler": "VARCHAR",
    "engine": "VARCHAR",
    "model_options": "JSON",
    "weights_digest": "VARCHAR",
    "windows": "BIGINT",
    "clips": "BIGINT",
    "files": "BIGINT",
    "bytes": "BIGINT",
}
_SQL_TYPES = {
    pa.string(): "VARCHAR",
    pa.bool_(): "BOOLEAN",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.float64(): "DOUBLE",
    pa.timestamp("us", tz="UTC"): "TIMESTAMPTZ",
    pa.list_(pa.string()): "VARCHAR[]",
    pa.list_(pa.float64()): "DOUBLE[]",
}


class Sources(NamedTuple):
    """What the views are over, as SQL that can follow FROM.

    Attributes:
        windows, clips: names of the Parquet files.
        vector_size: numbers in an embedding.
        runs, specs: from `json_file` or `json_text`.
        crossval: name of a result's table -> name of its Parquet file; empty for none.
    """

    windows: Sequence[str]
    clips: Sequence[str]
    vector_size: int
    runs: str
    specs: str
    crossval: Mapping[str, str]


def view_statements(sources: Sources) -> list[str]:
    """A CREATE VIEW for each view."""
    vectors = windows_schema(sources.vector_size)
    selects = {
        "windows": _parquet(sources.windows, vectors),
        "clips": _parquet(sources.clips, LEDGER_SCHEMA),
        "runs": f"SELECT {_listed(RUN_COLUMNS)} FROM {sources.runs}",
        "specs": f"SELECT {_listed(SPEC_COLUMNS)} FROM {sources.specs}",
    }
    if sources.crossval:
        from l3core.crossval.results import SCHEMAS  # loads what trains

        for name, file in sources.crossval.items():
            selects[name] = _parquet([file], SCHEMAS[name])
    return [f"CREATE OR REPLACE VIEW {name} AS {select}" for name, select in selects.items()]


def json_file(name: str, columns: Mapping[str, str]) -> str:
    """Rows of a file that has a JSON object in each line."""
    typed = ", ".join(f"{_quoted(column)}: {sql_text(kind)}" for column, kind in columns.items())
    return f"read_json({sql_text(name)}, format = 'newline_delimited', columns = {{{typed}}})"


def json_text(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> str:
    """The rows themselves."""
    content, kinds = sql_text(json.dumps(rows)), sql_text(json.dumps([columns]))
    return f"(SELECT unnest(from_json({content}, {kinds}), max_depth := 2))"


def json_lines(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> bytes:
    """What `json_file` reads: of each row the columns."""
    return b"".join(json.dumps(picked(row, columns)).encode() + b"\n" for row in rows)


def picked(row: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """Of a row the columns; what it lacks is null."""
    return {name: row.get(name) for name in columns}


def _parquet(files: Sequence[str], schema: pa.Schema) -> str:
    if not files:  # DuckDB reads no empty list of files
        typed = (f"NULL::{_sql_type(field.type)} AS {_quoted(field.name)}" for field in schema)
        return f"SELECT {', '.join(typed)} WHERE false"
    columns = ", ".join(map(_column, schema))
    return f"SELECT {columns} FROM read_parquet({sql_list(files)}, hive_partitioning = false)"


def _column(field: pa.Field) -> str:
    if pa.types.is_fixed_size_list(field.type):  # of a length that Parquet does not tell
        return f"{_quoted(field.name)}::{_sql_type(field.type)} AS {_quoted(field.name)}"
    return _quoted(field.name)


def _sql_type(kind: pa.DataType) -> str:
    if pa.types.is_fixed_size_list(kind):
        return f"FLOAT[{kind.list_size}]"
    return _SQL_TYPES[kind]


def _listed(columns: Mapping[str, str]) -> str:
    return ", ".join(map(_quoted, columns))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
