"""Checking the Parquet files of a partition, one by one and row group by row group."""

from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from l3core import storage
from l3core.spec import EmbeddingSpec
from l3core.table.finding import Finding, Tally
from l3core.table.layout import LEDGER_SCHEMA, TablePaths, windows_schema
from l3core.table.ledger import BATCH_ROWS
from l3core.table.places import places_of
from l3core.table.spool import Stream
from l3core.table.state import TableState
from l3core.table.verify_rows import LedgerScan, WindowsScan, in_rows
from l3core.table.windows_file import ROW_GROUP_BYTES

# What a damaged or foreign file makes pyarrow raise: ValueError is also text that is no UTF-8.
UNREADABLE = (OSError, ValueError, pa.ArrowException)


class PartitionFiles:
    """Checks the files of one partition; `streams` has those whose rows can be merged.

    Args:
        paths: of the table.
        state: its last commit.
        spec: the partition's; None if it is not known here.
        spool: a temporary file, for the streams.
        tally: is told what was checked.
    """

    def __init__(
        self,
        paths: TablePaths,
        state: TableState,
        spec: EmbeddingSpec | None,
        spool: BinaryIO,
        tally: Tally,
    ) -> None:
        self.paths = paths
        self.state = state
        self.spec = spec
        self.spool = spool
        self.tally = tally
        self.streams: dict[str, Stream] = {}

    def check(self, path: str) -> Iterator[Finding]:
        """Check a file of the state, `path` below the table."""
        facts = self.state.files[path]
        uri = self._place(path)
        try:
            yield from _check_bytes(uri, facts)
            with storage.reading(uri) as file:
                parquet = pq.ParquetFile(file)
                yield from _check_row_count(parquet, facts)
                rows = self._windows if path.startswith("windows/") else self._ledger
                yield from rows(path, parquet)
        except FileNotFoundError:
            problem = f"is missing, a commit added it with {in_rows(facts['rows'])}"
            yield Finding("missing-file", path, problem)
        except UNREADABLE as error:
            yield Finding("unreadable-file", path, f"cannot be read as Parquet: {_one_line(error)}")
        self.tally.files += 1
        self.tally.bytes += facts["bytes"]

    def _place(self, path: str) -> str:
        """Where a file lies: of a commit that is not published yet perhaps where it was written."""
        final, *others = places_of(self.paths, self.state, path)
        return others[0] if others and not storage.exists(final) else final

    def _windows(self, path: str, parquet: pq.ParquetFile) -> Iterator[Finding]:
        size = self.spec.size if self.spec else _own_size(parquet.schema_arrow)
        unlike = _unlike(parquet.schema_arrow, windows_schema(size))
        if unlike:
            yield Finding("schema", path, unlike)
            return
        scan = WindowsScan(path, self.spec, Stream(self.spool))
        for batch in parquet.iter_batches(max(1, ROW_GROUP_BYTES // (4 * size))):
            if len(batch):
                scan.take(batch)
            self.tally.windows += len(batch)
        yield from scan.findings()
        if scan.unsorted is None:
            self.streams[path] = scan.stream

    def _ledger(self, path: str, parquet: pq.ParquetFile) -> Iterator[Finding]:
        unlike = _unlike(parquet.schema_arrow, LEDGER_SCHEMA)
        if unlike:
            yield Finding("schema", path, unlike)
            return
        assert self.state.root is not None  # there is a commit with this file
        scan = LedgerScan(path, self.state.root, Stream(self.spool))
        for batch in parquet.iter_batches(BATCH_ROWS):
            self.tally.ledger_rows += len(batch)
            # all columns were read, to see that they can be; these are needed
            for row in batch.select(LedgerScan.COLUMNS).to_pylist():
                yield from scan.take(row)
        if scan.unsorted is None:
            self.streams[path] = scan.stream
        else:
            yield Finding("unsorted", path, scan.unsorted)


def _check_bytes(uri: str, facts: dict[str, Any]) -> Iterator[Finding]:
    size = storage.describe(uri).size_bytes
    if size != facts["bytes"]:
        problem = f"should have {facts['bytes']} bytes as in its commit, has {size}"
        yield Finding("size", facts["path"], problem)
        return
    digest = storage.sha256_of(uri)
    if digest != facts["sha256"]:
        problem = f"should have SHA-256 {facts['sha256']} as in its commit, has {digest}"
        yield Finding("checksum", facts["path"], problem)


def _check_row_count(parquet: pq.ParquetFile, facts: dict[str, Any]) -> Iterator[Finding]:
    rows = parquet.metadata.num_rows
    if rows != facts["rows"]:
        yield Finding("row-count", facts["path"], f"should have {in_rows(facts['rows'])}, has {rows}")


def _unlike(found: pa.Schema, expected: pa.Schema) -> str | None:
    """The first difference of two schemas: names, their order, types, nullability."""
    if found.names != expected.names:
        return f"should have columns {', '.join(expected.names)}, has {', '.join(found.names)}"
    for ours, other in zip(expected, found):
        if not ours.equals(other):
            return f"column should be {_column(ours)}, is {_column(other)}"
    return None


def _column(field: pa.Field) -> str:
    return f"{field.name} {field.type}{'' if field.nullable else ' not null'}"


def _own_size(schema: pa.Schema) -> int:
    """Numbers in a vector, of a file whose spec is not known; 1 for what holds no vectors."""
    index = schema.get_field_index("embedding")
    if index < 0 or not pa.types.is_fixed_size_list(schema.field(index).type):
        return 1
    return max(1, schema.field(index).type.list_size)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
