"""Manifests of a run's finished shards, put together to ledger rows."""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from l3core import storage
from l3core.ahead import map_ahead
from l3core.errors import RunError
from l3core.table.json_objects import read_json
from l3core.table.layout import GONE, TRANSIENT, WITH_WINDOWS, LedgerRow, TablePaths
from l3core.table.planned import Plan, ShardPlan

# A manifest of 5,000 clips takes 8 MB: twice as many as there are readers are in memory.
READERS = 4
# Of a run that failed: finished shards that are looked into, and bad recordings that are named.
LOOKED_AT = 64
NAMED = 5

# Sees a manifest that is read for its rows: reading all of a large run takes minutes.
Look = Callable[[dict[str, Any]], None]


class Joined(NamedTuple):
    """What became of a recording, from its pieces.

    Attributes:
        row: its ledger row.
        end: window behind its last one, if pieces behind it have some all the same; None if none have.
        beyond: files that hold those.
    """

    row: LedgerRow
    end: int | None = None
    beyond: tuple[str, ...] = ()

    @property
    def clip_id(self) -> str:
        """Of the recording."""
        return self.row.clip_id


class PieceRow(NamedTuple):
    """A piece's part of a ledger row, and the recording's window that it begins with."""

    row: LedgerRow
    first_window: int


def join_pieces(pieces: Iterable[PieceRow]) -> Joined:
    """Put the pieces of a recording together, as if it had been read in one go.

    What went wrong first ends it: windows of pieces behind are as if they had never been read. What may
    pass counts for all of it, wherever it was met.
    """
    ordered = list(pieces)
    if len(ordered) == 1:  # most recordings: there is nothing to add up
        return Joined(ordered[0].row)
    ordered.sort(key=lambda piece: piece.first_window)
    rows = [piece.row for piece in ordered]
    bad = [number for number, row in enumerate(rows) if row.status != "ok"]
    passing = [number for number in bad if rows[number].status in TRANSIENT]
    if not bad:
        return Joined(_sum(rows, rows[0], rows))
    says = rows[(passing or bad)[0]]
    if says.status not in WITH_WINDOWS:
        return Joined(_sum(rows, says, rows))
    # a header that lies is told with every piece; what counts is the first that lacks windows
    short = (number for number, row in enumerate(rows) if row.windows_written < row.windows_expected)
    first = next(short, len(rows) - 1)
    behind = tuple(dict.fromkeys(file for row in rows[first + 1 :] for file in row.files))
    end = ordered[first].first_window + rows[first].windows_written
    row = _sum(rows[: first + 1], says, rows)
    return Joined(row, end if behind else None, behind)


def _sum(kept: Sequence[LedgerRow], says: LedgerRow, every: Sequence[LedgerRow]) -> LedgerRow:
    return replace(
        says,
        checksum=next((row.checksum for row in every if row.checksum), None),
        windows_expected=sum(row.windows_expected for row in every),
        windows_written=sum(row.windows_written for row in kept),
        files=tuple(dict.fromkeys(file for row in kept for file in row.files)),
    )


def merge_rows(paths: TablePaths, plan: Plan, look: Look = lambda manifest: None) -> Iterator[PieceRow]:
    """Rows of all manifests by clip id; those that overlap, and a few ahead, are in memory together.

    Args:
        paths: of the table.
        plan: of the run.
        look: called with each manifest.
    """
    active: list[tuple[str, int, list[PieceRow]]] = []
    waiting = list(reversed(plan.shards))  # sorted by first clip
    manifests = read_manifests(paths, plan)
    order = 0
    while active or waiting:
        while waiting and (not active or waiting[-1].first_clip <= active[0][0]):
            waiting.pop()
            manifest = next(manifests)
            look(manifest)
            clips = zip(map(LedgerRow.from_json, manifest["clips"]), manifest["pieces"])
            rows = [PieceRow(row, key[3]) for row, key in clips]
            rows.reverse()
            heapq.heappush(active, (rows[-1].row.clip_id, order, rows))
            order += 1
        _, tie, rows = heapq.heappop(active)
        yield rows.pop()
        if rows:
            heapq.heappush(active, (rows[-1].row.clip_id, tie, rows))


def read_manifests(paths: TablePaths, plan: Plan) -> Iterator[dict[str, Any]]:
    """The manifests of a plan's shards, in their order.

    Raises:
        RunError: a shard is not finished, or does not account for all of its pieces.
    """
    return map_ahead(partial(_read_manifest, paths, plan), plan.shards, threads=READERS)


def _read_manifest(paths: TablePaths, plan: Plan, shard: ShardPlan) -> dict[str, Any]:
    uri = paths.staging(plan.run_id, "done", f"{shard.name}.json")
    try:
        manifest = read_json(uri)
    except FileNotFoundError:
        raise RunError(f"shard {shard.name} was not finished; run it again") from None
    if len(manifest["clips"]) != shard.pieces:
        raise RunError(
            f"shard {shard.name} accounts for {len(manifest['clips'])} of {shard.pieces} pieces"
        )
    return manifest


class Found(NamedTuple):
    """What an unfinished run has found out.

    Attributes:
        clips: status -> recordings, of at most the first `LOOKED_AT` finished shards.
        bad: the first few that are not all right: `clip_id`, `status`, `error`.
        unfinished: whether shards are left to do.
    """

    clips: dict[str, int]
    bad: list[dict[str, str]]
    unfinished: bool


def found_so_far(paths: TablePaths, plan: Plan) -> Found:
    """What the finished shards of a run say of their recordings."""
    folder = storage.join(paths.staging(plan.run_id), "done")
    names = storage.names_below(folder, suffix=".json")
    clips: Counter[str] = Counter()
    bad: list[dict[str, str]] = []
    for row in _rows(folder, names[:LOOKED_AT]):
        clips[row["status"]] += 1
        if row["status"] not in ("ok", GONE) and len(bad) < NAMED:
            bad.append({name: str(row[name]) for name in ("clip_id", "status", "error")})
    unfinished = not {f"{shard.name}.json" for shard in plan.shards} <= set(names)
    return Found(dict(clips), bad, unfinished)


def _rows(folder: str, names: list[str]) -> Iterator[dict[str, Any]]:
    for manifest in map_ahead(partial(_read, folder), names, threads=READERS):
        for row, key in zip(manifest["clips"], manifest["pieces"]):
            if key[3] == 0:  # the first piece of a recording stands for it
                yield row


def _read(folder: str, name: str) -> dict[str, Any]:
    return read_json(storage.join(folder, name))
