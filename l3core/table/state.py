"""A table's history: the journal of its commits, and which files are in it now.

Commit n is `_l3flow/journal/<n>.json`, created only if it is not there; once it is, the commit has
happened. Publishing it (`l3core.table.journal`) can be repeated by anybody until it is done, so a killed
run is finished by the next command.

An entry holds `record` (what the run record will say), `staged` (final path -> where the file is now),
`spec` (for specs/<fp>.json, or null), `cleared` (what else is removed) and its `writer`. A *fence* is an
entry without files: whoever planned before it cannot commit any more (`fence`).
"""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

from l3core import storage
from l3core.ahead import map_ahead
from l3core.errors import TableError
from l3core.table.entries import check_places
from l3core.table.finding import DamageError
from l3core.table.json_objects import read_json
from l3core.table.layout import LAYOUT_VERSION, TablePaths, ledger_folder, windows_folder

# What so many commits come to is kept, so that a table of ten thousand commits opens at once.
COMMITS_AN_INDEX = 16


class TableState(NamedTuple):
    """What is in a table after its last commit.

    Attributes:
        commits: number of the last commit; 0 for none.
        root: the folder that clip ids are paths below; None before the first commit.
        files: path below the table -> {"path", "sha256", "bytes", "rows"}.
        pending: the last commit if it was never published.
        touched: partition -> number of the last commit that changed it.
    """

    commits: int
    root: str | None
    files: dict[str, dict[str, Any]]
    pending: dict[str, Any] | None
    touched: dict[str, int]

    def windows(self, fingerprint: str) -> list[str]:
        """A partition's windows files, sorted."""
        return self._below(windows_folder(fingerprint))

    def ledger(self, fingerprint: str) -> list[str]:
        """A partition's ledger files, sorted."""
        return self._below(ledger_folder(fingerprint))

    def _below(self, folder: str) -> list[str]:
        return sorted(path for path in self.files if path.startswith(folder + "/"))

    @property
    def fingerprints(self) -> list[str]:
        """Partitions that have a ledger."""
        return sorted({path.split("=")[1].split("/")[0] for path in self.files if path[0] == "c"})


def read_spec(paths: TablePaths, fingerprint: str) -> dict[str, Any]:
    """What specs/<fp>.json says: `spec`, all of its fields, and `weights_digest`.

    Raises:
        TableError: it is not there.
    """
    try:
        return read_json(paths.spec(fingerprint))
    except FileNotFoundError:
        uri = paths.spec(fingerprint)
        raise TableError(f"{uri} is missing: l3flow repair writes it again") from None


def load_state(paths: TablePaths) -> TableState:
    """Replay a table's commits; an empty state where there is no table yet.

    Raises:
        TableError: it is there, but of a layout that this version does not know, or commits are missing.
    """
    names, kept = _history(paths)
    state = _indexed(paths, kept, len(names))
    commit = None
    for number, name in enumerate(names, 1):
        if name != entry_name(number):
            raise TableError(f"commit {number} is missing in {paths.journal}: restore it from a backup")
        if number > state.commits:
            commit = _read_entry(storage.join(paths.journal, name))
            state = _replay(paths, state, number, commit)
    if commit is not None and not _is_published(paths, commit):
        state = state._replace(pending=commit)
    return state


def journal_entries(paths: TablePaths) -> Iterator[dict[str, Any]]:
    """All commits, oldest first."""
    for name in storage.names_below(paths.journal, suffix=".json"):
        yield _read_entry(storage.join(paths.journal, name))


def _read_entry(uri: str) -> dict[str, Any]:
    entry = read_json(uri)
    try:
        check_places(entry)
    except DamageError as damage:
        raise TableError(f"{uri} is damaged: {damage}") from None
    return entry


def entry_name(number: int) -> str:
    """Name of a commit's journal entry."""
    return f"{number:08d}.json"


def _history(paths: TablePaths) -> tuple[list[str], list[str]]:
    """Names of the commits, and of what was kept of some of them."""
    names = partial(storage.names_below, suffix=".json")
    commits, kept = map_ahead(names, [paths.journal, paths.index])
    return commits, kept


