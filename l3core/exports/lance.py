"""Lance by pylance: a format of its own, so a changed part is written again, as a new version."""

from collections.abc import Iterator

import lance
import pyarrow as pa
import pyarrow.parquet as pq

from l3core import storage
from l3core.exports.formats import Exported, Part, Target


def write(part: Part, target: Target) -> Exported:
    """Make the dataset hold a part's rows; left alone if it was made of the same files."""
    uri = storage.join(target.uri, f"{part.name}.lance")
    before = set(target.before.get(part.name, ()))
    new, old = part.files.keys() - before, before - part.files.keys()
    if new or old:
        rows = pa.RecordBatchReader.from_batches(part.schema, _batches(part))
        lance.write_dataset(rows, uri, mode="overwrite" if before or _there(uri) else "create")
    return Exported(part.name, len(new), len(old), len(part.files))


def _there(uri: str) -> bool:
    """Whether an export was cut off here."""
    return bool(storage.sizes_below(uri))


def _batches(part: Part) -> Iterator[pa.RecordBatch]:
    for _, uri in sorted(part.files.items()):
        with storage.reading(uri) as file:
            yield from pq.ParquetFile(file).iter_batches(1_000)
