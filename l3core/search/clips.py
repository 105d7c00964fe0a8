"""What a search asks of the ledger: which clips there are, in how many files, and near names."""

import difflib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from l3core.errors import TableError
from l3core.search.vectors import Partition
from l3core.table.row_groups import groups_with, opened

FACTS = ["clip_id", "status", "error", "duration_s", "windows_written"]
BATCH_ROWS = 50_000
# Names that are compared letter by letter, whatever the size of the ledger.
CANDIDATES = 200
NEAR = 3


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
            near = near_names(partition, clip)
            hint = f", did you mean {' or '.join(near)}?" if near else ""
            raise TableError(f"no clip {clip!r} in {partition.paths.root}{hint}")
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


def near_names(partition: Partition, name: str) -> list[str]:
    """Clip ids that somebody may have meant, the nearest first.

    Those that share most groups of three letters with it are compared letter by letter: a ledger of a
    million rows is searched in seconds.
    """
    best: list[tuple[int, str]] = []
    triples = sorted({name[n : n + 3] for n in range(len(name) - 2)} or {name})
    chosen = [triples[n] for n in np.linspace(0, len(triples) - 1, min(24, len(triples))).astype(int)]
    for batch in _ledger(partition, ["clip_id"]):
        ids = batch["clip_id"]
        shared = np.zeros(len(ids), np.int32)
        for triple in chosen:
            held = pc.match_substring(ids, triple, ignore_case=name.isascii())
            shared += held.to_numpy(zero_copy_only=False)
        places = np.argsort(-shared, kind="stable")[:CANDIDATES]
        best += zip(shared[places].tolist(), ids.take(pa.array(places)).to_pylist())
        best = sorted(best, key=lambda item: -item[0])[:CANDIDATES]
    ids = [clip for count, clip in best if count]
    ends = [clip for clip in ids if clip.rpartition("/")[2] == name.rpartition("/")[2]]
    return list(dict.fromkeys([*ends, *difflib.get_close_matches(name, ids, NEAR, 0.5)]))[:NEAR]


def _ledger(partition: Partition, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    for path in partition.state.ledger(partition.fingerprint):
        with opened(partition.paths, partition.state, path) as (parquet, _):
            yield from parquet.iter_batches(BATCH_ROWS, columns=list(columns))
