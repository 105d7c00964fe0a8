"""Lance by pylance: a format of its own, so a changed part is written again, as a new version."""

from collections.abc import Iterator

import lance
import pyarrow as pa
import pyarrow.parquet as pq

from l3core import storage
from l3core.errors import DamagedError
from l3core.exports.formats import Exported, Part, Target
from l3core.table.places import first_there


def write(part: Part, target: Target) -> Exported:
    """Make the dataset hold a part's rows; left alone if it was made of the same files."""
    uri = storage.join(target.uri, f"{part.name}.lance")
    before = set(target.before.get(part.name, ()))
    new, old = part.files.keys() - before, before - part.files.keys()
    if new or old:
        failed: list[Exception] = []
        rows = pa.RecordBatchReader.from_batches(part.schema, _batches(part, failed))
        try:
            lance.write_dataset(rows, uri, mode="overwrite" if before or _there(uri) else "create")
        except Exception:
            if failed:  # Lance has it as a text that ends in a traceback
                raise failed[0] from None
            raise
    return Exported(part.name, len(new), len(old), len(part.files))


def _there(uri: str) -> bool:
    """Whether an export was cut off here."""
    return bool(storage.sizes_below(uri))


def _batches(part: Part, failed: list[Exception]) -> Iterator[pa.RecordBatch]:
    """The rows; what keeps them from being read is added to `failed`."""
    for _, uri in sorted(part.files.items()):
        try:
            with first_there([uri], storage.reading) as file:
                yield from pq.ParquetFile(file).iter_batches(1_000)
        except (pa.ArrowException, OSError) as error:
            failed.append(error)
            if isinstance(error, pa.ArrowException) or type(error) is OSError:
                failed[0] = DamagedError(f"{uri} cannot be read, see l3flow verify: {error}")
            raise
