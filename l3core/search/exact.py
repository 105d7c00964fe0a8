"""Nearest neighbours by one reading of all vectors, in memory that does not grow with the table."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import numpy as np

from l3core.search.clips import clips_in_several_files
from l3core.search.ranking import DIGITS, Best, Neighbour, Query, Search, stacked, top
from l3core.search.vectors import (
    Group,
    GroupSums,
    Partition,
    Rows,
    map_groups,
    read_group,
    sum_group,
    whole_sums,
)

# Neighbours of some queries, by the query's place.
Found = dict[int, list[Neighbour]]


def nearest(partition: Partition, queries: Sequence[Query], search: Search) -> list[list[Neighbour]]:
    """The nearest clips or windows of each query, the nearest first; of equals by name.

    Row groups are read and multiplied by one thread for each core. A vector without a direction, zeros,
    is nobody's neighbour.

    Raises:
        FileNotFoundError: a later commit has taken a file away, or it is missing.
        TableError: a file is damaged.
    """
    best = Best(len(queries), search.k, per_clip=search.per == "clip")
    ranking = Ranking(queries, search, best)
    if search.of_means:
        for sums in clip_sums(partition):
            _add(best, ranking.of_clips(sums.whole, sums.sums))
    else:
        work = partial(_rank_group, partition, ranking)
        for found in map_groups(partition, work):
            _add(best, found)
    return best.lists()


def clip_sums(partition: Partition) -> Iterator[GroupSums]:
    """Sums of the windows of each clip: the direction of its mean."""
    several = clips_in_several_files(partition)
    work = partial(sum_group, partition, several=several)
    return whole_sums(map_groups(partition, work), several)


class Ranking:
    """Queries against vectors.

    Args:
        queries: at least one.
        search: what is asked for.
        best: what has been found until now.
    """

    def __init__(self, queries: Sequence[Query], search: Search, best: Best) -> None:
        self._queries, self._search, self._best = queries, search, best
        vectors, self._ends = stacked(queries)
        self._columns = np.ascontiguousarray(vectors.T)
        self._one_each = len(vectors) == len(queries)
        self._own: dict[str, list[int]] = {}
        for place, query in enumerate(queries):
            if query.clip_id is not None and not search.itself:
                self._own.setdefault(query.clip_id, []).append(place)

    def of_clips(self, clips: Sequence[str], sums: np.ndarray) -> Found:
        """The nearest of some clips by their means.

        Args:
            clips: ids.
            sums: `(clips, d)`.
        """
        if not len(clips):
            return {}
        places = np.arange(len(clips))
        similarities = self._without_own(self._cosines(sums), clips, places, places + 1)
        return {
            query: [Neighbour(float(similarities[row, query]), clips[row]) for row in rows]
            for query, rows in self._chosen(similarities)
        }

    def of_rows(self, rows: Rows) -> Found:
        """The nearest of some windows; the nearest window of each clip if clips are ranked."""
        every = self._cosines(rows.vectors)
        similarities = every if self._one_each else self._best_windows(every)
        similarities = self._without_own(similarities, rows.clips, rows.begins, rows.ends)
        if self._search.per == "clip":
            ranked = np.maximum.reduceat(similarities, rows.begins, axis=0)
        else:
            ranked = similarities
        found: Found = {}
        for query, places in self._chosen(ranked):
            found[query] = []
            for place in places:
                row = place
                if self._search.per == "clip":
                    begin, end = rows.begins[place], rows.ends[place]
                    row = begin + similarities[begin:end, query].argmax()
                similarity = float(similarities[row, query])
                found[query].append(self._neighbour(rows, int(row), query, similarity, every[row]))
        return found

    def _neighbour(
        self, rows: Rows, row: int, query: int, similarity: float, cosines: np.ndarray
    ) -> Neighbour:
        clip = rows.clips[int(np.searchsorted(rows.begins, row, side="right")) - 1]
        own = self._queries[query]
        start_s = float(own.start_s[cosines[self._ends[query] : self._ends[query + 1]].argmax()])
        place = int(rows.window[row]), float(rows.start_s[row])
        return Neighbour(similarity, clip, *place, None if np.isnan(start_s) else start_s)

    def _cosines(self, vectors: np.ndarray) -> np.ndarray:
        """float32 `(rows, query vectors)`; minus infinity for a row that has no direction."""
        lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            found = (vectors @ self._columns) / lengths[:, np.newaxis]
        known = np.isfinite(lengths) & (lengths > 0)
        if not known.all():
            found[~known] = -np.inf
        return found.round(DIGITS)

    def _best_windows(self, every: np.ndarray) -> np.ndarray:
        """Of the windows of each query the most similar: `(rows, queries)`."""
        bounds = zip(self._ends[:-1], self._ends[1:])
        return np.stack([every[:, a:b].max(axis=1) for a, b in bounds], axis=1)

    def _without_own(
        self, similarities: np.ndarray, clips: Sequence[str], begins: np.ndarray, ends: np.ndarray
    ) -> np.ndarray:
        """The same, where no query's own clip is similar to it."""
        for clip, begin, end in zip(clips, begins, ends) if self._own else ():
            if clip in self._own:
                similarities[begin:end, self._own[clip]] = -np.inf
        return similarities

    def _chosen(self, similarities: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """(query, rows) of what may be among its nearest."""
        least, k = self._best.least, self._search.k
        for query in np.flatnonzero(similarities.max(axis=0) >= least):
            rows = top(similarities[:, query], k, least[query])
            if len(rows):
                yield int(query), rows


def _rank_group(partition: Partition, ranking: Ranking, group: Group) -> Found:
    found: Found = {}
    for rows in read_group(partition, group):
        for query, neighbours in ranking.of_rows(rows).items():
            found.setdefault(query, []).extend(neighbours)
    return found


def _add(best: Best, found: Found | Iterable[tuple[int, list[Neighbour]]]) -> None:
    for query, neighbours in dict(found).items():
        best.add(query, neighbours)
