"""The whole command on stores that fail: what it says of the table is true, and the next run mends it.

All operations in turn are in tests/l3core/table/test_faults.py; here some, with Beam and real processes.
"""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from l3core.table import plan as planning
from l3core.table.layout import TablePaths
from l3core.table.limits import Limits
from l3core.table.state import journal_entries
from launch.main import main
from tests.corpus import (
    FLAGS,
    PlainRun,
    expected_rows,
    ledger,
    replace_file,
    staged_runs,
    table_rows,
    write_audio,
    write_files,
)
from tests.stores import faulty

REPOSITORY = Path(__file__).parents[2]
STORES = ("", "objects://")
SOME = [number / 14 for number in range(14)]
FEW = [0.1, 0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]

DRIVER = """
import sys
from tests import fake_model
from tests.stores import faulty
from launch.main import main

if __name__ == "__main__":
    fake_model.register()
    with faulty(sys.argv[1], int(sys.argv[2]), "die"):
        sys.exit(main(sys.argv[3:]))
"""


def command(corpus, uri):
    places = ["--input", str(corpus), "--output", uri]
    return ["embed", *places, *FLAGS, "--quiet", "--prune", "--allow-shrink"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A table with one commit, a corpus that has changed since, and how many operations a run takes."""
    folder = tmp_path_factory.mktemp("made")
    corpus, table = write_files(folder / "corpus", 6), folder / "table"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "SHARDS_WANTED", 3)
        assert main(command(corpus, str(table))) == 0
    replace_file(corpus / "001.wav", 1.5, seed=50)
    (corpus / "002.wav").write_text("no audio any more")
    (corpus / "005.wav").unlink()
    write_audio(corpus / "new.wav", seed=51)
    counts = {}
    for store in STORES:
        copy = shutil.copytree(table, folder / f"counted{len(store)}")
        with faulty(str(copy)) as faults:
            assert main(command(corpus, store + str(copy))) == 0
        counts[store] = faults.count
        assert table_rows(copy) == expected_rows(corpus)
    return corpus, table, counts


def committed(uri):
    entries = list(journal_entries(TablePaths(uri)))
    return any(not entry["record"].get("fence") for entry in entries[1:])


def assert_mended(corpus, table, uri):
    assert main(command(corpus, uri)) == 0
    assert table_rows(table) == expected_rows(corpus)
    assert ledger(table)["005.wav"]["status"] == "gone"
    assert staged_runs(uri) == []
    assert main(["verify", "--table", uri, "--quiet"]) == 0


@pytest.mark.parametrize("part", SOME)
@pytest.mark.parametrize("store", STORES)
def test_a_failing_operation_is_one_line_that_says_how_the_table_is(made, tmp_path, capsys, store, part):
    corpus, first, counts = made
    table = shutil.copytree(first, tmp_path / "table")
    uri = store + str(table)
    before = table_rows(table)
    with faulty(str(table), round(part * counts[store]), "raise"):
        code = main(command(corpus, uri))
    said = capsys.readouterr().err
    if code == 0:  # an operation that is not needed: a lock that is not given back
        assert committed(uri)
        assert said == ""
    else:
        assert code == 1
        assert said.count("\n") == 1
        assert "injected" in said
        assert ("after its commit" in said) == committed(uri)
        assert ("the table is as it was" in said) == (not committed(uri))
        if not committed(uri):
            assert table_rows(table) == before
    assert_mended(corpus, table, uri)


@pytest.mark.parametrize("part", FEW)
def test_a_killed_process_leaves_a_table_that_the_next_run_mends(made, tmp_path, part):
    corpus, first, counts = made
    store = STORES[round(part * 20) % 2]
    table = shutil.copytree(first, tmp_path / "table")
    uri = store + str(table)
    before = table_rows(table)
    (tmp_path / "driver.py").write_text(DRIVER)
    number = str(round(part * counts[store]))
    done = subprocess.run(
        [sys.executable, tmp_path / "driver.py", str(table), number, *command(corpus, uri)],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    if not committed(uri):
        assert table_rows(table) == before
    assert_mended(corpus, table, uri)


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("change", ["compact", "reroot", "drop"])
def test_maintenance_that_fails_says_how_the_table_is(made, tmp_path, capsys, change, store):
    corpus, first, _ = made
    commands = {
        "compact": ["compact"],
        "reroot": ["reroot", "--root", str(corpus.parent)],
        "drop": ["specs", "drop", "s"],
    }
    said = set()
    for number in range(5, 200, 17):
        table = shutil.copytree(first, tmp_path / f"table-{number}")
        uri = store + str(table)
        with faulty(str(table), number, "raise"):
            code = main([*commands[change], "--table", uri, "--quiet"])
        error = capsys.readouterr().err
        assert code == 0 or "injected" in error
        if "the run failed" in error:
            assert error.count("\n") == 1
            assert ("after its commit" in error) == committed(uri)
            said.add(committed(uri))
        assert main(["repair", "--table", uri, "--quiet"]) == 0
        assert main(["verify", "--table", uri, "--quiet"]) == 0
    assert said == {True, False}


@pytest.mark.parametrize("number", range(0, 120, 13))
def test_commands_that_read_follow_commits(made, tmp_path, capsys, number, monkeypatch):
    """A run commits while they read: they begin again, and none takes it for damage."""
    corpus, first, _ = made
    for command in (["specs"], ["verify"], ["embed"]):
        table = shutil.copytree(first, tmp_path / command[0])
        words = ["--table", str(table)]
        if command == ["embed"]:
            words = ["--output", str(table), "--input", str(corpus), *FLAGS, "--dry-run"]
        with commit_at(number, table, corpus):
            assert main([*command, *words]) == 0, capsys.readouterr()
        assert capsys.readouterr().err == ""


@contextmanager
def commit_at(number, table, corpus):
    """Let a run commit before the `number`-th operation on a table."""
    with faulty(str(table)) as faults:
        count = faults._count

        def counted(function, *args, **kwargs):
            if faults.count == number:
                faults.count += 1
                faults._count = count
                run = PlainRun(corpus, table, "meanwhile", prune=True, limits=Limits(allow_shrink=True))
                run.all()
            return count(function, *args, **kwargs)

        faults._count = counted
        yield