def _indexed(paths: TablePaths, kept_states: list[str], commits: int) -> TableState:
    """The newest of the kept states that leaves at least one commit to replay."""
    numbers = [int(name[:8]) for name in kept_states]
    for number in sorted(numbers, reverse=True):
        if number >= commits:  # the last may have to be published
            continue
        try:
            kept = read_json(storage.join(paths.index, entry_name(number)))
            _check_layout(paths, kept["layout"])
            return TableState(number, kept["root"], kept["files"], None, kept["touched"])
        except (TableError, KeyError, FileNotFoundError):  # it is derived: the commits say the same
            continue
    return TableState(0, None, {}, None, {})


def _replay(paths: TablePaths, state: TableState, number: int, commit: dict[str, Any]) -> TableState:
    record = commit["record"]
    _check_layout(paths, record["layout"])
    for path in record["files_removed"]:
        state.files.pop(path, None)
    for file in record["files_added"]:
        state.files[file["path"]] = file
    for fingerprint in _partitions(record):
        state.touched[fingerprint] = number
    root = state.root if record.get("fence") else record["root"]
    return state._replace(commits=number, root=root)


def _partitions(record: dict[str, Any]) -> list[str]:
    """Those that a commit is about."""
    return record.get("fingerprints") or [record["fingerprint"]]


def _check_layout(paths: TablePaths, layout: int) -> None:
    if layout != LAYOUT_VERSION:
        raise TableError(f"{paths.root} has table layout {layout}, this l3flow knows {LAYOUT_VERSION}")


def _is_published(paths: TablePaths, commit: dict[str, Any]) -> bool:
    return commit["record"].get("fence") or storage.is_object(paths.record(commit["record"]["run_id"]))


def existing_state(paths: TablePaths) -> TableState:
    """The state of a table that has to be there.

    Raises:
        TableError: there is none.
    """
    return existing(paths, load_state(paths))


def existing(paths: TablePaths, state: TableState) -> TableState:
    """The state, if it is that of a table that is there.

    Raises:
        TableError: it is not.
    """
    if state.root is None:
        raise no_table(paths)
    return state


def no_table(paths: TablePaths) -> TableError:
    """The error of a place without a table, with what there is instead."""
    told = f"no table at {paths.root}: nothing was ever committed there"
    if storage.names_below(paths.all_staging, suffix=""):
        told += "; a run is at work there, or was ended: l3flow embed goes on with it"
    return TableError(told)


def choose_spec(paths: TablePaths, state: TableState, spec: str | None, *, flag: str = "--spec") -> str:
    """The fingerprint that a prefix means, or the only one there is; `flag` is what errors call it.

    Raises:
        TableError: none or several, with what there is.
    """
    found = [name for name in state.fingerprints if name.startswith(spec or "")]
    if len(found) == 1:
        return found[0]
    if not state.fingerprints:
        raise TableError(f"{paths.root} is an empty table: it has no spec")
    listed = ", ".join(state.fingerprints)
    if spec is None:
        raise TableError(f"{paths.root} holds several specs, choose one (--spec, spec=): {listed}")
    many = "is the beginning of several" if found else "is none"
    raise TableError(f"{flag} {spec} {many} of the specs in {paths.root}: {listed}")


def keep_index(paths: TablePaths) -> None:
    """Keep what the commits come to, if many have been made since; what was kept long before goes."""
    commits, there = _history(paths)
    newest = int(there[-1][:8]) if there else 0
    if len(commits) - newest < COMMITS_AN_INDEX:
        return
    state = load_state(paths)
    if state.pending is not None:
        return
    kept = {"root": state.root, "files": state.files, "touched": state.touched}
    content = json.dumps({"layout": LAYOUT_VERSION, **kept}).encode()
    storage.write_bytes(storage.join(paths.index, entry_name(state.commits)), content)
    for old in there[:-1]:
        storage.remove(storage.join(paths.index, old))
