"""Nearest neighbours by one reading of all vectors, in memory that does not grow with the table."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from l3core.search.clips import clips_in_several_files
from l3core.search.ranking import (
    DIGITS,
    MOST_WINDOWS,
    NEARLY,
    Best,
    Found,
    Neighbour,
    Query,
    Search,
    nearly_top,
    stacked,
)
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


def nearest(partition: Partition, queries: Sequence[Query], search: Search) -> list[list[Neighbour]]:
    """The nearest clips or windows of each query, the nearest first; of equals by name.

    Row groups are read and multiplied by one thread for each core. A vector without a direction, zeros,
    is nobody's neighbour. Queries of more than `MOST_WINDOWS` windows together take several readings.

    Raises:
        FileNotFoundError: a later commit has taken a file away, or it is missing.
        TableError: a file is damaged.
    """
    return [found for some in _rounds(queries) for found in _nearest(partition, some, search)]


def _rounds(queries: Sequence[Query]) -> Iterator[list[Query]]:
    some: list[Query] = []
    windows = 0
    for query in queries:
        if some and windows + len(query.vectors) > MOST_WINDOWS:
            yield some
            some, windows = [], 0
        some.append(query)
        windows += len(query.vectors)
    if some:
        yield some


def _nearest(partition: Partition, queries: Sequence[Query], search: Search) -> list[list[Neighbour]]:
    best = Best(len(queries), search.k, per_clip=search.per == "clip")
    ranking = Ranking(queries, search, best)
    if search.of_means:
        _rank_means(partition, ranking, best)
    else:
        for found in map_groups(partition, partial(_rank_rows, partition, ranking)):
            best.add_all(found)
    return best.lists()


def _rank_rows(partition: Partition, ranking: "Ranking", group: Group) -> Found:
    found: Found = {}
    for rows in read_group(partition, group):
        for query, neighbours in ranking.of_rows(rows).items():
            found.setdefault(query, []).extend(neighbours)
    return found


def _rank_means(partition: Partition, ranking: "Ranking", best: Best) -> None:
    several = clips_in_several_files(partition)

    def work(group: Group) -> tuple[Found, GroupSums]:
        """What is found in a group, and what may go on elsewhere."""
        sums = sum_group(partition, group, several)
        found = ranking.of_clips(sums.whole, sums.sums)
        return found, sums._replace(whole=[], sums=np.empty(0))

    def parts() -> Iterator[GroupSums]:
        for found, sums in map_groups(partition, work):
            best.add_all(found)
            yield sums

    for sums in whole_sums(parts(), several):
        best.add_all(ranking.of_clips(sums.whole, sums.sums))


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
        rows = np.arange(len(clips))
        similarities = self._without_own(self._cosines(sums), clips, rows, rows + 1)
        found: Found = {}
        for query, places in self._chosen(similarities):
            exact, _ = self._again(query, sums[places])
            found[query] = [Neighbour(s, clips[place]) for place, s in zip(places, exact)]
        return found

    def of_rows(self, rows: Rows) -> Found:
        """The nearest of some windows; those of the nearest clips if clips are ranked."""
        similarities = self._cosines(rows.vectors)
        if len(self._columns[0]) > len(self._queries):
            similarities = self._best_windows(similarities)
        similarities = self._without_own(similarities, rows.clips, rows.begins, rows.ends)
        ranked = similarities
        if self._search.per == "clip":
            ranked = np.maximum.reduceat(similarities, rows.begins, axis=0)
        found: Found = {}
        for query, places in self._chosen(ranked):
            if self._search.per == "clip":
                places = self._best_rows(rows, similarities[:, query], places)
            exact, own_s = self._again(query, rows.vectors[places])
            clips = np.searchsorted(rows.begins, places, side="right") - 1
            found[query] = [
                Neighbour(s, rows.clips[clip], int(rows.window[row]), float(rows.start_s[row]), own)
                for row, clip, s, own in zip(places, clips, exact, own_s)
            ]
        return found

    def _best_rows(self, rows: Rows, similarities: np.ndarray, clips: np.ndarray) -> np.ndarray:
        """Of some clips' rows those that may be the most similar of their clip."""
        found = []
        for begin, end in zip(rows.begins[clips], rows.ends[clips]):
            own = similarities[begin:end]
            found.append(begin + np.flatnonzero(own >= own.max() - NEARLY))
        return np.concatenate(found)

    def _again(self, query: int, vectors: np.ndarray) -> tuple[list[float], list[float | None]]:
        """(similarities in float64, times of the query's windows) of some vectors and one query."""
        own = self._queries[query]
        vectors = vectors.astype(np.float64)
        found = vectors @ own.vectors.T
        found = (found / np.sqrt((vectors**2).sum(axis=1, keepdims=True))).round(DIGITS)
        times = [None if np.isnan(time) else float(time) for time in own.start_s]
        return found.max(axis=1).tolist(), [times[place] for place in found.argmax(axis=1)]

    def _cosines(self, vectors: np.ndarray) -> np.ndarray:
        """float32 `(rows, query vectors)`; minus infinity for a row that has no direction."""
        vectors = vectors.astype(np.float32, copy=False)
        lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            found = (vectors @ self._columns) / lengths[:, np.newaxis]
        known = np.isfinite(lengths) & (lengths > 0)
        if not known.all():
            found[~known] = -np.inf
        return found

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
        least, k = self._best.least.copy(), self._search.k
        for query in np.flatnonzero(similarities.max(axis=0) >= least - NEARLY):
            rows = nearly_top(similarities[:, query], k, least[query])
            if len(rows):
                yield int(query), rows
