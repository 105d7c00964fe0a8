"""Manifests of a run's finished shards, put together to ledger rows."""

import heapq
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from l3core import storage
from l3core.errors import RunError
from l3core.table.layout import WITH_WINDOWS, LedgerRow, TablePaths
from l3core.table.plan import Plan, ShardPlan


def join_pieces(pieces: list[LedgerRow]) -> LedgerRow:
    """The row of a recording from those of its pieces: the first trouble counts for all of it."""
    worst = next((piece for piece in pieces if piece.status not in WITH_WINDOWS), None)
    worst = worst or next((piece for piece in pieces if piece.error), pieces[0])
    return replace(
        worst,
        windows_expected=sum(piece.windows_expected for piece in pieces),
        windows_written=sum(piece.windows_written for piece in pieces),
        checksum=next((piece.checksum for piece in pieces if piece.checksum), None),
        files=tuple(dict.fromkeys(file for piece in pieces for file in piece.files)),
    )


def merge_rows(paths: TablePaths, plan: Plan) -> Iterator[LedgerRow]:
    """Rows of all manifests by clip id; only manifests that overlap are in memory together."""
    active: list[tuple[str, int, list[LedgerRow]]] = []
    waiting = list(reversed(plan.shards))  # sorted by first clip
    order = 0
    while active or waiting:
        while waiting and (not active or waiting[-1].first_clip <= active[0][0]):
            shard = waiting.pop()
            rows = [LedgerRow.from_json(row) for row in read_manifest(paths, plan, shard)["clips"]]
            rows.reverse()
            heapq.heappush(active, (rows[-1].clip_id, order, rows))
            order += 1
        _, tie, rows = heapq.heappop(active)
        yield rows.pop()
        if rows:
            heapq.heappush(active, (rows[-1].clip_id, tie, rows))


def read_manifest(paths: TablePaths, plan: Plan, shard: ShardPlan) -> dict[str, Any]:
    """The manifest of a finished shard.

    Raises:
        RunError: the shard is not finished, or does not account for all of its pieces.
    """
    uri = storage.join(paths.staging(plan.run_id), "done", f"{shard.name}.json")
    try:
        manifest = json.loads(storage.read_bytes(uri))
    except FileNotFoundError:
        raise RunError(f"shard {shard.name} was not finished; run it again") from None
    if len(manifest["clips"]) != shard.pieces:
        raise RunError(
            f"shard {shard.name} accounts for {len(manifest['clips'])} of {shard.pieces} pieces"
        )
    return manifest
