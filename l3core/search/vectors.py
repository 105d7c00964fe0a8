"""A partition's vectors on their way through a search: row groups, rows of one clip, their sums."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from threadpoolctl import threadpool_limits

from l3core.ahead import map_ahead
from l3core.machine import usable_cores
from l3core.stores import is_remote
from l3core.table.layout import TablePaths
from l3core.table.row_groups import groups_with, matrix, opened
from l3core.table.state import TableState

COLUMNS = ["clip_id", "window", "start_s", "silent", "embedding"]
# Decoded at once by a thread: what stays in a core's cache is decoded and multiplied fastest.
CHUNK_BYTES = 2 * 2**20
CHUNK_ROWS = 4096
# Row groups that are waited for at the same time where each costs a store's latency.
REMOTE_THREADS = 8
R = TypeVar("R")


@dataclass(frozen=True)
class Partition:
    """The windows of one spec in one commit of a table.

    Attributes:
        paths: of the table.
        state: the commit.
        fingerprint: of the spec.
        silent: whether silent windows count, too.
    """

    paths: TablePaths
    state: TableState
    fingerprint: str
    silent: bool = False

    @property
    def commit(self) -> int:
        """The last commit that changed it."""
        return self.state.touched.get(self.fingerprint, 0)


class Group(NamedTuple):
    """A row group of a windows file, `path` below the table."""

    path: str
    number: int


class Rows(NamedTuple):
    """Some windows of a file, in its order.

    Attributes:
        clips: ids of the runs of rows of one clip.
        begins: int64 `(clips,)`, first row of each run.
        window, start_s, silent: of each row.
        vectors: float32 `(rows, d)`.
    """

    clips: list[str]
    begins: np.ndarray
    window: np.ndarray
    start_s: np.ndarray
    silent: np.ndarray
    vectors: np.ndarray

    @property
    def ends(self) -> np.ndarray:
        """The row behind each run."""
        return np.append(self.begins[1:], len(self.vectors))


class Sum(NamedTuple):
    """Windows of a clip, added up.

    Attributes:
        clip_id: the clip.
        vector: float64 `(d,)`; the mean has the same direction.
    """

    clip_id: str
    vector: np.ndarray


class GroupSums(NamedTuple):
    """What a row group has of clip means.

    Attributes:
        path: of its file.
        whole: ids of clips of which nothing is elsewhere.
        sums: float64 `(whole, d)`.
        parts: of the clips that may go on in the next group or another file, in order.
    """

    path: str
    whole: list[str]
    sums: np.ndarray
    parts: list[Sum]


def map_groups(
    partition: Partition,
    work: Callable[[Group], R],
    clips: Sequence[str] | None = None,
    *,
    threads: int | None = None,
) -> Iterator[R]:
    """What some work makes of each row group, by threads, in the order of the files.

    Args:
        partition: whose windows.
        work: called by threads, of which each keeps to one core.
        clips: only groups that may hold one of these.
        threads: how many; None: one for each core, or some for a store.

    Raises:
        FileNotFoundError: a later commit has taken a file away, or it is missing.
        TableError: one is damaged.
    """
    files = partition.state.windows(partition.fingerprint)
    ordered = None if clips is None else pa.array(sorted(clips), pa.string())
    if threads is None:
        threads = REMOTE_THREADS if is_remote(partition.paths.root) else usable_cores()

    def groups_of(path: str) -> list[Group]:
        with opened(partition.paths, partition.state, path) as (parquet, _):
            return [Group(path, number) for number in groups_with(parquet, ordered)]

    def groups() -> Iterator[Group]:
        for found in map_ahead(groups_of, files, threads=threads):
            yield from found

    with threadpool_limits(1, user_api="blas"):  # the threads are ours
        yield from map_ahead(work, groups(), threads=threads)


def read_group(partition: Partition, group: Group) -> Iterator[Rows]:
    """The windows of a row group, some megabytes at a time, none of them empty."""
    with opened(partition.paths, partition.state, group.path) as (parquet, _):
        size = parquet.schema_arrow.field("embedding").type.list_size
        rows = max(1, min(CHUNK_ROWS, CHUNK_BYTES // (4 * max(1, size))))
        for batch in parquet.iter_batches(rows, row_groups=[group.number], columns=COLUMNS):
            if not partition.silent and pc.any(batch["silent"]).as_py():
                batch = batch.filter(pc.invert(batch["silent"]))
            if len(batch):
                yield _rows(batch)


def _rows(batch: pa.RecordBatch) -> Rows:
    runs = pc.run_end_encode(batch["clip_id"])
    begins = np.concatenate([[0], runs.run_ends.to_numpy()[:-1]]).astype(np.int64)
    window, start_s = batch["window"].to_numpy(), batch["start_s"].to_numpy()
    silent = batch["silent"].to_numpy(zero_copy_only=False)
    clips = runs.values.to_pylist()
    return Rows(clips, begins, window, start_s, silent, matrix(batch["embedding"]))


def sum_group(partition: Partition, group: Group, several: frozenset[str]) -> GroupSums:
    """The sums of a row group's clips, each over its windows.

    Args:
        partition: whose.
        group: which.
        several: clips that lie in several files.
    """
    clips: list[str] = []
    sums: list[np.ndarray] = []
    for rows in read_group(partition, group):
        # a sum of a run at a time: NumPy's reduceat is ten times slower along this axis (measured)
        found = [rows.vectors[a:b].sum(axis=0, dtype=float) for a, b in zip(rows.begins, rows.ends)]
        if clips and clips[-1] == rows.clips[0]:
            sums[-1] = sums[-1] + found.pop(0)
            rows.clips.pop(0)
        clips += rows.clips
        sums += found
    last = len(clips) - 1
    apart = [n for n, clip in enumerate(clips) if n in (0, last) or clip in several]
    parts = [Sum(clips[n], sums[n]) for n in apart]
    whole = sorted({*range(len(clips))} - {*apart})
    vectors = np.array([sums[n] for n in whole])
    return GroupSums(group.path, [clips[n] for n in whole], vectors, parts)


def whole_sums(found: Iterator[GroupSums], several: frozenset[str]) -> Iterator[GroupSums]:
    """Sums of whole clips, from those of row groups: what is in several is put together.

    Args:
        found: of all row groups, in order.
        several: clips that lie in several files, whose sums are kept until the end.
    """
    kept: dict[str, np.ndarray] = {}
    path, last = "", None
    for group in found:
        done: list[Sum] = []
        if last is not None and group.path != path:
            done, last = [last], None
        path = group.path
        for part in group.parts:
            if part.clip_id in several:
                kept[part.clip_id] = kept.get(part.clip_id, 0.0) + part.vector
            elif last is not None and last.clip_id == part.clip_id:
                last = Sum(last.clip_id, last.vector + part.vector)
            else:
                done += [last] if last is not None else []
                last = part
        if group.whole or done:
            yield _with(group, done)
    rest = [Sum(clip, vector) for clip, vector in kept.items()]
    if last is not None or rest:
        yield _with(GroupSums(path, [], np.empty(0), []), [*([last] if last else []), *rest])


def _with(group: GroupSums, more: Sequence[Sum]) -> GroupSums:
    clips = [*group.whole, *(one.clip_id for one in more)]
    parts = [group.sums] if group.whole else []
    if more:
        parts.append(np.array([one.vector for one in more]))
    return GroupSums(group.path, clips, np.concatenate(parts), [])


def directions(vectors: np.ndarray) -> np.ndarray:
    """The vectors with length 1, float64; zeros where there is no direction.

    Args:
        vectors: `(rows, d)`.
    """
    vectors = vectors.astype(np.float64)
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    known = np.isfinite(lengths) & (lengths > 0)
    scaled = vectors / np.where(known, lengths, 1.0)[:, np.newaxis]
    return np.where(known[:, np.newaxis], scaled, 0.0)
