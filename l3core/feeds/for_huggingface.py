"""A table as a dataset of Hugging Face's `datasets`."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.compute as pc

from l3core.feeds.feed import EMBEDDING, LABEL, Feed, make_feed
from l3core.table.read import read_state
from l3core.table.scan import Piece, Windows
from l3core.table.selection import METADATA, METADATA_SCHEMA


def huggingface_dataset(
    table: str | os.PathLike[str],
    spec: str | None = None,
    *,
    columns: str | Sequence[str] = METADATA,
    clips: str | Sequence[str] | None = None,
    where: pc.Expression | Sequence[Any] | None = None,
    labels: Mapping[str, Any] | None = None,
    streaming: bool = False,
) -> "datasets.Dataset | datasets.IterableDataset":
    """The windows of a table's last commit: in memory, sorted by clip and window, or streamed.

    A streamed one has the row groups as its shards, so that `shuffle(seed)` shuffles them and a buffer,
    and workers and `datasets.distributed.split_dataset_by_node` share them out.

    Args:
        table: path or URI.
        spec: as of `l3core.read_windows`.
        columns: of the metadata, beside `embedding`, a list of fixed length.
        clips: as of `l3core.read_windows`.
        where: as there.
        labels: clip id -> number, or as many numbers for each; windows of other clips are left out.
        streaming: read what is iterated, in bounded memory.

    Raises:
        UsageError: labels that are no numbers or of no clip of the table.
        TableError: as `l3core.read_windows`.
    """
    feed = make_feed(
        table,
        spec,
        columns=columns,
        clips=clips,
        where=where,
        labels=labels,
        seed=None,
        buffer_rows=1,
    )
    features = _features(feed)
    if not streaming:
        return datasets.Dataset(_in_memory(feed, features))
    # no shards at all are an error of theirs
    gen_kwargs = {"feed": feed, "pieces": list(feed.pieces) or [Piece("", 0, 0, 0)]}
    return datasets.IterableDataset.from_generator(_examples, features=features, gen_kwargs=gen_kwargs)


def _features(feed: Feed) -> datasets.Features:
    fields = [METADATA_SCHEMA.field(name) for name in feed.columns]
    fields.append(pa.field(EMBEDDING, pa.list_(pa.float32(), feed.scan.size)))
    if feed.labels is not None:
        values = feed.labels.values
        kind = pa.from_numpy_dtype(values.dtype)
        for size in values.shape[:0:-1]:
            kind = pa.list_(kind, size)
        fields.append(pa.field(LABEL, kind))
    return datasets.Features.from_arrow_schema(pa.schema(fields))


def _in_memory(feed: Feed, features: datasets.Features) -> pa.Table:
    """All rows; of the vectors there is one copy."""
    scan = feed.scan
    windows = Windows(*read_state(scan.paths, scan.state, scan.fingerprint, scan.selection))
    columns = {name: windows.metadata[name] for name in feed.columns}
    flat = pa.array(windows.vectors.reshape(-1))
    columns[EMBEDDING] = pa.FixedSizeListArray.from_arrays(flat, max(1, feed.scan.size))
    if feed.labels is not None:
        labels = feed.labels_of(windows)
        columns[LABEL] = pa.array(labels if labels.ndim == 1 else labels.tolist())
    return pa.table(columns).cast(features.arrow_schema)


def _examples(feed: Feed, pieces: Sequence[Piece]) -> Iterator[dict[str, Any]]:
    for windows in feed.scan.read(piece for piece in pieces if piece.path):
        arrays = feed.arrays_of(windows)
        for row in zip(*arrays.values()):
            yield dict(zip(arrays, row))
