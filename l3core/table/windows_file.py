"""Windows files: Parquet as every engine reads it, written row group by row group."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from l3core import storage
from l3core.table.damage import naming_damage
from l3core.table.layout import windows_schema

ROW_GROUP_BYTES = 32 * 2**20
# Smaller and faster to read, and not read by everything (docs/engines.md).
COMPACT = "BYTE_STREAM_SPLIT"


class Written(NamedTuple):
    """What is in a windows file.

    Attributes:
        size_bytes: of the file.
        sha256: of its content.
        clips: clip id -> rows in it.
        vector_size: numbers in each vector.
        compact: whether the vectors are `COMPACT`.
    """

    size_bytes: int
    sha256: str
    clips: dict[str, int]
    vector_size: int
    compact: bool = False


class WindowsWriter:
    """Writes rows in the order they come; at most one row group is in memory.

    Args:
        file: where to.
        schema: from `windows_schema`.
        compact: write vectors as `COMPACT`, not PLAIN.

    Attributes:
        rows: appended so far.
        written: what the file holds, read back from it when it was complete.
    """

    def __init__(self, file: BinaryIO, schema: pa.Schema, *, compact: bool = False) -> None:
        self.rows = 0
        self.written = Written(0, "", {}, 0)
        self._file = file
        self._schema = schema
        self._compact = compact
        self._size = schema.field("embedding").type.list_size
        self._group_rows = max(1, ROW_GROUP_BYTES // (4 * self._size))
        self._pending: list[pa.RecordBatch] = []
        self._pending_rows = 0
        # PLAIN float32 with zstd is what every engine reads: no dictionary, no BYTE_STREAM_SPLIT
        self._writer = pq.ParquetWriter(
            file,
            schema,
            compression="zstd",
            use_dictionary=["clip_id"],
            use_byte_stream_split=["embedding.list.element"] if compact else False,
            write_page_index=True,
            write_statistics=["clip_id", "window", "start_s", "silent"],
            sorting_columns=pq.SortingColumn.from_ordering(
                schema, [("clip_id", "ascending"), ("window", "ascending")]
            ),
        )

    def append(
        self,
        clip_id: str,
        *,
        first_window: int,
        start_s: np.ndarray,
        silent: np.ndarray,
        vectors: np.ndarray,
    ) -> None:
        """Windows of one clip that follow one another.

        Args:
            clip_id: the clip.
            first_window: index of the first one.
            start_s: float64 `(windows,)`.
            silent: bool `(windows,)`.
            vectors: float32 `(windows, size)`.
        """
        count = len(vectors)
        flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
        columns = [
            pa.repeat(pa.scalar(clip_id), count),
            pa.array(np.arange(first_window, first_window + count, dtype=np.int32)),
            pa.array(start_s),
            pa.array(silent),
            pa.FixedSizeListArray.from_arrays(flat, self._size),
        ]
        self.append_batch(pa.RecordBatch.from_arrays(columns, schema=self._schema))

    def append_batch(self, batch: pa.RecordBatch) -> None:
        """Rows of the file's schema."""
        self._pending.append(batch)
        self._pending_rows += len(batch)
        self.rows += len(batch)
        while self._pending_rows >= self._group_rows:
            self._flush(self._group_rows)

    def _flush(self, rows: int) -> None:
        table = pa.Table.from_batches(self._pending, self._schema)
        self._writer.write_table(table.slice(0, rows), row_group_size=rows)
        self._pending = table.slice(rows).to_batches()
        self._pending_rows -= min(rows, self._pending_rows)

    def close(self) -> None:
        """Write what is pending and the footer."""
        if self._pending_rows:
            self._flush(self._pending_rows)
        self._writer.close()
        self._file.seek(0)
        digest = storage.sha256_of_file(self._file)
        size_bytes = self._file.tell()
        clips = count_clips(self._file)
        self.written = Written(size_bytes, digest, clips, self._size, self._compact)

    def abandon(self) -> None:
        """Close without what is pending: the file is thrown away."""
        # an unclosed pyarrow writer would close itself later, on a file that is gone
        with suppress(OSError, pa.ArrowException):
            self._writer.close()


@contextmanager
def writing_windows(uri: str, size: int, *, compact: bool = False) -> Iterator[WindowsWriter]:
    """A writer whose file appears whole when the block ends, or not at all."""
    with storage.writing(uri) as file:
        writer = WindowsWriter(file, windows_schema(size), compact=compact)
        try:
            yield writer
        except BaseException:
            writer.abandon()
            raise
        writer.close()


def is_compact(parquet: pq.ParquetFile) -> bool:
    """Whether a file's vectors are `COMPACT`."""
    column = parquet.schema_arrow.get_field_index("embedding")
    groups = range(parquet.metadata.num_row_groups)
    return any(COMPACT in parquet.metadata.row_group(n).column(column).encodings for n in groups)


def clip_rows(uri: str, ends: Mapping[str, int] | None = None) -> dict[str, int]:
    """How many rows of each clip a windows file holds, counted from the file.

    Args:
        uri: of the file.
        ends: clip id -> only windows before this one count.
    """
    with storage.reading(uri) as file, naming_damage(uri):
        return count_clips(file, ends)


def count_clips(file: BinaryIO, ends: Mapping[str, int] | None = None) -> dict[str, int]:
    """The same, of an open file."""
    columns = ["clip_id", "window"] if ends else ["clip_id"]
    rows: dict[str, int] = {}
    for batch in pq.ParquetFile(file).iter_batches(columns=columns):
        if ends:
            place = pc.index_in(batch["clip_id"], pa.array(list(ends), pa.string()))
            end = pa.array(ends.values(), pa.int32()).take(place)
            batch = batch.filter(pc.fill_null(pc.less(batch["window"], end), True))
        for found in pc.value_counts(batch["clip_id"]).to_pylist():
            rows[found["values"]] = rows.get(found["values"], 0) + found["counts"]
    return rows


def file_facts(written: Written, path: str) -> dict[str, Any]:
    """What a run record says of a windows file that is at `path` below the table."""
    rows = sum(written.clips.values())
    return {
        "path": path,
        "sha256": written.sha256,
        "bytes": written.size_bytes,
        "rows": rows,
        "clips": len(written.clips),
        "first_clip": min(written.clips),
        "last_clip": max(written.clips),
        "vector_bytes": rows * 4 * written.vector_size,
    } | ({"compact": True} if written.compact else {})
