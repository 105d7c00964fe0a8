"""The clips of a map: a sample of the ledger, and the mean of each clip's windows."""

from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from l3core.errors import TableError
from l3core.search.vectors import Group, Partition, map_groups, read_group
from l3core.table.layout import LEDGER_SCHEMA
from l3core.table.row_groups import opened, vector_size

BATCH_ROWS = 50_000
SAMPLE = 20_000
SAMPLE_BYTES = 512 * 2**20  # of means, where nobody says how many clips
OVERHEAD_BYTES = 400 * 2**20

# Called with how many windows are read.
Report = Callable[[int], None]


class MapClips(NamedTuple):
    """The clips of a map.

    Attributes:
        rows: of the ledger, in the order of what was drawn for each.
        means: float32 `(clips, d)`, of the windows that are not silent.
        available: clips of the table that have windows.
        silent: clips that were drawn and left out: all of their windows are silent.
    """

    rows: pa.Table
    means: np.ndarray
    available: int
    silent: int


def default_sample(partition: Partition) -> int:
    """Clips of a map for which nobody asks for a number."""
    return max(1, min(SAMPLE, SAMPLE_BYTES // (4 * max(1, _size(partition)))))


def needed_bytes(partition: Partition, sample: int) -> int:
    """Memory that a map takes, at most: the means, a centred copy of them, and what is being read."""
    return 2 * 4 * sample * _size(partition) + OVERHEAD_BYTES


def map_clips(
    partition: Partition, sample: int, *, seed: int = 0, report: Report = lambda done: None
) -> MapClips:
    """Draw clips and average their windows, in one reading of the table.

    Args:
        partition: of which table and spec.
        sample: clips at most.
        seed: which ones, if there are more.
        report: told how far it is.

    Raises:
        TableError: no clip has a window that is not silent, or a damaged file.
        FileNotFoundError: a later commit has taken a file away.
    """
    rows, available = draw_rows(partition, sample, seed=seed)
    means, counts = clip_means(partition, rows["clip_id"].to_pylist(), report=report)
    heard = counts > 0
    if not heard.any():
        raise TableError(f"{partition.paths.root} has nothing to show: no clip with a sound in it")
    if not heard.all():
        rows, means = rows.filter(pa.array(heard)), means[heard]
    return MapClips(rows, means, available, int((~heard).sum()))


def draw_rows(partition: Partition, sample: int, *, seed: int = 0) -> tuple[pa.Table, int]:
    """(ledger rows of at most `sample` clips that have windows, how many there are).

    A clip's number is drawn from its id and the seed, and the smallest are taken: the same clips however
    the table's files are cut, and nearly the same when a few clips have come.
    """
    kept: list[pa.Table] = []
    numbers: list[np.ndarray] = []
    held = available = 0
    for batch in _ledger(partition):
        batch = batch.filter(pc.greater(batch["windows_written"], 0))
        kept.append(pa.Table.from_batches([batch]))
        numbers.append(_drawn(batch["clip_id"].to_pylist(), seed))
        held += len(batch)
        available += len(batch)
        if held > 2 * sample:
            kept, numbers = _smallest(kept, numbers, sample)
            held = sample
    if not available:
        return LEDGER_SCHEMA.empty_table(), 0
    [rows], _ = _smallest(kept, numbers, sample)
    return rows, available


def clip_means(
    partition: Partition, clips: Sequence[str], *, report: Report = lambda done: None
) -> tuple[np.ndarray, np.ndarray]:
    """(means float32 `(clips, d)`, windows of each): zeros where a clip has none but silent windows.

    The windows go by one row group a thread; only the sums are kept.
    """
    places = {clip: place for place, clip in enumerate(clips)}
    means = np.zeros((len(clips), _size(partition)), np.float32)
    counts = np.zeros(len(clips), np.int64)

    def sums_of(group: Group) -> tuple[dict[int, tuple[np.ndarray, int]], int]:
        found: dict[int, tuple[np.ndarray, int]] = {}
        windows = 0
        for rows in read_group(partition, group):
            windows += len(rows.vectors)
            for clip, begin, end in zip(rows.clips, rows.begins, rows.ends):
                if (place := places.get(clip)) is not None:
                    vector, count = found.get(place, (0.0, 0))
                    sum_ = vector + rows.vectors[begin:end].sum(axis=0, dtype=float)
                    found[place] = sum_, count + int(end - begin)
        return found, windows

    done = 0
    for found, windows in map_groups(partition, sums_of, clips) if clips else ():
        for place, (vector, count) in found.items():
            means[place] += vector
            counts[place] += count
        done += windows
        report(done)
    means /= np.maximum(1, counts)[:, np.newaxis]
    bad = np.flatnonzero(~np.isfinite(means).all(axis=1))
    if len(bad):
        first = clips[int(bad[0])]
        raise TableError(f"vectors of {len(bad)} clips hold NaN or infinity, {first!r} among them")
    return means, counts


def _size(partition: Partition) -> int:
    return vector_size(partition.paths, partition.state, partition.fingerprint)


def _ledger(partition: Partition) -> Iterator[pa.RecordBatch]:
    for path in partition.state.ledger(partition.fingerprint):
        with opened(partition.paths, partition.state, path) as (parquet, _):
            yield from parquet.iter_batches(BATCH_ROWS, columns=LEDGER_SCHEMA.names)


def _drawn(clips: Sequence[str], seed: int) -> np.ndarray:
    key = str(seed).encode()
    digests = (blake2b(clip.encode(), digest_size=8, key=key).digest() for clip in clips)
    return np.frombuffer(b"".join(digests), ">u8")


def _smallest(
    kept: Sequence[pa.Table], numbers: Sequence[np.ndarray], sample: int
) -> tuple[list[pa.Table], list[np.ndarray]]:
    drawn = np.concatenate(numbers)
    order = np.argsort(drawn, kind="stable")[:sample]
    return [pa.concat_tables(kept).take(pa.array(order))], [drawn[order]]
