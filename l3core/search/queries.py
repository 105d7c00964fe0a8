"""What neighbours are looked for: clips of the table, times in a clip, or new recordings."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np

from l3core import storage
from l3core.audio import Recording
from l3core.embedding import Embedder
from l3core.errors import AudioError, TableError, UsageError, WeightsError
from l3core.pinned import open_pinned
from l3core.search.clips import clip_facts
from l3core.search.ranking import MOST_WINDOWS, Query
from l3core.search.vectors import Group, Partition, Rows, directions, map_groups, read_group
from l3core.segments import Segment
from l3core.spec import EmbeddingSpec
from l3core.table.layout import TablePaths
from l3core.table.row_groups import vector_size
from l3core.table.state import read_spec
from l3core.weights import read_weights

MOST_BYTES = 512 * 2**20  # of all queries' vectors
SILENT_HINT = "--silent counts silent windows, too"


class _Piece(NamedTuple):
    """Rows of one clip: see `Rows`."""

    clip_id: str
    window: np.ndarray
    start_s: np.ndarray
    silent: np.ndarray
    vectors: np.ndarray


def clip_queries(partition: Partition, clips: Sequence[str], *, by: str) -> list[Query]:
    """Queries of clips that are in the table.

    Args:
        partition: of which table and spec.
        clips: ids.
        by: `mean` or `window`.

    Raises:
        TableError: no such clip, or one without windows that count.
    """
    facts = clip_facts(partition, clips)
    if by == "window":
        size = vector_size(partition.paths, partition.state, partition.fingerprint)
        _hold_windows({clip: facts[clip].windows_written for clip in clips}, size)
    sums: dict[str, np.ndarray] = {}
    pieces: dict[str, list[_Piece]] = {clip: [] for clip in clips}
    for piece in _read(partition, clips):
        if by == "window":
            pieces[piece.clip_id].append(piece)
        else:
            total = piece.vectors.sum(axis=0, dtype=np.float64)
            sums[piece.clip_id] = sums.get(piece.clip_id, 0.0) + total
    if by == "mean":
        return [_mean(clip, clip, sums.get(clip)) for clip in clips]
    return [_windows(clip, clip, pieces[clip]) for clip in clips]


def time_queries(partition: Partition, clip: str, times_s: Sequence[float]) -> list[Query]:
    """Queries of times in a clip: each is the window whose middle is nearest, of equals the first.

    Raises:
        TableError: no such clip, or a time outside of it.
    """
    facts = clip_facts(partition, [clip])[clip]
    spec, _ = table_spec(partition.paths, partition.fingerprint)
    half_s = spec.window_grid.window_samples / spec.sample_rate_hz / 2
    for time_s in times_s:
        if facts.duration_s is not None and not 0 <= time_s <= facts.duration_s:
            raise TableError(f"--at {time_s:g}: outside of {clip!r}, which lasts {facts.duration_s:g} s")
    best: list[tuple[float, float, bool, np.ndarray] | None] = [None] * len(times_s)
    for piece in _read(replace(partition, silent=True), [clip]):
        for place, time_s in enumerate(times_s):
            away = np.abs(piece.start_s + half_s - time_s)
            row = int(away.argmin())
            found = float(away[row]), float(piece.start_s[row]), bool(piece.silent[row])
            last = best[place]
            if last is None or found[:2] < last[:2]:
                best[place] = (*found, piece.vectors[row])
    queries = []
    for time_s, nearest in zip(times_s, best):
        assert nearest is not None  # the ledger says that it has windows
        _, start_s, silent, vector = nearest
        if silent and not partition.silent:
            raise TableError(f"--at {time_s:g}: {clip!r} is silent there: {SILENT_HINT}")
        name = f"{clip} at {time_s:g} s"
        queries.append(_query(name, clip, vector[np.newaxis], np.array([start_s])))
    return queries


def table_spec(paths: TablePaths, fingerprint: str) -> tuple[EmbeddingSpec, str]:
    """(the spec, the digest of its weights) of a partition.

    Raises:
        TableError: this version does not know it.
    """
    content = read_spec(paths, fingerprint)
    try:
        return EmbeddingSpec(**content["spec"]), str(content["weights_digest"])
    except (KeyError, TypeError, UsageError) as error:
        problem = f"is no spec that this l3flow knows: {error}"
        raise TableError(f"{paths.spec(fingerprint)} {problem}") from None


def table_embedder(paths: TablePaths, fingerprint: str) -> Embedder:
    """The embedder of a partition, with the table's own copy of its weights.

    Raises:
        TableError: the copy is missing or damaged.
    """
    spec, digest = table_spec(paths, fingerprint)
    place = paths.weights(digest)
    try:
        weights = read_weights(storage.read_bytes(place), spec, name=place)
    except FileNotFoundError:
        raise TableError(f"{place} is missing: see l3flow verify") from None
    except WeightsError as error:
        raise TableError(f"{error}: see l3flow verify") from None
    if weights.digest != digest:
        raise TableError(f"{place} is damaged, its digest is another: see l3flow verify")
    return Embedder(spec, weights=weights)


def file_query(embedder: Embedder, file: str, *, by: str, silent: bool) -> Query:
    """The query of a new recording, read and embedded segment by segment.

    Args:
        embedder: the table's.
        file: path or URI.
        by: `mean` or `window`.
        silent: whether its silent windows count, too.

    Raises:
        UsageError: no such file, no audio, cut off, or nothing but silence.
    """
    pieces: list[_Piece] = []
    total, done = None, 0
    found = storage.named(file)
    if found.absent:
        raise UsageError(f"--file {file}: there is no such file")
    with ExitStack() as stack:
        try:
            audio = stack.enter_context(open_pinned(found))
            recording = stack.enter_context(Recording(audio))
            count = embedder.window_count(recording.info)
            if by == "window":
                _hold_windows({file: count}, embedder.spec.size)
            segments: Iterator[tuple[None, Segment]] = (
                (None, segment) for segment in embedder.segments(recording)
            )
            for _, vectors, quiet in embedder.embed_segments(segments):
                kept = np.ones(len(quiet), bool) if silent else ~quiet
                windows = range(done, done + len(quiet))
                done += len(quiet)
                start_s = embedder.start_s(recording.info, windows)
                if by == "window":
                    numbers = np.array(windows)[kept]
                    pieces.append(_Piece(file, numbers, start_s[kept], quiet[kept], vectors[kept]))
                elif kept.any():
                    total = (0.0 if total is None else total) + vectors[kept].sum(0, np.float64)
        except AudioError as error:
            raise UsageError(f"--file {file}: {error.status}: {error}") from None
    return _mean(file, None, total) if by == "mean" else _windows(file, None, pieces)


def _hold_windows(counts: dict[str, int], size: int) -> None:
    for name, count in counts.items():
        if count > MOST_WINDOWS:
            raise UsageError(
                f"--by window: {name} has {count} windows, a query may have {MOST_WINDOWS}: "
                "--by mean, or --at for some of them"
            )
    if 8 * size * sum(counts.values()) > MOST_BYTES:
        most = MOST_BYTES // (8 * size)
        raise UsageError(
            f"--by window: the clips have {sum(counts.values())} windows, at once there may be {most}: "
            "fewer clips, or --by mean"
        )


def _read(partition: Partition, clips: Sequence[str]) -> Iterator[_Piece]:
    """Rows of some clips, in no order."""
    for pieces in map_groups(partition, partial(_pieces, partition, frozenset(clips)), clips):
        yield from pieces


def _pieces(partition: Partition, clips: frozenset[str], group: Group) -> list[_Piece]:
    return [piece for rows in read_group(partition, group) for piece in _pieces_of(rows, clips)]


def _pieces_of(rows: Rows, clips: frozenset[str]) -> Iterator[_Piece]:
    for clip, begin, end in zip(rows.clips, rows.begins, rows.ends):
        if clip in clips:
            own = slice(begin, end)
            # a copy: the rows of the whole group would stay in memory with it
            vectors = rows.vectors[own].copy()
            yield _Piece(clip, rows.window[own], rows.start_s[own], rows.silent[own], vectors)


def _mean(name: str, clip: str | None, total: np.ndarray | None) -> Query:
    if total is None:
        raise TableError(f"{name!r} has only silent windows: {SILENT_HINT}")
    return _query(name, clip, total[np.newaxis], np.array([np.nan]))


def _windows(name: str, clip: str | None, pieces: Sequence[_Piece]) -> Query:
    if not sum(len(piece.vectors) for piece in pieces):
        raise TableError(f"{name!r} has only silent windows: {SILENT_HINT}")
    order = np.argsort(np.concatenate([piece.window for piece in pieces]), kind="stable")
    vectors = np.concatenate([piece.vectors for piece in pieces])[order]
    return _query(name, clip, vectors, np.concatenate([piece.start_s for piece in pieces])[order])


def _query(name: str, clip: str | None, vectors: np.ndarray, start_s: np.ndarray) -> Query:
    found = directions(vectors)
    known = found.any(axis=1)
    if not known.any():
        raise TableError(f"{name!r} has no direction: its embedding is zero or not finite")
    return Query(name, clip, found[known], start_s[known])
