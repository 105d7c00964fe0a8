"""Reading a table again and checking every promise of its layout."""

import tempfile
from collections.abc import Generator, Iterator
from typing import Any, BinaryIO, cast

from l3core import storage
from l3core.errors import SpecError, WeightsError
from l3core.models import MODELS
from l3core.spec import EmbeddingSpec, fingerprint_of
from l3core.table.finding import DamageError, Finding, Tally
from l3core.table.layout import LAYOUT_VERSION, TablePaths, ledger_folder, windows_folder
from l3core.table.state import TableState, choose_spec
from l3core.table.verify_clips import Damaged, check_clips
from l3core.table.verify_files import PartitionFiles
from l3core.table.verify_history import History, read_object, replay, require_table
from l3core.walk import files_below
from l3core.weights import read_weights


def verify_table(
    paths: TablePaths, spec: str | None = None, *, tally: Tally | None = None
) -> Iterator[Finding]:
    """Check a table: its history, each file, each row, and the ledger against the windows.

    Nothing is written, and no damage stops the check: what cannot be read is a finding, and the rest is
    checked. At most one row group is in memory, and then a few rows of each file of a partition.

    Args:
        paths: of the table.
        spec: a fingerprint or the beginning of one: check the files of this partition only.
        tally: is told how far the check is.

    Returns:
        What is wrong, as it is found; nothing if the table holds all that it promises.

    Raises:
        TableError: no such table or spec, or a layout that this version does not know.
    """
    require_table(paths)
    before = _commits(paths)
    found = False
    for finding in _check_table(paths, spec, Tally() if tally is None else tally):
        found = True
        yield finding
    if found and _commits(paths) != before:
        problem = "another run committed during the check, what was found may be of that: check again"
        yield Finding("changed", "_l3flow/journal", problem)


def _commits(paths: TablePaths) -> list[list[str]]:
    return [storage.names_below(uri, suffix=".json") for uri in (paths.journal, paths.runs)]


def _check_table(paths: TablePaths, spec: str | None, tally: Tally) -> Iterator[Finding]:
    history = yield from replay(paths)
    state = history.state
    if spec is not None:
        chosen = [choose_spec(paths, state, spec)]
    else:
        chosen = sorted({path.split("=")[1].split("/")[0] for path in state.files})
    files = [path for name in chosen for path in (*state.windows(name), *state.ledger(name))]
    tally.of_files = len(files)
    tally.of_bytes = sum(state.files[path]["bytes"] for path in files)
    yield from _check_table_json(paths, state)
    digests: set[str] = set()
    for fingerprint in chosen:
        yield from _check_partition(paths, history, fingerprint, digests, tally)
        tally.specs += 1
    folders = ["windows", "clips"]
    if spec is not None:
        folders = [windows_folder(chosen[0]), ledger_folder(chosen[0])]
    for folder in folders:
        yield from _find_orphans(paths, state, folder)


def _check_table_json(paths: TablePaths, state: TableState) -> Iterator[Finding]:
    if state.pending is not None or state.root is None:  # not written yet, or nothing to compare it with
        return
    try:
        found = read_object(paths.table)
    except DamageError as damage:
        yield Finding("table-json", "table.json", str(damage))
        return
    for name, expected in (("layout", LAYOUT_VERSION), ("root", state.root)):
        if found.get(name) != expected:
            problem = f"{name} should be {expected} as in the last commit, is {found.get(name)}"
            yield Finding("table-json", "table.json", problem)


def _find_orphans(paths: TablePaths, state: TableState, folder: str) -> Iterator[Finding]:
    """Parquet files that a plain reader would find and no commit has."""
    uri = paths.at(folder)
    if not storage.exists(uri) or not storage.is_folder_or_absent(uri):  # then its files are missing
        return
    # a commit that is not published yet may not have removed them
    going = state.pending["record"]["files_removed"] if state.pending else []
    known = {*state.files, *going}
    for name in files_below(uri):
        path = f"{folder}/{name}"
        if path.endswith(".parquet") and path not in known:
            yield Finding("orphan-file", path, "should be in a commit, is in none")


