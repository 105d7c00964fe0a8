"""What an index is of, a sample of it, and the exact neighbours that its searches are compared with."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from l3core.search.approximate import search_index
from l3core.search.clips import clips_in_several_files
from l3core.search.vectors import (
    Group,
    Partition,
    Rows,
    directions,
    map_groups,
    read_group,
    sum_group,
    whole_sums,
)
from l3core.table.row_groups import vector_size

SAMPLE_BYTES = 256 * 2**20
QUERIES = 100
NEIGHBOURS = 10
# Row groups that are in memory at once, twice as many as threads that read them.
READERS = 2

# Called with what is done and how many vectors are.
Report = Callable[[str, int], None]


class Sample(NamedTuple):
    """Vectors drawn from all with equal chances.

    Attributes:
        vectors: float32 `(sample, d)` of length 1.
        clips: ids of their clips, object `(sample,)`.
    """

    vectors: np.ndarray
    clips: np.ndarray


def draw_sample(partition: Partition, of: str, report: Report = lambda what, done: None) -> Sample:
    """A fair sample in a random order: of numbers drawn for all vectors those with the smallest."""
    size = vector_size(partition.paths, partition.state, partition.fingerprint)
    most = max(QUERIES, SAMPLE_BYTES // (4 * max(1, size)))
    generator = np.random.default_rng(0)
    drawn: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    held = done = 0
    for rows in indexed_rows(partition, of):
        drawn.append((generator.random(len(rows.vectors)), rows.vectors, clip_of_rows(rows)))
        held += len(rows.vectors)
        done += len(rows.vectors)
        if held > 2 * most:
            drawn = [_smallest(drawn, most)]
            held = most
        report("read", done)
    if not drawn:
        return Sample(np.empty((0, size), np.float32), np.empty(0, object))
    return Sample(*_smallest(drawn, most)[1:])


def _smallest(
    drawn: list[tuple[np.ndarray, np.ndarray, np.ndarray]], most: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    numbers, vectors, clips = (np.concatenate(parts) for parts in zip(*drawn))
    order = np.argsort(numbers)[:most]
    return numbers[order], vectors[order], clips[order]


def indexed_rows(partition: Partition, of: str) -> Iterator[Rows]:
    """What is indexed, in the order of the files; vectors have length 1, those of no direction lack.

    Of clip means each is a run of its own, without window and time.
    """
    if of == "clips":
        several = clips_in_several_files(partition)
        groups = map_groups(partition, partial(sum_group, partition, several=several), threads=READERS)
        for sums in whole_sums(groups, several):
            count = len(sums.whole)
            nothing, silent = np.full(count, np.nan), np.zeros(count, bool)
            yield from _kept(Rows(sums.whole, np.arange(count), nothing, nothing, silent, sums.sums))
    else:
        for parts in map_groups(partition, partial(_read, partition), threads=READERS):
            for rows in parts:
                yield from _kept(rows)


def _read(partition: Partition, group: Group) -> list[Rows]:
    return list(read_group(partition, group))


def _kept(rows: Rows) -> Iterator[Rows]:
    vectors = directions(rows.vectors).astype(np.float32)
    known = vectors.any(axis=1)
    if not known.any():
        return
    counts = np.add.reduceat(known.astype(np.int64), rows.begins)
    clips = [clip for clip, count in zip(rows.clips, counts) if count]
    begins = np.cumsum([0, *counts[counts > 0][:-1]])
    yield Rows(
        clips, begins, rows.window[known], rows.start_s[known], rows.silent[known], vectors[known]
    )


def clip_of_rows(rows: Rows) -> np.ndarray:
    """The clip id of each row, object `(rows,)`."""
    return np.repeat(np.array(rows.clips, object), rows.ends - rows.begins)


class Truth:
    """The exact neighbours of some vectors, as all vectors go by.

    Args:
        queries: vectors; those of a query's own clip are not its neighbours.

    Attributes:
        queries: the same.
        own: clip id -> places of its vectors, of the queries' clips.
        places: int64 `(queries, NEIGHBOURS)`; -1 where there are no more.
    """

    def __init__(self, queries: Sample) -> None:
        shape = len(queries.vectors), NEIGHBOURS
        self.queries = queries
        self.own: dict[str, list[int]] = {clip: [] for clip in queries.clips}
        self.places = np.full(shape, -1, np.int64)
        self._similarities = np.full(shape, -np.inf, np.float32)
        self._count = 0

    def add(self, rows: Rows) -> None:
        """The next vectors."""
        found = self.queries.vectors @ rows.vectors.T
        for clip, begin, end in zip(rows.clips, rows.begins, rows.ends):
            if clip in self.own:
                self.own[clip] += range(self._count + int(begin), self._count + int(end))
                found[self.queries.clips == clip, begin:end] = -np.inf
        numbers = np.arange(self._count, self._count + len(rows.vectors))
        self._count += len(numbers)
        similarities = np.concatenate([self._similarities, found], axis=1)
        places = np.concatenate([self.places, np.tile(numbers, (len(found), 1))], axis=1)
        best = np.argpartition(-similarities, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
        self._similarities = np.take_along_axis(similarities, best, axis=1)
        self.places = np.where(
            self._similarities > -np.inf, np.take_along_axis(places, best, axis=1), -1
        )

    def recall(self, index: Any, probes: int) -> float:
        """Share of the exact neighbours that an index finds; 1 if there are none."""
        hits = 0
        for vector, clip, exact in zip(self.queries.vectors, self.queries.clips, self.places):
            _, found = search_index(
                index, vector[np.newaxis], NEIGHBOURS, probes=probes, without=self.own[clip]
            )
            hits += len({*found[0].tolist()} & {*exact[exact >= 0].tolist()})
        return hits / max(1, int((self.places >= 0).sum())) if (self.places >= 0).any() else 1.0
