"""Nearest neighbours by an index: some are missed, and what is read does not grow with the table."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from l3core.search.index_files import (
    IndexFacts,
    current_facts,
    faiss_module,
    loaded,
    own_places,
    read_keys,
)
from l3core.search.ranking import DIGITS, Best, Neighbour, Query, Search
from l3core.search.vectors import Partition


def nearest_by_index(
    partition: Partition, queries: Sequence[Query], search: Search
) -> list[list[Neighbour]]:
    """The same as `l3core.search.exact.nearest`, nearly: by the index of clips or of windows.

    Raises:
        TableError: there is no such index, or it is stale or damaged.
        UsageError: FAISS is not installed.
    """
    facts = current_facts(partition, "clips" if search.of_means else "windows")
    clips = [] if search.itself else [query.clip_id for query in queries if query.clip_id is not None]
    own = own_places(partition, facts, clips)
    best = Best(len(queries), search.k, per_clip=search.per == "clip")
    with loaded(partition, facts) as index:
        for place, query in enumerate(queries):
            without = own.get(query.clip_id or "", [])
            best.add(place, _neighbours(partition, facts, index, query, search, without))
    return best.lists()


def search_index(
    index: Any, vectors: np.ndarray, k: int, *, probes: int, without: Sequence[int] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """(similarities, places), each `(vectors, k)`; a place is -1 where nothing more was found.

    Args:
        index: of FAISS.
        vectors: float32 `(vectors, d)` of length 1.
        k: neighbours of each.
        probes: lists to read.
        without: places that shall not be found.
    """
    faiss = faiss_module()
    options: dict[str, Any] = {"nprobe": probes}
    if len(without):
        unwanted = faiss.IDSelectorBatch(np.asarray(without, np.int64))
        options["sel"] = faiss.IDSelectorNot(unwanted)
    return index.search(vectors, k, params=faiss.SearchParametersIVF(**options))


def _neighbours(
    partition: Partition,
    facts: IndexFacts,
    index: Any,
    query: Query,
    search: Search,
    without: Sequence[int],
) -> list[Neighbour]:
    """Neighbours of one query: so many windows that each of its own meets `k` clips."""
    asked = search.k
    while True:
        asked = min(asked, facts.vectors)
        similarities, places = search_index(
            index, query.vectors.astype(np.float32), asked, probes=facts.probes, without=without
        )
        keys = read_keys(partition, facts, {int(place) for place in places.ravel() if place >= 0})
        if search.per == "window" or asked == facts.vectors or _enough(places, keys, search.k):
            break
        asked *= 4
    found = []
    for row, column in np.argwhere(places >= 0):
        key, start_s = keys[int(places[row, column])], float(query.start_s[row])
        similarity = round(float(similarities[row, column]), DIGITS)
        time = None if np.isnan(start_s) else start_s
        found.append(Neighbour(similarity, key["clip_id"], key["window"], key["start_s"], time))
    return _once(found)


def _enough(places: np.ndarray, keys: Mapping[int, Mapping[str, Any]], k: int) -> bool:
    """Whether each query window has met so many clips, or all that its lists hold."""
    return all(row[-1] < 0 or len({keys[int(place)]["clip_id"] for place in row}) >= k for row in places)


def _once(found: Sequence[Neighbour]) -> list[Neighbour]:
    """Each window once, with the query's window that it is most similar to."""
    best: dict[tuple[str, int | None], Neighbour] = {}
    for one in sorted(found, key=lambda one: -one.similarity):
        best.setdefault((one.clip_id, one.window), one)
    return list(best.values())
