"""Planning a run: what must be embedded, cut into shards of about equal work.

Listing and ledger, both sorted, are merged as streams; what has to be done is cut into pieces at fixed
places of each recording, finished shards of dead runs are adopted, and the rest becomes shard files in
the run's staging folder. Neither the launcher nor a runner ever holds the corpus.
"""

import json
import tempfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import IO

from l3core import storage
from l3core.ahead import map_ahead
from l3core.errors import RunError, UsageError
from l3core.spec import EmbeddingSpec
from l3core.storage import StoredObject
from l3core.stores import is_remote
from l3core.table.adopt import (
    TRIED_AGAIN,
    FinishedShard,
    adopt,
    claim_staging,
    dead_runs,
    emptied,
    finished_shards,
    remove_staging,
    whole_shards,
    with_shards,
)
from l3core.table.delta import Note, Rules, Tally, Work, find_work
from l3core.table.failed import note_silent
from l3core.table.journal import fence
from l3core.table.json_objects import write_json
from l3core.table.layout import TablePaths
from l3core.table.ledger import read_known
from l3core.table.limits import Limits
from l3core.table.lock import lost_to
from l3core.table.pieces import Piece, cut_pieces, key_of, shard_windows
from l3core.table.planned import Plan, ShardPlan, write_notes
from l3core.table.reference import reference_of
from l3core.table.state import TableState

SHARD_CLIPS = 5000
# Of a small run and worker, so that a killed one can be adopted in parts. In a store each costs some
# requests, one after the other.
SHARDS_WANTED = 16
SHARDS_WANTED_IN_STORE = 4


