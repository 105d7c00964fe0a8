"""Mending a table after whatever happened: what `l3flow repair` does, and every run does in part."""

from collections.abc import Iterator

from l3core import storage
from l3core.errors import BusyError
from l3core.table.adopt import dead_runs, owner_of, remove_staging
from l3core.table.layout import LAYOUT_VERSION, TablePaths
from l3core.table.lock import owners, refuse_if_busy
from l3core.table.state import (
    fence,
    journal_entries,
    keep_index,
    load_state,
    repair,
    write_json,
)


def mend(paths: TablePaths, run_id: str) -> Iterator[str]:
    """Finish what was begun and remove what nobody can use; says each thing that it did.

    A commit that was journalled is published. What the journal tells and is missing is written again:
    table.json, specs, run records. While a run is open nothing else is touched; else files that no
    commit has, staging folders that nobody can adopt and locks of dead runs are removed.

    Args:
        paths: of the table.
        run_id: names this repair in the lock folder.
    """
    pending = load_state(paths).pending
    if pending is not None:
        repair(paths)
        yield f"finished publishing run {pending['record']['run_id']}"
    yield from _write_missing(paths)
    try:
        for name in owners(paths):
            refuse_if_busy(paths, name, run_id)
    except BusyError as busy:
        yield f"left all else alone: {busy}"
        return
    yield from _remove_orphans(paths)
    for name, owner in owners(paths).items():
        storage.remove(paths.lock(name))
        yield f"removed the lock of the dead run {owner}"
    yield from _clear_staging(paths, run_id)
    keep_index(paths)


def _write_missing(paths: TablePaths) -> Iterator[str]:
    """What every commit wrote, if it is there no more."""
    state = load_state(paths)
    if state.root is not None and not storage.exists(paths.table):
        write_json(paths.table, {"layout": LAYOUT_VERSION, "root": state.root})
        yield "wrote table.json again"
    records = set(storage.names_below(paths.runs, suffix=".json"))
    for commit in journal_entries(paths):
        record = commit["record"]
        if not record.get("fence") and f"{record['run_id']}.json" not in records:
            write_json(paths.record(record["run_id"]), record)
            yield f"wrote the record of run {record['run_id']} again"
        spec = commit.get("spec")
        name = record["fingerprint"]
        if spec is not None and name in state.fingerprints and not storage.exists(paths.spec(name)):
            write_json(paths.spec(name), spec)
            yield f"wrote specs/{name}.json again"


def _remove_orphans(paths: TablePaths) -> Iterator[str]:
    # listed before the commits are read: what a commit adds meanwhile is not among them
    found = [
        f"{folder}/{path}"
        for folder in ("windows", "clips")
        if storage.exists(paths.at(folder))
        for path in storage.files_below(paths.at(folder))
    ]
    state = load_state(paths)
    for path in found:
        if path not in state.files and path.endswith(".parquet"):
            storage.remove(paths.at(path))
            yield f"removed {path}, which no commit has"


def _clear_staging(paths: TablePaths, run_id: str) -> Iterator[str]:
    useless = dead_runs(paths, run_id, "")
    state = load_state(paths)
    if useless:
        fence(paths, state, "", run_id, state.root or "")
        remove_staging(paths, useless)
        yield from (f"removed what run {name} left, which nobody can use" for name in useless)
    for name in storage.names_below(paths.all_staging, suffix=""):
        done = storage.names_below(storage.join(paths.staging(name), "done"), suffix=".json")
        spec = (owner_of(paths, name) or {}).get("fingerprint")
        yield f"kept {len(done)} finished shards of run {name}: the next run of {spec} takes them over"
