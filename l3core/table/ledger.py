"""Reading and writing a partition's ledger as a stream of rows, sorted by clip id."""

import heapq
from collections.abc import Iterable, Iterator, Sequence

import pyarrow.parquet as pq

from l3core import storage
from l3core.table.layout import LEDGER_SCHEMA, LedgerRow, TablePaths, ledger_batch

BATCH_ROWS = 5_000


def read_ledger(paths: TablePaths, files: Sequence[str]) -> Iterator[LedgerRow]:
    """All rows of ledger files, merged in the order of their clip ids.

    Args:
        paths: of the table.
        files: paths below the table, each sorted.
    """
    return heapq.merge(*(_rows(paths.at(file)) for file in files), key=lambda row: row.clip_id)


def _rows(uri: str) -> Iterator[LedgerRow]:
    fs, path = storage.filesystem(uri)
    with fs.open(path, "rb") as file:
        for batch in pq.ParquetFile(file).iter_batches(BATCH_ROWS):
            for row in batch.to_pylist():
                yield LedgerRow.from_json(row)


def write_ledger(uri: str, rows: Iterable[LedgerRow]) -> int:
    """Write rows, which must be sorted; returns how many."""
    total = 0
    buffer: list[LedgerRow] = []
    with (
        storage.writing(uri) as file,
        pq.ParquetWriter(file, LEDGER_SCHEMA, compression="zstd") as writer,
    ):
        for row in rows:
            buffer.append(row)
            if len(buffer) == BATCH_ROWS * 10:
                writer.write_batch(ledger_batch(buffer))
                total += len(buffer)
                buffer = []
        writer.write_batch(ledger_batch(buffer))
    return total + len(buffer)
