"""Whatever dies or fails, wherever: the table is as it was before or as it is after, and says which.

Every operation on the store in turn is the last one of a process, or fails, or is done and its answer
lost; on a disk, which can rename, and on an object store, which cannot. The table is then read by plain
pyarrow.
"""

import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from l3core import storage
from l3core.errors import RunError
from l3core.table import plan as planning
from l3core.table import rewrite as rewriting
from l3core.table.layout import TablePaths
from l3core.table.mend import mend
from l3core.table.read import read_windows
from l3core.table.state import journal_entries, load_state
from l3core.table.verify import verify_table
from l3core.weights import to_h5
from tests.changes import CHANGES, embed
from tests.corpus import (
    PlainRun,
    expected_rows,
    ledger,
    replace_file,
    staged_runs,
    table_rows,
    write_audio,
    write_files,
)
from tests.stores import Killed, faulty

STORES = {"disk": "", "objects": "objects://"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A table with one commit, and a corpus that has changed since."""
    folder = tmp_path_factory.mktemp("made")
    corpus, table = write_files(folder / "corpus", 6), folder / "table"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "SHARDS_WANTED", 3)  # so that recordings share files
        run = PlainRun(corpus, table, "run-1").all()
    weights, layers = run.embedder.weights, run.spec.network.layer_shapes(run.spec)
    storage.write_bytes(run.paths.weights(weights.digest), to_h5(weights, layers))  # as the command does
    replace_file(corpus / "001.wav", 1.5, seed=50)
    (corpus / "002.wav").write_text("no audio any more")
    (corpus / "005.wav").unlink()
    write_audio(corpus / "new.wav", seed=51)
    return corpus, table


@pytest.fixture(autouse=True)
def few_small_files(monkeypatch):
    """So that the second run merges files, too."""
    monkeypatch.setattr(planning, "SHARDS_WANTED", 3)
    monkeypatch.setattr(rewriting, "MOST_SMALL", 4)


def visible(table):
    """All that plain pyarrow finds, and that does not depend on time: windows, and ledger rows."""
    names = ("status", "uri", "version", "windows_written", "windows_expected")
    rows = {clip_id: [row[name] for name in names] for clip_id, row in ledger(table).items()}
    return table_rows(table), rows


def files(table):
    found = [path.relative_to(table).as_posix() for path in Path(table).rglob("*.parquet")]
    return sorted(path for path in found if path.startswith(("windows/", "clips/")))


def assert_whole(table, uri):
    """Nothing pending, no file that no commit has, and every promise of the layout holds."""
    state = load_state(TablePaths(uri))
    assert state.pending is None
    assert files(table) == sorted(state.files)
    assert list(verify_table(TablePaths(uri))) == []


def copy(made, folder, number):
    table = folder / f"table-{number}"
    shutil.copytree(made, table)
    return table


@pytest.mark.parametrize("kind", ["kill", "raise", "lost"])
@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("change", CHANGES)
def test_before_or_after_and_nothing_between(made, tmp_path, change, store, kind):
    corpus, first = made
    before = visible(first)
    undisturbed = copy(first, tmp_path, "undisturbed")
    with faulty(str(tmp_path)) as faults:
        CHANGES[change](STORES[store] + str(undisturbed), corpus)
    after = visible(undisturbed)
    assert after != before or change == "compact"
    assert_whole(undisturbed, STORES[store] + str(undisturbed))
    assert faults.count > 30
    seen = set()
    for number in range(faults.count):
        table = copy(first, tmp_path, number)
        uri = STORES[store] + str(table)
        with faulty(str(tmp_path), number, kind), suppress(Killed, OSError, RunError):
            CHANGES[change](uri, corpus)
        happened = load_state(TablePaths(uri)).commits > 1 and not only_fenced(uri)
        seen.add(happened)
        assert read_rows(uri) == (after if happened else before)[0], number
        said = list(mend(TablePaths(uri), "repair"))
        assert visible(table) == (after if happened else before), (number, said)
        assert_whole(table, uri)
        if change == "embed":
            embed(uri, corpus, "run-3")
            assert visible(table) == after, number
            assert_whole(table, uri)
            assert staged_runs(uri) == [], number
        shutil.rmtree(table)
    assert seen == {True, False}


def only_fenced(uri):
    return all(entry["record"].get("fence") for entry in list(journal_entries(TablePaths(uri)))[1:])


def read_rows(uri):
    """What `read_windows` gives, as `table_rows` does."""
    if not load_state(TablePaths(uri)).fingerprints:
        return []
    metadata, vectors = read_windows(uri)
    return [(*row.values(), vector.tobytes()) for row, vector in zip(metadata.to_pylist(), vectors)]


def test_the_corpus_is_what_the_second_run_gives(made, tmp_path):
    """What the others compare with is not only their own output."""
    corpus, first = made
    table = copy(first, tmp_path, "table")
    embed(str(table), corpus)
    assert table_rows(table) == expected_rows(corpus)
    assert {clip_id: row["status"] for clip_id, row in ledger(table).items()} == {
        **dict.fromkeys(("000.wav", "001.wav", "003.wav", "004.wav", "new.wav"), "ok"),
        "002.wav": "unreadable",
        "005.wav": "gone",
    }
