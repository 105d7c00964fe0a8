"""Delta Lake by deltalake: the table's files copied as they are, and a log that names them.

Copied, because deltalake joins what its log says to the table's folder, also where that is a URI
(1.6.6); and a log inside our folders would be one more thing that readers of `**/*.parquet` meet. What
is taken out stays on the store for older versions, until `DeltaTable.vacuum`.
"""

import json
import shutil
import time

import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.transaction import AddAction, RemoveAction

from l3core import storage
from l3core.exports.formats import Exported, Part, Target


def write(part: Part, target: Target) -> Exported:
    """Make the table have a part's files, in one commit."""
    uri = storage.join(target.uri, part.name)
    if not DeltaTable.is_deltatable(uri):
        DeltaTable.create(uri, schema=part.schema)
    table = DeltaTable(uri)
    there = {path.rpartition("/")[2] for path in table.file_uris()}
    new, old = sorted(part.files.keys() - there), sorted(there - part.files.keys())
    now = time.time_ns() // 1_000_000
    actions: list[AddAction | RemoveAction] = [RemoveAction(name, True, now) for name in old]
    actions += [_copied(part.files[name], storage.join(uri, name), now) for name in new]
    if actions:
        table.create_write_transaction(actions, "append", table.schema())
    return Exported(part.name, len(new), len(old), len(part.files))


def _copied(source: str, target: str, now: int) -> AddAction:
    """Copy a file; returns what the log says of it."""
    with storage.reading(source) as file, storage.writing(target) as copy:
        rows = pq.read_metadata(file).num_rows
        file.seek(0)
        shutil.copyfileobj(file, copy, 2**20)
        size = copy.tell()
    stats = json.dumps({"numRecords": rows})
    return AddAction(target.rpartition("/")[2], size, {}, now, True, stats)
