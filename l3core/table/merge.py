"""Windows files merged into new ones, clip by clip: without some clips, under other names, cut anew."""

import heapq
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from l3core import storage
from l3core.table.damage import naming_damage
from l3core.table.layout import windows_schema
from l3core.table.windows_file import Written, is_compact, writing_windows

# Of each file so much is in memory at a time, besides what is compressed.
READ_AHEAD_BYTES = 4 * 2**20

EndOf = Callable[[int, str], int | None]


class Merged(NamedTuple):
    """A file that was written.

    Attributes:
        uri: where.
        written: what is in it.
    """

    uri: str
    written: Written


class _Run(NamedTuple):
    """Rows of one clip that follow one another in a file."""

    clip_id: str
    window: int
    source: int
    rows: pa.RecordBatch


def merge_windows(
    sources: Sequence[str],
    target: Callable[[int], str],
    *,
    end_of: EndOf,
    rename: Callable[[str], str] = str,
    most_bytes: int,
) -> list[Merged]:
    """Merge windows files into files of about equal size, sorted by clip and window.

    They are compact if one of those that they are made of is.

    Args:
        sources: URIs, each file sorted.
        target: URI of the n-th new file.
        end_of: window where a clip's rows of a source (by its place in `sources`) end; 0 to leave them
            out, None for all.
        rename: clip id -> new clip id; must keep their order.
        most_bytes: of vectors in a file; a clip is only cut where it alone is larger.
    """
    written: list[Merged] = []
    with ExitStack() as stack:
        parquets = [(place, _open(uri, stack)) for place, uri in enumerate(sources)]
        size = parquets[0][1].schema_arrow.field("embedding").type.list_size
        # of a file that loses all of its clips no vector is read
        used = []
        for place, parquet in parquets:
            with naming_damage(sources[place]):
                if _keeps_any(parquet, place, end_of):
                    used.append((place, parquet))
        runs = heapq.merge(
            *(_runs(parquet, place, size, sources[place]) for place, parquet in used),
            key=lambda run: run[:3],
        )
        kept = (run for run in _ended(runs, end_of) if len(run.rows))
        compact = any(is_compact(parquet) for _, parquet in used)
        most_rows = max(1, most_bytes // (4 * size))
        waiting = next(kept, None)
        while waiting is not None:
            uri, last = target(len(written)), waiting.clip_id
            with writing_windows(uri, size, compact=compact) as writer:
                while waiting is not None and (waiting.clip_id == last or writer.rows < most_rows):
                    if writer.rows >= 2 * most_rows:  # one clip alone
                        break
                    last = waiting.clip_id
                    writer.append_batch(_named(waiting.rows, rename(last), size))
                    waiting = next(kept, None)
            written.append(Merged(uri, writer.written))
    return written


def _open(uri: str, stack: ExitStack) -> pq.ParquetFile:
    fs, path = storage.filesystem(uri)
    file = stack.enter_context(fs.open(path, "rb"))
    with naming_damage(uri):
        # a column is read page by page, not a row group at once: many files are open together
        return pq.ParquetFile(file, buffer_size=2**20, pre_buffer=False)


def _keeps_any(parquet: pq.ParquetFile, place: int, end_of: EndOf) -> bool:
    batches = parquet.iter_batches(columns=["clip_id"])
    clips = (clip_id for batch in batches for clip_id in batch["clip_id"].unique().to_pylist())
    return any(end_of(place, clip_id) != 0 for clip_id in clips)


def _runs(parquet: pq.ParquetFile, place: int, size: int, uri: str) -> Iterator[_Run]:
    """The file's rows, cut where another clip begins."""
    batches = parquet.iter_batches(max(1, READ_AHEAD_BYTES // (4 * size)))
    while True:
        with naming_damage(uri):
            batch = next(batches, None)
        if batch is None:
            return
        clips = batch["clip_id"].to_numpy(zero_copy_only=False)
        starts = np.flatnonzero(np.concatenate([[True], clips[1:] != clips[:-1]]))
        for start, end in zip(starts, [*starts[1:], len(clips)]):
            rows = batch.slice(start, end - start)
            yield _Run(clips[start], rows["window"][0].as_py(), place, rows)


def _ended(runs: Iterator[_Run], end_of: EndOf) -> Iterator[_Run]:
    """The same runs, without windows behind the end of their clip."""
    for run in runs:
        end = end_of(run.source, run.clip_id)
        if end is None:
            yield run
        else:
            yield run._replace(rows=run.rows.filter(pc.less(run.rows["window"], end)))


def _named(rows: pa.RecordBatch, clip_id: str, size: int) -> pa.RecordBatch:
    columns = [pa.repeat(pa.scalar(clip_id), len(rows)), *rows.columns[1:]]
    return pa.RecordBatch.from_arrays(columns, schema=windows_schema(size))
