"""Statements that let a warehouse read or load the windows and the ledger of one spec of a table.

What each can do is from its documentation, read on 2026-11-27; ClickHouse's alone are executed by tests:
- BigQuery: cloud.google.com/bigquery/docs/hive-partitioned-queries and, below the same,
  loading-data-cloud-storage-parquet (a LIST is an ARRAY only with enable_list_inference);
- Snowflake: docs.snowflake.com/en/sql-reference/sql/copy-into-table, .../create-file-format (the
  vectorized scanner always follows logical types, of which lists are arrays) and .../data-types-vector
  (a VECTOR is not loaded: an ARRAY is, and cast; it has 4096 numbers at most);
- Athena: docs.aws.amazon.com/athena/latest/ug/create-table.html, .../partition-projection.html and
  .../tables-databases-columns-names.html (with more than letters, digits and _ a table may be made, and
  questions to it fail);
- ClickHouse: clickhouse.com/docs/reference/functions/table-functions/s3, .../file and .../gcs.
"""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

import pyarrow as pa

from l3core.errors import UsageError
from l3core.storage import join
from l3core.table.layout import LEDGER_SCHEMA, ledger_folder, windows_folder, windows_schema

MOST_IN_A_VECTOR = 4096  # Snowflake's
PARTS = ("windows", "clips")


class Source(NamedTuple):
    """What is to be read.

    Attributes:
        place: URI of the table, as the warehouse reaches it.
        spec: fingerprint.
        size: numbers in a vector.
        name: database, dataset or schema to make things in; dots part several names.
        integration: Snowflake's storage integration.
    """

    place: str
    spec: str
    size: int
    name: str
    integration: str

    def folder(self, part: str) -> str:
        """URI of the spec's folder of windows or clips."""
        below = windows_folder if part == "windows" else ledger_folder
        return join(self.place, below(self.spec))

    def schema(self, part: str) -> pa.Schema:
        """Its columns."""
        return windows_schema(self.size) if part == "windows" else LEDGER_SCHEMA


class Dialect(NamedTuple):
    """A warehouse.

    Attributes:
        schemes: beginnings of the URIs that it reads.
        write: makes the statements.
        name: of what things are made in, a pattern and the same in words.
    """

    schemes: tuple[str, ...]
    write: Callable[[Source], list[str]]
    name: tuple[str, str]


def statements(to: str, source: Source) -> list[str]:
    """The statements, in order, without semicolons.

    Raises:
        UsageError: it cannot read there, or not a place of that name.
    """
    dialect = DIALECTS[to]
    pattern, words = dialect.name
    if not re.fullmatch(pattern, source.name):
        raise UsageError(f"--name: --to {to} needs {words}, got {source.name!r}")
    if not source.place.startswith(dialect.schemes):
        listed = ", ".join(scheme.removesuffix("/") + "/" for scheme in dialect.schemes)
        raise UsageError(
            f"--to {to} needs a table at {listed}, got {source.place!r}: name its copy there with --at"
        )
    if odd := re.search(r"[\x00-\x1f\x7f*?{}\\]", source.place):
        raise UsageError(f"--to {to} cannot read a place with {odd[0]!r} in its name: {source.place!r}")
    if to == "clickhouse" and "://" in source.place and (odd := re.search("[%#]", source.place)):
        # Decoded or cut off in an address, by some versions: github.com/ClickHouse/ClickHouse/pull/37344
        raise UsageError(f"--to {to} cannot read a place with {odd[0]!r} in its name: {source.place!r}")
    return dialect.write(source)


def _quoted(text: str, mark: str = "`") -> str:
    """A name of one or several parts."""
    return ".".join(mark + part.replace(mark, mark * 2) + mark for part in text.split("."))


def _text(text: str, quote: str = "''") -> str:
    """A string; `quote` is how a quote in it is written."""
    return "'" + text.replace("'", quote) + "'"


def _kind(kind: pa.DataType, names: Mapping[pa.DataType, str], of: str) -> str:
    """A type's name in a dialect."""
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        return of.format(names[kind.value_type])
    return names[kind]


def _columns(
    schema: pa.Schema, names: Mapping[pa.DataType, str], of: str, nullable: str = "{}"
) -> list[tuple[str, str]]:
    """(column, type) in a dialect."""
    found = []
    for field in schema:
        kind = _kind(field.type, names, of)
        found.append((field.name, nullable.format(kind) if field.nullable else kind))
    return found


_UTC = pa.timestamp("us", tz="UTC")


def _bigquery(source: Source) -> list[str]:
    written = [f"CREATE SCHEMA IF NOT EXISTS {_quoted(source.name)}"]
    for part in PARTS:
        options = {
            "format": "'PARQUET'",
            "uris": f"[{_text(source.folder(part) + '/*.parquet', BACKSLASH)}]",
            "hive_partition_uri_prefix": _text(join(source.place, part), BACKSLASH),
            "enable_list_inference": "TRUE",
        }
        listed = ",\n".join(f"  {name} = {value}" for name, value in options.items())
        written.append(
            f"CREATE OR REPLACE EXTERNAL TABLE {_quoted(f'{source.name}.{part}')}\n"
            f"WITH PARTITION COLUMNS (`spec` STRING)\nOPTIONS (\n{listed}\n)"
        )
    return written


