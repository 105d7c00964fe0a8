"""Checking a table's history: its commits are replayed, and what is damaged is told and left out.

Unlike `load_state`, which stops at the first entry that it cannot read. What a lost journal entry did
is taken from its run record, which says the same, so that the rest of the table can still be checked.
"""

import json
import re
from collections.abc import Generator, Iterator
from typing import Any, NamedTuple

from l3core import storage
from l3core.errors import TableError
from l3core.table.entries import check_commit
from l3core.table.finding import DamageError, Finding
from l3core.table.layout import LAYOUT_VERSION, TablePaths
from l3core.table.state import TableState, no_table

ENTRY = re.compile(r"(\d{8})\.json")
LOST = "so its files may be called orphans, and files that it removed missing"


class History(NamedTuple):
    """What the commits say.

    Attributes:
        state: after the last commit.
        specs: fingerprint -> contents that specs/<fingerprint>.json may have: the last published one,
            and the pending one.
    """

    state: TableState
    specs: dict[str, list[dict[str, Any]]]


def require_table(paths: TablePaths) -> None:
    """Hold that there is a table, whole or damaged.

    Raises:
        TableError: there is nothing of one.
    """
    commits = (storage.names_below(uri, suffix=".json") for uri in (paths.journal, paths.runs))
    if not any(commits) and not storage.exists(paths.table):
        raise no_table(paths)


def replay(paths: TablePaths) -> Generator[Finding, None, History]:
    """Replay a table's commits; yields what is wrong with them, returns what they add up to.

    Raises:
        TableError: a commit is of a layout that this version does not know.
    """
    replayed = _Replay(paths)
    for number in replayed.numbers():
        yield from replayed.take(number)
    yield from replayed.take_strays()
    if not replayed.committed and not storage.exists(paths.table):
        raise no_table(paths)
    yield from replayed.check_end()
    state = TableState(replayed.last, replayed.root, replayed.files, replayed.pending, {})
    return History(state, replayed.specs)


