"""The ledger of a corpus: what became of each video, whole in one Parquet file."""

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from l3core import storage
from l3core.avc.corpus import Corpus
from l3core.avc.layout import LEDGER_SCHEMA, CorpusPaths, VideoRow
from l3core.errors import DamagedError


def read_ledger(corpus: Corpus | None) -> dict[str, VideoRow]:
    """Video id -> its row; nothing of a corpus that is not there.

    Raises:
        DamagedError: it cannot be read.
    """
    if corpus is None or corpus.ledger is None:
        return {}
    return {row.video_id: row for row in read_rows(CorpusPaths(corpus.root).at(corpus.ledger))}


def read_rows(uri: str) -> Iterator[VideoRow]:
    """The rows of a file that `write_ledger` has written.

    Raises:
        DamagedError: it cannot be read.
    """
    try:
        with storage.reading(uri) as file:
            rows = pq.ParquetFile(file).read(columns=LEDGER_SCHEMA.names).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise DamagedError(f"{uri} cannot be read: {error}") from None
    return (VideoRow(**row) for row in rows)


def write_ledger(uri: str, rows: Iterable[VideoRow]) -> None:
    """Write a ledger, sorted by id."""
    found = [row._asdict() for row in sorted(rows)]
    with storage.writing(uri) as file:
        pq.write_table(pa.Table.from_pylist(found, LEDGER_SCHEMA), file, compression="zstd")
