"""What is done to a table besides embedding: small files merged, its root moved, a spec dropped.

Each is one commit, as a run is, and holds the locks of the partitions that it is about.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from itertools import islice
from typing import Any

import pyarrow as pa

from l3core import storage
from l3core.errors import RunError, TableError, UsageError
from l3core.table.adopt import claim_staging, dead_runs, remove_staging
from l3core.table.build import Build, new_record
from l3core.table.journal import append, check_unchanged, publish, repair
from l3core.table.layout import LedgerRow, TablePaths, ledger_batch
from l3core.table.ledger import BATCH_ROWS, Moved, read_known, read_ledger, resettled
from l3core.table.lock import holding, owners, refuse_if_busy
from l3core.table.rewrite import choose_groups, current_sources, rewrite_files, write_rewrites
from l3core.table.state import TableState, existing_state, keep_index, read_spec

# Called with (rewrites done, rewrites to do) after each.
Report = Callable[[int, int], None]


def compact(
    paths: TablePaths, fingerprint: str, run_id: str, report: Report = lambda done, total: None
) -> dict[str, Any] | None:
    """Merge a partition's small windows files into files near the target size.

    Args:
        paths: of the table.
        fingerprint: of the partition.
        run_id: for this commit.
        report: told how far it is.

    Returns:
        The run record; None if there is nothing to merge.

    Raises:
        BusyError: a run is working on the partition.
    """
    started_at = _now()
    with holding(paths, fingerprint, run_id):
        state = repair(paths)
        groups = choose_groups(current_sources(state, fingerprint), (), all_small=True)
        if not groups:
            return None
        claim_staging(paths, run_id, fingerprint, state.root or "")
        build = Build(paths, state, run_id)
        names = write_rewrites(paths, run_id, groups)
        _rewrite(paths, build, names, report)
        build.update_ledger(fingerprint, iter(()))
        check = partial(check_unchanged, fingerprints=[fingerprint], base=state.commits, root=state.root)
        facts = {"fingerprint": fingerprint, "root": state.root, "command": "compact"}
        return _commit(paths, build, check, started_at, [fingerprint], facts)


def reroot(
    paths: TablePaths,
    root: str,
    run_id: str,
    *,
    moved: bool = False,
    report: Report = lambda done, total: None,
) -> dict[str, Any] | None:
    """Move a table's root in one commit.

    Where the new root is above or below the old one, the objects are where they were and clip ids become
    longer or shorter. Else, and with `moved`, the corpus was moved there: ids stay.

    Args:
        paths: of the table.
        root: the new one.
        run_id: for this commit.
        moved: the corpus was moved, although one root lies below the other.
        report: told how far it is.

    Returns:
        The run record; None if that is the root already.

    Raises:
        UsageError: some clips are not below the new root.
        BusyError: a run is working on the table.
        RunError: another run changed the table meanwhile.
    """
    started_at = _now()
    old = existing_state(paths).fingerprints
    with ExitStack() as locks:
        for fingerprint in old:
            locks.enter_context(holding(paths, fingerprint, run_id))
        state = repair(paths)
        if state.root is None or root == state.root:
            return None
        before, after = ("", "") if moved else renaming(state.root, root)
        if before:
            _check_below(paths, state, root, before)
        claim_staging(paths, run_id, "", root)
        build = Build(paths, state, run_id)
        if before or after:
            sources = [s for spec in state.fingerprints for s in current_sources(state, spec)]
            names = write_rewrites(paths, run_id, [[s] for s in sources], (before, after))
            _rewrite(paths, build, names, report)
        for fingerprint in state.fingerprints:
            rows = (
                _rerooted(row, root, before, after, build.moved)
                for row in read_ledger(paths, state.ledger(fingerprint))
            )
            build.write_ledger(fingerprint, _batches(rows))
        facts = {"fingerprint": "", "root": root, "command": "reroot"}
        check = partial(_check_nothing_happened, state.commits)
        return _commit(paths, build, check, started_at, state.fingerprints, facts)


def drop_spec(paths: TablePaths, fingerprint: str, run_id: str) -> dict[str, Any]:
    """Remove a partition, its spec, reference and indexes, and its weights if no other spec uses them.

    Returns:
        The run record.

    Raises:
        BusyError: a run is open on the table.
        TableError: there is no such partition any more.
    """
    started_at = _now()
    with holding(paths, fingerprint, run_id):
        for name in owners(paths):  # with the lock in hand: a run that starts now has to wait
            refuse_if_busy(paths, name, run_id)
        state = repair(paths)
        if fingerprint not in state.fingerprints:
            raise TableError(f"{fingerprint} is not in {paths.root} any more")
        build = Build(paths, state, run_id)
        build.removed += [*state.windows(fingerprint), *state.ledger(fingerprint)]

        def cleared(last: TableState) -> list[str]:
            found = [paths.spec(fingerprint), *_weights_of(paths, last, fingerprint)]
            if storage.is_object(paths.reference(fingerprint)):
                found.append(paths.reference(fingerprint))
            neighbours = paths.neighbours(fingerprint)
            found += [
                storage.join(neighbours, name) for name in storage.names_below(neighbours, suffix="")
            ]
            return [uri.removeprefix(paths.at("")) for uri in found]

        check = partial(check_unchanged, fingerprints=[fingerprint], base=state.commits, root=state.root)
        facts = {"fingerprint": fingerprint, "root": state.root, "command": "specs drop"}
        dead = dead_runs(paths, run_id, fingerprint)  # this commit is a fence for them
        return _commit(paths, build, check, started_at, [fingerprint], facts, cleared, dead)


def _rewrite(paths: TablePaths, build: Build, names: list[str], report: Report) -> None:
    for done, name in enumerate(names, 1):
        build.replace(rewrite_files(paths, build.run_id, name))
        report(done, len(names))


def _commit(
    paths: TablePaths,
    build: Build,
    check: Callable[[TableState], None],
    started_at: str,
    fingerprints: list[str],
    facts: dict[str, Any],
    cleared: Callable[[TableState], Sequence[str]] = lambda last: (),
    dead: Sequence[str] = (),
) -> dict[str, Any]:
    def entry(last: TableState) -> dict[str, Any]:
        number = last.commits + 1
        record = new_record(run_id=build.run_id, commit=number, started_at=started_at, **facts)
        return build.entry(record | {"fingerprints": fingerprints}, cleared=cleared(last))

    commit = append(paths, build.state, entry, check)
    publish(paths, commit)
    with suppress(OSError):  # it is committed, whatever cannot be cleared away
        keep_index(paths)
        remove_staging(paths, [build.run_id, *dead])
    return commit["record"]


def _check_nothing_happened(base: int, state: TableState) -> None:
    if state.commits != base:
        raise RunError("another run changed the table meanwhile: start it again")


def renaming(old: str, new: str) -> tuple[str, str]:
    """(beginning of every clip id, what another root makes of it); both empty if ids stay."""
    above, below = storage.beginning_below(old), storage.beginning_below(new)
    if above.startswith(below):
        return "", storage.as_text(above.removeprefix(below))
    if below.startswith(above):
        return storage.as_text(below.removeprefix(above)), ""
    return "", ""


def _check_below(paths: TablePaths, state: TableState, root: str, before: str) -> None:
    for fingerprint in state.fingerprints:
        for row in read_known(paths, state.ledger(fingerprint)):
            if not row.clip_id.startswith(before):
                raise UsageError(
                    f"--root {root}: {row.uri} is in the table and not below it; --moved if the corpus "
                    "was moved there"
                )


def _rerooted(
    row: LedgerRow, root: str, before: str, after: str, moved: dict[str, list[Moved]]
) -> LedgerRow:
    clip_id = after + row.clip_id.removeprefix(before)
    uri = storage.beginning_below(storage.as_text(root)) + clip_id
    return resettled(replace(row, clip_id=clip_id, uri=uri), moved)


def _batches(rows: Iterator[LedgerRow]) -> Iterator[pa.RecordBatch]:
    while batch := list(islice(rows, BATCH_ROWS)):
        yield ledger_batch(batch)


def _weights_of(paths: TablePaths, state: TableState, fingerprint: str) -> list[str]:
    """The table's copy of a spec's weights, if no other spec needs it."""
    digests = {name: read_spec(paths, name)["weights_digest"] for name in state.fingerprints}
    own = digests.pop(fingerprint)
    return [] if own in digests.values() else [paths.weights(own)]


def _now() -> str:
    return datetime.now(timezone.utc).isoformat()
