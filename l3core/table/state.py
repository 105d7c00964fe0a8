"""A table's history: the journal of its commits, and which files are in it now.

Commit n is `_l3flow/journal/<n>.json`, created only if it is not there; once it is, the commit has
happened. Publishing it (moving its files into place, then writing its run record) can be repeated by
anybody until it is done, so a killed run is finished by the next command.
"""

import json
from typing import Any, NamedTuple

from l3core import storage
from l3core.errors import TableError
from l3core.table.layout import LAYOUT_VERSION, TablePaths, ledger_folder, windows_folder


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


def read_json(uri: str) -> dict[str, Any]:
    """A JSON object of ours."""
    return json.loads(storage.read_bytes(uri))


def write_json(uri: str, value: dict[str, Any]) -> None:
    """Write a JSON object for people and machines."""
    storage.write_bytes(uri, to_json(value))


def to_json(value: dict[str, Any]) -> bytes:
    """JSON as this project writes it."""
    return json.dumps(value, indent=1, sort_keys=True).encode() + b"\n"  # ASCII: names may be no UTF-8


def load_state(paths: TablePaths) -> TableState:
    """Replay a table's commits; an empty state where there is no table yet.

    Raises:
        TableError: it is there, but of a layout that this version does not know.
    """
    journal = storage.names_below(paths.journal, suffix=".json")
    published = set(storage.names_below(paths.runs, suffix=".json"))
    files: dict[str, dict[str, Any]] = {}
    root = None
    pending = None
    touched: dict[str, int] = {}
    for number, name in enumerate(journal, 1):
        commit = read_json(storage.join(paths.journal, name))
        record = commit["record"]
        if record["layout"] != LAYOUT_VERSION:
            raise TableError(
                f"{paths.root} has table layout {record['layout']}, this l3flow knows {LAYOUT_VERSION}"
            )
        root = record["root"]
        for path in record["files_removed"]:
            files.pop(path, None)
        for file in record["files_added"]:
            files[file["path"]] = file
        touched[record["fingerprint"]] = number
        pending = None if f"{record['run_id']}.json" in published else commit
    return TableState(len(journal), root, files, pending, touched)


def existing_state(paths: TablePaths) -> TableState:
    """The state of a table that has to be there.

    Raises:
        TableError: there is none.
    """
    state = load_state(paths)
    if state.commits == 0:
        raise TableError(f"no table at {paths.root}: nothing was ever committed there")
    return state


def choose_spec(paths: TablePaths, state: TableState, spec: str | None) -> str:
    """The fingerprint that a prefix means, or the only one there is.

    Raises:
        TableError: none or several, with what there is.
    """
    found = [name for name in state.fingerprints if name.startswith(spec or "")]
    if len(found) == 1:
        return found[0]
    if not state.fingerprints:
        raise TableError(f"{paths.root} is an empty table: no file was embedded yet")
    listed = ", ".join(state.fingerprints)
    if spec is None:
        raise TableError(f"{paths.root} holds several specs, choose one (--spec, spec=): {listed}")
    many = "is the beginning of several" if found else "is none"
    raise TableError(f"--spec {spec} {many} of the specs in {paths.root}: {listed}")


def publish(paths: TablePaths, commit: dict[str, Any]) -> None:
    """Bring a commit's files into place and remove what it replaced; may be repeated."""
    record = commit["record"]
    write_json(paths.table, {"layout": LAYOUT_VERSION, "root": record["root"]})
    write_json(paths.spec(record["fingerprint"]), commit["spec"])
    for final, staged in commit["staged"].items():
        storage.move(paths.at(staged), paths.at(final))
    for path in record["files_removed"]:
        storage.remove(paths.at(path))
    write_json(storage.join(paths.runs, f"{record['run_id']}.json"), record)


def repair(paths: TablePaths) -> TableState:
    """Finish what a killed run had committed but not published; the state after it."""
    state = load_state(paths)
    if state.pending is None:
        return state
    publish(paths, state.pending)
    return load_state(paths)