BACKSLASH = r"\'"
_SNOWFLAKE = {
    pa.string(): "VARCHAR",
    pa.int32(): "INTEGER",
    pa.int64(): "INTEGER",
    pa.float32(): "FLOAT",
    pa.float64(): "FLOAT",
    pa.bool_(): "BOOLEAN",
    _UTC: "TIMESTAMP_TZ",
}
_SCHEMES_OF_SNOWFLAKE = {"gs://": "gcs://", "s3://": "s3://"}


def _snowflake(source: Source) -> list[str]:
    def name(of: str) -> str:
        return _quoted(f"{source.name}.{of}".upper(), '"')

    scheme = source.place[: len("gs://")]
    url = _SCHEMES_OF_SNOWFLAKE[scheme] + source.place.removeprefix(scheme).rstrip("/") + "/"
    schema = _quoted(source.name.upper(), '"')
    integration = _quoted(source.integration.upper(), '"')
    written = [
        f"CREATE SCHEMA IF NOT EXISTS {schema}",
        f"CREATE OR REPLACE STAGE {name('TABLE_FILES')}\n"
        f"  URL = {_text(url)}\n  STORAGE_INTEGRATION = {integration}",
    ]
    for part in PARTS:
        columns = _columns(source.schema(part), _SNOWFLAKE, "ARRAY")
        listed = ",\n".join(f'  "{column.upper()}" {kind}' for column, kind in columns)
        below = source.folder(part).removeprefix(source.place.rstrip("/") + "/")
        staged = _text("@" + name("TABLE_FILES") + f"/{below}/")
        written += [
            f"CREATE OR REPLACE TABLE {name(part)} (\n{listed}\n)",
            f"COPY INTO {name(part)}\nFROM {staged}\n"
            "FILE_FORMAT = (TYPE = PARQUET USE_LOGICAL_TYPE = TRUE USE_VECTORIZED_SCANNER = TRUE)\n"
            "MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE",
        ]
    if source.size <= MOST_IN_A_VECTOR:
        written.append(
            f"CREATE OR REPLACE VIEW {name('WINDOW_VECTORS')} AS\n"
            f'SELECT * EXCLUDE ("EMBEDDING"), "EMBEDDING"::VECTOR(FLOAT, {source.size}) AS "EMBEDDING"\n'
            f"FROM {name('windows')}"
        )
    return written


_ATHENA = {
    pa.string(): "string",
    pa.int32(): "int",
    pa.int64(): "bigint",
    pa.float32(): "float",
    pa.float64(): "double",
    pa.bool_(): "boolean",
    _UTC: "timestamp",
}


def _athena(source: Source) -> list[str]:
    written = [f"CREATE DATABASE IF NOT EXISTS {_quoted(source.name)}"]
    for part in PARTS:
        columns = _columns(source.schema(part), _ATHENA, "array<{}>")
        listed = ",\n".join(f"  `{column}` {kind}" for column, kind in columns)
        name = _quoted(f"{source.name}.{part}")
        written.append(f"DROP TABLE IF EXISTS {name}")  # of what lies outside: no file goes
        written.append(
            f"CREATE EXTERNAL TABLE {name} (\n{listed}\n)\n"
            "PARTITIONED BY (`spec` string)\nSTORED AS PARQUET\n"
            f"LOCATION {_text(join(source.place, part) + '/', BACKSLASH)}\n"
            "TBLPROPERTIES (\n  'projection.enabled' = 'true',\n  'projection.spec.type' = 'enum',\n"
            f"  'projection.spec.values' = {_text(source.spec)}\n)"
        )
    return written


_CLICKHOUSE = {
    pa.string(): "String",
    pa.int32(): "Int32",
    pa.int64(): "Int64",
    pa.float32(): "Float32",
    pa.float64(): "Float64",
    pa.bool_(): "Bool",
    _UTC: "DateTime64(6, 'UTC')",
}


def _clickhouse(source: Source) -> list[str]:
    written = [f"CREATE DATABASE IF NOT EXISTS {_quoted(source.name)}"]
    for part in PARTS:
        columns = _columns(source.schema(part), _CLICKHOUSE, "Array({})", "Nullable({})")
        structure = ", ".join(f"`{column}` {kind}" for column, kind in columns)
        files = source.folder(part) + "/*.parquet"
        function = "file"
        if files.startswith("gs://"):
            function = "gcs"
            files = "https://storage.googleapis.com/" + files.removeprefix("gs://")
        elif files.startswith("s3://"):
            function = "s3"
            bucket, _, path = files.removeprefix("s3://").partition("/")
            files = f"https://{bucket}.s3.amazonaws.com/{path}"
        given = f"{_text(files, BACKSLASH)}, 'Parquet', {_text(structure, BACKSLASH)}"
        written.append(
            f"CREATE OR REPLACE VIEW {_quoted(f'{source.name}.{part}')} AS\n"
            f"SELECT *, {_text(source.spec)} AS `spec` FROM {function}({given})"
        )
    return written


_WORD, _DASHED = r"[A-Za-z_]\w*", r"[A-Za-z_][\w-]*"
DIALECTS = {
    "bigquery": Dialect(
        ("gs://",),
        _bigquery,
        (rf"({_DASHED}\.)?{_WORD}", "a dataset of letters, digits and _, or project.dataset"),
    ),
    "snowflake": Dialect(
        tuple(_SCHEMES_OF_SNOWFLAKE),
        _snowflake,
        (rf"({_DASHED}\.)?{_DASHED}", "a schema, or database.schema"),
    ),
    "athena": Dialect(("s3://",), _athena, (_WORD, "a database of letters, digits and _")),
    "clickhouse": Dialect(("/", "gs://", "s3://"), _clickhouse, (_DASHED, "a database")),
}
