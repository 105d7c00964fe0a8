"""What a search asks of the ledger: which clips there are, and in how many files."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from l3core.errors import TableError
from l3core.search.vectors import Partition
from l3core.table.clip_names import BATCH_ROWS, unknown_clip
from l3core.table.row_groups import groups_with, opened

FACTS = ["clip_id", "status", "error", "duration_s", "windows_written"]


class ClipFacts(NamedTuple):
    """What the ledger says of a clip: see `l3core.table.layout.LedgerRow`."""

    clip_id: str
    status: str
    error: str | None
    duration_s: float | None
    windows_written: int


def clip_facts(partition: Partition, clips: Sequence[str]) -> dict[str, ClipFacts]:
    """Ledger rows of some clips.

    Raises:
        TableError: a clip that is not there, with the nearest names, or one that has no windows.
    """
    ordered = pa.array(sorted(set(clips)), pa.string())
    found: dict[str, ClipFacts] = {}
    for path in partition.state.ledger(partition.fingerprint):
        with opened(partition.paths, partition.state, path) as (parquet, _):
            for group in groups_with(parquet, ordered):
                rows = parquet.read_row_group(group, FACTS)
                rows = rows.filter(pc.is_in(rows["clip_id"], ordered))
                found |= {row["clip_id"]: ClipFacts(**row) for row in rows.to_pylist()}
    for clip in clips:
        if clip not in found:
            raise unknown_clip(partition.paths, partition.state, partition.fingerprint, clip)
        if not found[clip].windows_written:
            status, error = found[clip].status, found[clip].error
            why = f"{status}: {error}" if error else status
            raise TableError(f"clip {clip!r} has no windows ({why})")
    return found


def clips_in_several_files(partition: Partition) -> frozenset[str]:
    """Clips whose windows are in more than one file: long ones, at most a few for each file."""
    found: list[str] = []
    for batch in _ledger(partition, ["clip_id", "files"]):
        many = pc.greater(pc.list_value_length(batch["files"]), 1)
        if pc.any(many).as_py():
            found += batch["clip_id"].filter(many).to_pylist()
    return frozenset(found)


def count_embedded(partition: Partition) -> int:
    """Clips that have windows."""
    batches = _ledger(partition, ["windows_written"])
    return sum(pc.sum(pc.greater(batch["windows_written"], 0)).as_py() or 0 for batch in batches)


def _ledger(partition: Partition, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    for path in partition.state.ledger(partition.fingerprint):
        with opened(partition.paths, partition.state, path) as (parquet, _):
            yield from parquet.iter_batches(BATCH_ROWS, columns=list(columns))
