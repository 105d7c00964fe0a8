"""What a run changes in the ledger: a row for each clip that it embedded, or only has a note of.

Plain rules, one clip at a time: which row it gets (`settle`), which files lose its windows (`drops`).
"""

import heapq
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from itertools import groupby

from l3core.table.delta import BACK, PRUNED, SEEN, VANISHED, Note
from l3core.table.layout import GONE, TRANSIENT, WITH_WINDOWS, LedgerRow, TablePaths
from l3core.table.manifests import Joined, Look, join_pieces, merge_rows
from l3core.table.planned import Plan, load_notes

# A recording that was embedded, or a note.
Change = Joined | Note


def run_changes(paths: TablePaths, plan: Plan, look: Look = lambda manifest: None) -> Iterator[Change]:
    """All changes of a run whose shards are done, one a clip, sorted by clip id; see `merge_rows`."""
    pieces = groupby(merge_rows(paths, plan, look), key=lambda piece: piece.row.clip_id)
    rows: Iterator[Change] = (join_pieces(group) for _, group in pieces)
    notes: Iterator[Change] = load_notes(paths, plan.run_id)
    return heapq.merge(rows, notes, key=lambda change: change.clip_id)


def settle(change: Change, old: LedgerRow | None, plan: Plan) -> LedgerRow:
    """The row that a clip has after the run.

    Args:
        change: what the run says.
        old: the row before; None for a new clip.
        plan: of the run.
    """
    if isinstance(change, Note):
        return _settle_note(change, old, plan)
    new = change.row
    if _keeps_old(new, old):
        assert old is not None
        # the good windows and their version stay, so the next run sees another version and tries again
        return replace(old, status=_good(old), error=f"{new.status}: {new.error}")
    if new.status not in WITH_WINDOWS:
        return replace(new, windows_written=0, files=())
    return new


def drops(change: Change, old: LedgerRow | None) -> list[tuple[str, int]]:
    """(windows file, window) of a clip: its rows there from that window on are not current any more."""
    if isinstance(change, Note):
        return [(file, 0) for file in old.files] if old is not None and change.kind == PRUNED else []
    new = change.row
    replaced = () if old is None or _keeps_old(new, old) else old.files
    failed = () if new.status in WITH_WINDOWS else (*new.files, *change.beyond)
    beyond = change.beyond if new.status in WITH_WINDOWS else ()
    return [*((file, 0) for file in (*replaced, *failed)), *((file, change.end or 0) for file in beyond)]


def _keeps_old(new: LedgerRow, old: LedgerRow | None) -> bool:
    """Whether a try that failed for a reason that passes leaves good windows in place."""
    return old is not None and old.windows_written > 0 and new.status in TRANSIENT


def _good(row: LedgerRow) -> str:
    """The status of a row that has windows and whose object is there."""
    return "ok" if row.windows_written == row.windows_expected else "truncated"


def _settle_note(note: Note, old: LedgerRow | None, plan: Plan) -> LedgerRow:
    if note.kind == VANISHED:
        return LedgerRow(
            clip_id=note.clip_id,
            uri=note.uri,
            size_bytes=0,
            version="",
            status=VANISHED,
            error="named by the input, and not there",
            run_id=plan.run_id,
            embedded_at=datetime.fromisoformat(plan.started_at),
        )
    assert old is not None
    if note.kind in (SEEN, BACK):
        status, error = (_good(old), None) if note.kind == BACK else (old.status, old.error)
        return replace(
            old,
            uri=note.uri,
            version=note.version,
            checksum=note.checksum or old.checksum,
            status=status,
            error=error,
        )
    gone = replace(old, status=GONE, error=f"not there when run {plan.run_id} looked for it")
    return replace(gone, windows_written=0, files=()) if note.kind == PRUNED else gone
