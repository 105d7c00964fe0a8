"""Committing to a table: a journal entry that only one can create, and its publication.

What an entry holds and how entries add up is in `l3core.table.state`.
"""

import uuid
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from l3core import storage
from l3core.ahead import do_all
from l3core.errors import RunError
from l3core.table.json_objects import create_json, write_json
from l3core.table.layout import LAYOUT_VERSION, TablePaths
from l3core.table.state import TableState, entry_name, existing, load_state


def check_unchanged(state: TableState, *, fingerprints: list[str], base: int, root: str | None) -> None:
    """Refuse to commit on top of another change of the same partitions, or of the root.

    Args:
        state: of the table now.
        fingerprints: partitions that the commit is about.
        base: number of the commit that it was planned on.
        root: of the table that it was planned for.

    Raises:
        RunError: there was one.
    """
    moved = state.root is not None and state.root != root
    if moved or any(state.touched.get(fingerprint, 0) > base for fingerprint in fingerprints):
        raise RunError(
            "another run changed the table since this one was planned; run it again "
            "(the shards that are finished will be taken over)"
        )


def append(
    paths: TablePaths,
    state: TableState,
    make: Callable[[TableState], dict[str, Any]],
    check: Callable[[TableState], None],
) -> dict[str, Any]:
    """Journal a commit behind the last one.

    Args:
        paths: of the table.
        state: its last commit, published.
        make: the entry that follows a state, `writer` apart.
        check: raises if the commit may not follow such a state; asked again when another was faster.

    Returns:
        The entry that is in the journal; it has to be published.
    """
    while True:
        check(state)
        commit = make(state) | {"writer": uuid.uuid4().hex}
        entry = storage.join(paths.journal, entry_name(state.commits + 1))
        if create_json(entry, commit)["writer"] == commit["writer"]:
            return commit
        state = repair(paths)


def fence(paths: TablePaths, state: TableState, fingerprint: str, run_id: str, root: str) -> TableState:
    """Let nobody commit to a partition any more who planned before; the state to plan on.

    A run that takes over what others left cannot know that they are dead: a paused one may wake up and
    commit files that are no longer where it left them.

    Raises:
        RunError: one of them has committed since `state`.
    """
    record = {
        "layout": LAYOUT_VERSION,
        "run_id": run_id,
        "fingerprint": fingerprint,
        "fence": True,
        "files_added": [],
        "files_removed": [],
    }
    base = state.commits
    check = partial(check_unchanged, fingerprints=[fingerprint], base=base, root=root)
    append(paths, state, lambda last: {"record": record | {"commit": last.commits + 1}}, check)
    return load_state(paths)


def publish(paths: TablePaths, commit: dict[str, Any]) -> None:
    """Bring a commit's files into place and remove what it replaced; may be repeated."""
    record = commit["record"]
    if _has_moved_on(paths, record):
        return
    try:
        write_json(paths.table, {"layout": LAYOUT_VERSION, "root": record["root"]})
        if commit.get("spec") is not None:
            write_json(paths.spec(record["fingerprint"]), commit["spec"])
        do_all(lambda each: storage.move(*map(paths.at, each)), _moves(commit))
        do_all(lambda path: storage.remove(paths.at(path)), record["files_removed"])
        for path in commit.get("cleared", ()):  # unlike others these names may be used again
            if not _has_moved_on(paths, record):
                storage.remove(paths.at(path))
    except FileNotFoundError:
        if not storage.is_object(paths.record(record["run_id"])):
            raise
        return  # somebody else has published it, and a later commit moved on
    write_json(paths.record(record["run_id"]), record)


def _moves(commit: dict[str, Any]) -> Iterable[tuple[str, str]]:
    """(where a file is, where it shall be), both below the table."""
    return ((staged, final) for final, staged in commit["staged"].items())


def _has_moved_on(paths: TablePaths, record: dict[str, Any]) -> bool:
    """Whether others have published a commit while its owner slept, and perhaps made the next."""
    if storage.is_object(paths.record(record["run_id"])):
        return True
    return storage.is_object(storage.join(paths.journal, entry_name(record["commit"] + 1)))


def repair(paths: TablePaths) -> TableState:
    """Finish what a killed run had committed but not published; the state after it."""
    state = load_state(paths)
    if state.pending is None:
        return state
    publish(paths, state.pending)
    return load_state(paths)


def published_state(paths: TablePaths) -> TableState:
    """The same, with its last commit published: for those that read ledgers in their place.

    Raises:
        TableError: there is none.
    """
    return existing(paths, repair(paths))