def _check_partition(
    paths: TablePaths, history: History, fingerprint: str, digests: set[str], tally: Tally
) -> Iterator[Finding]:
    """Check the files of one spec; `digests` are those of the weights that were checked already."""
    state = history.state
    content = yield from _check_spec_json(paths, history, fingerprint)
    spec = yield from _check_spec(fingerprint, content)
    digest = str(content.get("weights_digest")) if spec else ""
    if spec and state.windows(fingerprint) and digest not in digests:
        digests.add(digest)
        yield from _check_weights(paths, spec, digest)
    with tempfile.TemporaryFile() as spool:
        check = PartitionFiles(paths, state, spec, cast(BinaryIO, spool), tally)
        windows, ledger = state.windows(fingerprint), state.ledger(fingerprint)
        for path in (*windows, *ledger):
            yield from check.check(path)
        streams = check.streams
        damaged = Damaged(
            windows=frozenset(path for path in windows if path not in streams),
            ledger=any(path not in streams for path in ledger),
        )
        yield from check_clips(
            {path: streams[path] for path in windows if path in streams},
            {path: streams[path] for path in ledger if path in streams},
            damaged,
        )


def _check_spec_json(
    paths: TablePaths, history: History, fingerprint: str
) -> Generator[Finding, None, dict[str, Any]]:
    """Compare a spec in words with the journal's; returns what is to be believed of it."""
    path = f"specs/{fingerprint}.json"
    known = history.specs.get(fingerprint, [])
    try:
        found = read_object(paths.spec(fingerprint))
    except DamageError as damage:
        pending = history.state.pending
        if pending is None or known != [pending.get("spec")]:  # else it may not be written yet
            yield Finding("spec", path, str(damage))
        return known[-1] if known else {}
    if not known or found in known:
        return found
    unlike = sorted(key for key in {*found, *known[0]} if found.get(key) != known[0].get(key))
    yield Finding("spec", path, f"should be as in the journal, differs in {', '.join(unlike)}")
    return known[-1]


def _check_spec(
    fingerprint: str, content: dict[str, Any]
) -> Generator[Finding, None, EmbeddingSpec | None]:
    """Whether a spec gives its fingerprint; returns the spec, None if it is not known here."""
    path = f"specs/{fingerprint}.json"
    fields = content.get("spec")
    if not isinstance(fields, dict):
        if content:
            yield Finding("spec", path, f"spec should be an object, is {type(fields).__name__}")
        return None
    if str(fields.get("model")) not in MODELS:
        problem = f"this l3flow knows no model {fields.get('model')}, so its numbers are not checked"
        yield Finding("unknown-model", path, problem)
        return None
    try:
        spec = EmbeddingSpec(**fields)
        ours = spec.identity(str(content.get("weights_digest")))
    except (SpecError, TypeError) as error:  # TypeError: a field that this version does not have
        yield Finding("spec", path, f"should be a spec of this l3flow, is not: {error}")
        return None
    identity = content.get("identity")
    if not isinstance(identity, dict) or fingerprint_of(identity) != fingerprint:
        yield Finding("spec", path, f"identity should give fingerprint {fingerprint}, does not")
    # what else is in an identity may be of another version of l3flow than this one
    elif unlike := [key for key in ("spec", "weights_digest") if identity.get(key) != ours[key]]:
        yield Finding("spec", path, f"{', '.join(unlike)} should be as in the identity, is not")
    return spec


def _check_weights(paths: TablePaths, spec: EmbeddingSpec, digest: str) -> Iterator[Finding]:
    """Whether the table's own copy is there, whole, and has the digest that names it."""
    path = f"_l3flow/weights/{digest}.h5"
    try:
        content = storage.read_bytes(paths.weights(digest))
        found = read_weights(content, spec, name="the file").digest
    except FileNotFoundError:
        yield Finding("weights", path, "is missing, and windows were made with these weights")
        return
    except (OSError, WeightsError) as error:
        yield Finding("weights", path, f"cannot be read: {error}")
        return
    if found != digest:
        yield Finding("weights", path, f"should have the digest that names it, has {found}")
