"""A table as a `tf.data.Dataset`."""

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from l3core.feeds.feed import BUFFER_ROWS, EMBEDDING, LABEL, Feed, Share, make_feed
from l3core.table.selection import METADATA_SCHEMA

if TYPE_CHECKING:
    import tensorflow as tf


def tensorflow_dataset(
    table: str | os.PathLike[str],
    spec: str | None = None,
    *,
    columns: str | Sequence[str] = (),
    clips: str | Sequence[str] | None = None,
    where: pc.Expression | Sequence[Any] | None = None,
    labels: Mapping[str, Any] | None = None,
    seed: int | None = None,
    buffer_rows: int = BUFFER_ROWS,
    batch_size: int | None = None,
    share: tuple[int, int] = (0, 1),
) -> "tf.data.Dataset":
    """The windows of a table's last commit, one by one or in batches.

    Elements are (embedding, label) if there are labels and no columns, as `Model.fit` takes them; else
    dicts with `embedding`, the columns and `label`. Each iteration is an epoch with an order of its own:
    the n-th of two datasets with one seed is the same.

    Args:
        table: path or URI.
        spec: as of `l3core.read_windows`.
        columns: of the metadata, beside the embedding.
        clips: as of `l3core.read_windows`.
        where: as there.
        labels: clip id -> number, or as many numbers for each; windows of other clips are left out.
        seed: shuffles rows, by row group and among `buffer_rows`; None for the table's order.
        buffer_rows: held in memory for that.
        batch_size: rows in an element, the last one excepted; None for single rows.
        share: (number, of how many): one of several readers that have each row once between them.

    Raises:
        UsageError: labels that are no numbers or of no clip of the table, no such batch, share or seed.
        TableError: as `l3core.read_windows`.
    """
    import tensorflow as tf

    feed = make_feed(
        table,
        spec,
        columns=columns,
        clips=clips,
        where=where,
        labels=labels,
        seed=seed,
        buffer_rows=buffer_rows,
        batch_size=batch_size,
        share=share,
    )
    pair = labels is not None and not feed.columns
    epochs = count()

    def elements() -> Iterator[Any]:
        for arrays in feed.arrays(next(epochs), Share(*share), batch_size):
            yield (arrays[EMBEDDING], arrays[LABEL]) if pair else arrays

    signature: Any = _signature(feed)
    signature = (signature[EMBEDDING], signature[LABEL]) if pair else signature
    dataset = tf.data.Dataset.from_generator(elements, output_signature=signature)
    dataset = dataset.unbatch() if batch_size is None else dataset
    rows = feed.count(Share(*share))
    if rows is None:
        return dataset
    # whom nobody tells how many there are, Keras, warns that there are no more
    return dataset.apply(tf.data.experimental.assert_cardinality(-(-rows // (batch_size or 1))))


def _signature(feed: Feed) -> dict[str, "tf.TensorSpec"]:
    import tensorflow as tf

    found = {}
    for name in feed.columns:
        kind = METADATA_SCHEMA.field(name).type
        dtype = tf.string if pa.types.is_string(kind) else tf.as_dtype(np.dtype(kind.to_pandas_dtype()))
        found[name] = tf.TensorSpec([None], dtype)
    found[EMBEDDING] = tf.TensorSpec([None, feed.scan.size], tf.float32)
    if feed.labels is not None:
        values = feed.labels.values
        found[LABEL] = tf.TensorSpec([None, *values.shape[1:]], tf.as_dtype(values.dtype))
    return found