def make_plan(
    paths: TablePaths,
    state: TableState,
    listing: Iterable[StoredObject],
    *,
    spec: EmbeddingSpec,
    weights_digest: str,
    root: str,
    run_id: str,
    started_at: str,
    rules: Rules | None = None,
    limits: Limits | None = None,
    workers: int = 1,
    compact: bool | None = None,
) -> Plan:
    """Plan a run and write it to its staging folder; with nothing to do there is none.

    The caller holds the partition's lock.

    Args:
        paths: of the table.
        state: its last commit, published.
        listing: the input, sorted by URI.
        spec: what to embed.
        weights_digest: of the weights.
        root: clip ids are paths below it.
        run_id: of this run.
        started_at: ISO time.
        rules: how to decide what has to be done; None for the defaults.
        limits: what may be pruned and rewritten; None for the defaults.
        workers: that embed side by side: each has one shard in its hands that is lost with it.
        compact: write compact vectors; None: if the partition has some.

    Raises:
        UsageError: an object that is not below `root`, or more to prune or to rewrite than is allowed.
        RunError: another run changed the table meanwhile.
    """
    fingerprint = spec.fingerprint(weights_digest)
    tally = Tally()
    work = find_work(
        read_known(paths, state.ledger(fingerprint)),
        listing,
        root=root,
        rules=rules or Rules(),
        tally=tally,
    )
    # both lists go through files, because the first is read twice and they may not fit in memory
    with _spool_file() as pieces, _spool_file() as notes:
        total = _spool(cut_pieces(_works(work, notes), spec), pieces)
        limits = limits or Limits()
        to_rewrite = limits.check(state, fingerprint, tally)
        if owner := lost_to(paths, fingerprint, run_id):  # before it is thought to be a dead one
            raise RunError(f"run {owner} has taken over from this one, which was silent for too long")
        dead = dead_runs(paths, run_id, fingerprint)
        if dead:
            state = fence(paths, state, fingerprint, run_id, root)
            note_silent(paths, fingerprint, dead)
        plan = Plan(
            run_id=run_id,
            base=state.commits,
            fingerprint=fingerprint,
            spec=spec.to_dict(),
            weights_digest=weights_digest,
            identity=spec.identity(weights_digest),
            root=root,
            counts=dict(tally.counts),
            gone=tally.gone,
            pruned=tally.pruned_clips,
            to_rewrite=to_rewrite,
            max_storage_errors=limits.max_storage_errors.of(tally.to_embed),
            max_unreadable=limits.max_unreadable and limits.max_unreadable.of(tally.to_embed),
            compact=has_compact(state, fingerprint) if compact is None else compact,
            dead=tuple(dead),
            noted=notes.tell() > 0,
            empty=not (total or notes.tell()) and state.root is not None,
            started_at=started_at,
        )
        if plan.empty:
            remove_staging(paths, dead)
            return plan
        target = min(shard_windows(spec), max(1, -(-total // (shards_wanted(paths) * workers))))
        doubtful = limits.max_unreadable is not None or (rules and rules.retry_unreadable)
        again = TRIED_AGAIN | ({"unreadable"} if doubtful else set())
        return _stage(paths, plan, pieces, notes, target, again)


def has_compact(state: TableState, fingerprint: str) -> bool:
    """Whether some of a partition's vectors are compact: so a table remembers how it is written."""
    return any(state.files[path].get("compact", False) for path in state.windows(fingerprint))


def shards_wanted(paths: TablePaths) -> int:
    """Into how many shards a small run of one worker is cut."""
    return min(SHARDS_WANTED, SHARDS_WANTED_IN_STORE) if is_remote(paths.root) else SHARDS_WANTED


def _stage(
    paths: TablePaths,
    plan: Plan,
    pieces: IO[str],
    notes: IO[str],
    target: int,
    again: Collection[str],
) -> Plan:
    """Write the staging folder: shards of about `target` windows, and those of dead runs taken over."""
    claim_staging(paths, plan.run_id, plan.fingerprint, plan.root)
    reference = reference_of(paths, plan.fingerprint) if plan.dead else None
    finished = finished_shards(paths, plan.root, plan.dead, again, reference)
    finished = whole_shards(paths, finished, _unspool(pieces), key_of)
    owned = with_shards(paths, finished, _unspool(pieces), key_of)
    rest = (piece for piece, shard in owned if shard is None)
    shards = list(_write_shards(paths, plan.run_id, rest, target))
    shards += map(_adopted, adopt(paths, plan.run_id, finished), finished)
    write_notes(paths, plan.run_id, notes)
    plan = replace(plan, shards=tuple(sorted(shards, key=lambda shard: shard.first_clip)))
    write_json(paths.staging(plan.run_id, "plan.json"), plan.to_json())
    with suppress(OSError, UsageError):  # the commit tries again
        remove_staging(paths, emptied(paths, plan.dead))
    return plan


def _spool_file() -> IO[str]:
    return tempfile.TemporaryFile("w+", encoding="utf-8")


def _works(items: Iterable[Work | Note], notes: IO[str]) -> Iterator[Work]:
    """The work of both; the notes are written down."""
    for item in items:
        if isinstance(item, Work):
            yield item
        else:
            notes.write(json.dumps(item) + "\n")


def _spool(pieces: Iterable[Piece], spool: IO[str]) -> int:
    total = 0
    for piece in pieces:
        spool.write(json.dumps(piece) + "\n")
        total += piece.estimate
    return total


def _unspool(spool: IO[str]) -> Iterator[Piece]:
    spool.seek(0)
    for line in spool:
        yield Piece(*json.loads(line))


def _write_shards(
    paths: TablePaths, run_id: str, pieces: Iterable[Piece], target: int
) -> Iterator[ShardPlan]:
    return map_ahead(partial(_write_shard, paths, run_id), enumerate(_filled(pieces, target)))


def _filled(pieces: Iterable[Piece], target: int) -> Iterator[list[Piece]]:
    """Pieces shared out, in shards of about `target` windows."""
    shard: list[Piece] = []
    filled = 0
    for piece in pieces:
        if shard and (filled + piece.estimate > target or len(shard) >= SHARD_CLIPS):
            yield shard
            shard, filled = [], 0
        shard.append(piece)
        filled += piece.estimate
    if shard:
        yield shard


def _write_shard(paths: TablePaths, run_id: str, shard: tuple[int, list[Piece]]) -> ShardPlan:
    number, pieces = shard
    name = f"{number:06d}"
    uri = paths.staging(run_id, "shards", f"{name}.json")
    storage.write_bytes(uri, json.dumps(pieces).encode())
    return ShardPlan(
        name=name,
        first_clip=pieces[0].clip_id,
        pieces=len(pieces),
        estimate=sum(piece.estimate for piece in pieces),
    )


def _adopted(name: str, shard: FinishedShard) -> ShardPlan:
    return ShardPlan(
        name=name, first_clip=shard.first_clip, pieces=shard.pieces, estimate=0, adopted=True
    )
