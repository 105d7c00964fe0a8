"""Mending a table after whatever happened: what `l3flow repair` does, and every run does in part."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from l3core import storage
from l3core.errors import BusyError, TableError
from l3core.table.adopt import dead_runs, owner_of, remove_staging
from l3core.table.journal import fence, repair
from l3core.table.json_objects import read_json, write_json
from l3core.table.layout import LAYOUT_VERSION, TablePaths
from l3core.table.lock import owners, refuse_if_busy
from l3core.table.state import journal_entries, keep_index, load_state
from l3core.walk import files_below


def mend(paths: TablePaths, run_id: str) -> Iterator[str]:
    """Finish what was begun and remove what nobody can use; says each thing that it did.

    A commit that was journalled is published. What the journal tells and is missing is written again:
    table.json, specs, run records. While a run is open nothing else is touched; else files that no
    commit has, staging folders that nobody can adopt and locks of dead runs are removed.

    Args:
        paths: of the table.
        run_id: names this repair in the lock folder.

    Raises:
        TableError: there was a table, and its journal is gone: nothing can be told from what is left.
    """
    pending = load_state(paths).pending
    if pending is not None:
        repair(paths)
        yield f"finished publishing run {pending['record']['run_id']}"
    yield from _write_missing(paths)
    dead = owners(paths)
    try:
        for name in dead:
            refuse_if_busy(paths, name, run_id)
    except BusyError as busy:
        yield f"left all else alone: {busy}"
        return
    yield from _remove_orphans(paths)
    for name, owner in dead.items():
        if owners(paths).get(name) == owner:  # no run has come meanwhile
            storage.remove(paths.lock(name))
            yield f"removed the lock of the dead run {owner}"
    yield from _clear_staging(paths, run_id)
    keep_index(paths)


def _write_missing(paths: TablePaths) -> Iterator[str]:
    """What the published commits wrote, where it is there no more or says something else."""
    state = load_state(paths)
    told = {"layout": LAYOUT_VERSION, "root": state.root}
    if state.root is not None and state.pending is None and _content(paths.table) != told:
        write_json(paths.table, told)
        yield "wrote table.json again"
    records = set(storage.names_below(paths.runs, suffix=".json"))
    # a commit that comes meanwhile has no record because its files are not in place yet
    published = state.commits - (state.pending is not None)
    specs: dict[str, dict[str, Any]] = {}
    for commit in islice(journal_entries(paths), published):
        record = commit["record"]
        if not record.get("fence") and f"{record['run_id']}.json" not in records:
            write_json(paths.record(record["run_id"]), record)
            yield f"wrote the record of run {record['run_id']} again"
        if commit.get("spec") is not None and record["fingerprint"] in state.fingerprints:
            specs[record["fingerprint"]] = commit["spec"]
    for name, spec in specs.items():
        if _content(paths.spec(name)) != spec:
            write_json(paths.spec(name), spec)
            yield f"wrote specs/{name}.json again"


def _content(uri: str) -> dict[str, Any] | None:
    """A JSON object; None if it is not there, or damaged."""
    try:
        return read_json(uri)
    except (FileNotFoundError, TableError):
        return None


def _remove_orphans(paths: TablePaths) -> Iterator[str]:
    # listed before the commits are read: what a commit adds meanwhile is not among them
    found = [
        f"{folder}/{path}"
        for folder in ("windows", "clips")
        if storage.exists(paths.at(folder))
        for path in files_below(paths.at(folder))
        if path.startswith("spec=") and path.endswith(".parquet")
    ]
    state = load_state(paths)
    if found and state.root is None:  # without a commit no run has put anything there
        raise TableError(f"{paths.journal} is gone and {found[0]} is there: restore it from a backup")
    for path in found:
        if path not in state.files:
            storage.remove(paths.at(path))
            yield f"removed {path}, which no commit has"


def _clear_staging(paths: TablePaths, run_id: str) -> Iterator[str]:
    useless = dict.fromkeys(dead_runs(paths, run_id, ""), "")
    kept = {}
    for name in storage.names_below(paths.all_staging, suffix=""):
        done = storage.names_below(paths.staging(name, "done"), suffix=".json")
        spec = (owner_of(paths, name) or {}).get("fingerprint", "")
        if name in useless or name in owners(paths).values():
            continue
        if done:
            finished = "1 shard" if len(done) == 1 else f"{len(done)} shards"
            kept[name] = f"what run {name} finished ({finished}): the next run of {spec} takes it"
        else:
            useless[name] = spec
    for spec in sorted(set(useless.values())):
        state = load_state(paths)
        fence(paths, state, spec, run_id, state.root or "")
    for name in useless:
        remove_staging(paths, [name])
        yield f"removed what run {name} left, which nobody can use"
    yield from (f"kept {words} over" for words in kept.values())
