"""The best of what has been seen so far, for many queries at once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

# Equal vectors in different places of a product differ in the last digits, and copies of a clip shall
# come in the order of their names: what is nearly among the nearest by the product of all vectors
# (float32) is computed again (float64), and compared after rounding.
NEARLY = 1e-5
DIGITS = 9
# Windows of queries in one reading of the table: each is a column of the product with every vector.
MOST_WINDOWS = 4096


@dataclass(frozen=True, kw_only=True)
class Search:
    """What is asked for.

    Attributes:
        by: `mean`: of the query's windows, and of a clip's where clips are ranked; or `window`: the
            most similar pair of windows.
        per: what is ranked, `clip` or `window`.
        k: neighbours of each query.
        itself: whether a query's own clip may be among them.
    """

    by: str = "mean"
    per: str = "clip"
    k: int = 10
    itself: bool = False

    @property
    def of_means(self) -> bool:
        """Whether clip means are ranked, and not windows."""
        return (self.by, self.per) == ("mean", "clip")


class Query(NamedTuple):
    """What neighbours are looked for.

    Attributes:
        name: for people.
        clip_id: the clip that it is of; None for one that is not in the table.
        vectors: float64 `(windows, d)` of length 1: of its windows, or of their mean alone.
        start_s: float64 `(windows,)`; not a number for a mean.
    """

    name: str
    clip_id: str | None
    vectors: np.ndarray
    start_s: np.ndarray


class Neighbour(NamedTuple):
    """A clip or window that is near.

    Attributes:
        similarity: cosine, -1 to 1.
        clip_id: the clip.
        window, start_s: of the window; None for the mean of a clip.
        query_start_s: of the query's window; None for its mean.
    """

    similarity: float
    clip_id: str
    window: int | None = None
    start_s: float | None = None
    query_start_s: float | None = None


# Neighbours of some queries, by the query's place.
Found = dict[int, list[Neighbour]]


class Best:
    """The nearest so far, of each query.

    Args:
        count: queries.
        k: neighbours that are kept of each.
        per_clip: a clip is kept once, with its most similar window.

    Attributes:
        least: float64 `(count,)`: what is less similar need not be given any more. Read by threads.
    """

    def __init__(self, count: int, k: int, *, per_clip: bool) -> None:
        self.least = np.full(count, -np.inf)
        self._found: list[list[Neighbour]] = [[] for _ in range(count)]
        self._k, self._per_clip = k, per_clip

    def add(self, query: int, found: Iterable[Neighbour]) -> None:
        """Neighbours of one query."""
        merged = sorted([*self._found[query], *found], key=_order)
        if self._per_clip:
            first: dict[str, Neighbour] = {}
            for neighbour in merged:
                first.setdefault(neighbour.clip_id, neighbour)
            merged = list(first.values())
        self._found[query] = merged[: self._k]
        if len(merged) >= self._k:
            self.least[query] = merged[self._k - 1].similarity

    def add_all(self, found: Found) -> None:
        """Neighbours of some queries."""
        for query, neighbours in found.items():
            self.add(query, neighbours)

    def lists(self) -> list[list[Neighbour]]:
        """The neighbours of each query, the nearest first."""
        return self._found


def _order(neighbour: Neighbour) -> tuple[float, str, int]:
    return -neighbour.similarity, neighbour.clip_id, neighbour.window or 0


def nearly_top(similarities: np.ndarray, k: int, least: float) -> np.ndarray:
    """Places of the largest numbers and of those that may be as large, int64, ascending.

    Args:
        similarities: `(n,)`; minus infinity where there is none.
        k: how many of the largest.
        least: only of numbers that may be as large as this one.
    """
    places = np.flatnonzero((similarities >= least - NEARLY) & (similarities > -np.inf))
    if len(places) <= k:
        return places
    values = similarities[places]
    return places[values >= -np.partition(-values, k - 1)[k - 1] - NEARLY]


def stacked(queries: Sequence[Query]) -> tuple[np.ndarray, np.ndarray]:
    """(vectors of all queries, float32; where each query's begin, and where the last end)."""
    ends = np.cumsum([0, *(len(query.vectors) for query in queries)])
    return np.concatenate([query.vectors for query in queries]).astype(np.float32), ends