def read_object(uri: str) -> dict[str, Any]:
    """A JSON object of ours.

    Raises:
        DamageError: it is missing, cannot be read, or is something else.
    """
    try:
        value = json.loads(storage.read_bytes(uri))
    except FileNotFoundError:
        raise DamageError("is missing") from None
    except OSError as error:
        raise DamageError(f"cannot be read: {error}") from None
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, or nested without end
        raise DamageError(f"is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise DamageError(f"should be a JSON object, is {type(value).__name__}")
    return value


class _Replay:
    """Commits one after the other, with what they add up to so far."""

    def __init__(self, paths: TablePaths) -> None:
        self.paths = paths
        self.entries = storage.names_below(paths.journal, suffix=".json")
        self.unnamed = set(storage.names_below(paths.runs, suffix=".json"))  # by no commit so far
        self.last = 0
        self.root: str | None = None
        self.files: dict[str, dict[str, Any]] = {}
        self.pending: dict[str, Any] | None = None
        self.specs: dict[str, list[dict[str, Any]]] = {}
        self.committed = False  # something, and not only fences
        self._records: dict[int, str] | None = None
        self._idle: dict[str, int] = {}  # records of runs that had nothing to do -> their last commit
        self._indexed = storage.names_below(paths.index, suffix=".json")

    def numbers(self) -> list[int]:
        """Numbers of the commits, up to the last one of the journal."""
        found = sorted(int(match[1]) for name in self.entries if (match := ENTRY.fullmatch(name)))
        if found == list(range(1, len(found) + 1)):
            return found
        return sorted({*found, *(number for number in self._by_number() if number < found[-1])})

    def take(self, number: int) -> Iterator[Finding]:
        """The next commit: from the journal, or else from its run record."""
        path = f"_l3flow/journal/{number:08d}.json"
        if number > self.last + 1:
            first = f"_l3flow/journal/{self.last + 1:08d}.json"
            many = f" and all up to commit {number - 1}" if number > self.last + 2 else ""
            yield Finding("journal", first, f"is missing{many}, {LOST}")
            self._give_up_index()
        self.last = number
        try:
            entry = read_object(self.paths.at(path))
            check_commit(entry)
        except DamageError as damage:
            recorded = self._from_record(number)
            known = f"what it did is known from runs/{self._by_number()[number]}" if recorded else LOST
            yield Finding("journal", path, f"{damage}; {known}")
            if recorded is None:
                self._give_up_index()
                return
            entry = recorded
        told = entry["record"].get("commit", number)
        if told != number:
            yield Finding("journal", path, f"should be commit {number}, says that it is {told!r}")
        yield from self._apply(entry)
        if f"{number:08d}.json" in self._indexed:
            yield from self._check_index(number)

    def _apply(self, entry: dict[str, Any]) -> Iterator[Finding]:
        record = entry["record"]
        if record.get("fence") is True:
            return
        self.committed = True
        if record["layout"] != LAYOUT_VERSION:
            told = f"{self.paths.root} has table layout {record['layout']}"
            raise TableError(f"{told}, this l3flow knows {LAYOUT_VERSION}")
        if self.pending is not None:  # another one came after it
            path = f"runs/{self.pending['record']['run_id']}.json"
            yield Finding("run-record", path, "is missing, `l3flow repair` writes it again")
            self._keep_spec(self.pending)
        yield from self._check_record(record)
        name = f"{record['run_id']}.json"
        self.pending = None if name in self.unnamed else entry
        self.unnamed.discard(name)
        if self.pending is None:
            self._keep_spec(entry)
        self.root = record["root"]
        for path in record["files_removed"]:
            self.files.pop(path, None)
        self.files.update((file["path"], file) for file in record["files_added"])

    def _give_up_index(self) -> None:
        """After a commit that is lost nothing can be compared with what all of them come to."""
        self.committed = True
        self._indexed = []

    def _check_index(self, number: int) -> Iterator[Finding]:
        """Compare what was kept of the commits so far, which readers begin with, with the commits."""
        path = f"_l3flow/index/{number:08d}.json"
        try:
            found = read_object(self.paths.at(path))
        except DamageError as damage:
            yield Finding("index", path, str(damage))
            return
        expected = {"layout": LAYOUT_VERSION, "root": self.root, "files": self.files}
        unlike = [key for key, value in expected.items() if found.get(key) != value]
        if unlike:
            problem = f"should be what the commits come to, differs in {', '.join(unlike)}"
            yield Finding("index", path, problem)

    def _check_record(self, record: dict[str, Any]) -> Iterator[Finding]:
        """Compare a commit with its run record, if that is there."""
        path = f"runs/{record['run_id']}.json"
        if f"{record['run_id']}.json" not in self.unnamed:
            return
        try:
            found = read_object(self.paths.at(path))
        except DamageError as damage:
            yield Finding("run-record", path, str(damage))
            return
        unlike = sorted(key for key in {*record, *found} if record.get(key) != found.get(key))
        if unlike:
            problem = f"should be as in the journal, differs in {', '.join(unlike)}"
            yield Finding("run-record", path, problem)

    def _keep_spec(self, entry: dict[str, Any]) -> None:
        """A published commit has written its spec over an earlier one."""
        spec = entry.get("spec")
        if isinstance(spec, dict) and isinstance(spec.get("fingerprint"), str):
            self.specs[spec["fingerprint"]] = [spec]

    def _by_number(self) -> dict[int, str]:
        """Run records that can stand in for commits; all have to be read, so only where one is lost."""
        if self._records is None:
            self._records = dict(self._numbered())
        return self._records

    def _from_record(self, number: int) -> dict[str, Any] | None:
        """A commit whose journal entry is lost, as its run record has it."""
        name = self._by_number().get(number)
        if name not in self.unnamed:  # none, or that of another commit
            return None
        return {"record": read_object(storage.join(self.paths.runs, name)), "staged": {}}

    def _numbered(self) -> Iterator[tuple[int, str]]:
        for name in sorted(self.unnamed):
            try:
                record = read_object(storage.join(self.paths.runs, name))
                check_commit({"record": record, "staged": {}})
            except DamageError:  # told where it is compared with its commit, or as a stray
                continue
            if not isinstance(record.get("commit"), int) or name != f"{record.get('run_id')}.json":
                continue
            if record["files_added"] or record["files_removed"]:
                yield record["commit"], name
            else:  # nothing to do, on top of that commit
                self._idle[name] = record["commit"]

    def take_strays(self) -> Iterator[Finding]:
        """Run records that no commit has named: its end may be lost, or the run had nothing to do."""
        last = self.last
        if self.unnamed:
            for number, name in sorted(self._by_number().items()):
                if number > last and name in self.unnamed:
                    yield from self.take(number)
        for name in sorted(self.unnamed):
            if not 0 <= self._idle.get(name, -1) <= self.last:
                problem = "should be of a commit in the journal, or of a run that had nothing to do"
                yield Finding("run-record", f"runs/{name}", f"{problem}, is neither")

    def check_end(self) -> Iterator[Finding]:
        """What can only be said when all commits were read."""
        for name in self.entries:
            if not ENTRY.fullmatch(name):
                yield Finding("journal", f"_l3flow/journal/{name}", "is no name of a commit")
        if not self.committed:
            yield Finding("journal", "_l3flow/journal", "should hold commits, holds none")
        if self.pending is None:
            return
        record = self.pending["record"]
        spec = self.pending.get("spec")
        if isinstance(spec, dict) and isinstance(spec.get("fingerprint"), str):
            self.specs.setdefault(spec["fingerprint"], []).append(spec)
        yield Finding(
            "pending",
            f"runs/{record['run_id']}.json",
            f"run {record['run_id']} has committed and its publication was not finished; "
            "if it is not just doing so, `l3flow repair` does",
        )
