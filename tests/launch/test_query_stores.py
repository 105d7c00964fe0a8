"""Questions to a table in a store: the same answers, only the bytes that they need, and no writing."""

import json
import re

import pytest

from l3core.sql.asking import Asking
from l3core.table.layout import TablePaths
from launch.benchmarks.query import make_table
from launch.main import main
from tests.corpus import PlainRun, upload, write_files

CLIP = "000000/00000013.wav"
QUESTIONS = {
    "ledger": "SELECT status, count(*) AS n, sum(windows_written)::INT AS w FROM clips GROUP BY status",
    "count": "SELECT count(*) AS n FROM windows",
    "times": "SELECT round(sum(start_s), 6) AS s FROM windows WHERE silent = false",
    "clip": f"SELECT round(sum(embedding[1]), 6) AS s FROM windows WHERE clip_id = '{CLIP}'",
    "vectors": "SELECT round(sum(embedding[1]), 6) AS s FROM windows",
    "runs": "SELECT run_id, status FROM runs",
}


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A table of 40 clips in four files, 3 MB of vectors."""
    folder = tmp_path_factory.mktemp("large") / "table"
    return folder, [path.stat().st_size for path in make_table(folder, 40)]


def answers(table):
    question = Asking(TablePaths(str(table)), None)
    return {
        name: question.ask(sql, lambda rows: rows.read_all()).to_pylist()
        for name, sql in QUESTIONS.items()
    }


def moved(emulator, name):
    """Bytes that were asked of objects, by their ranges; an object asked for whole is an error."""
    total = 0
    for line, asked in emulator.log:
        if re.search(emulator.reading(name), line):
            first, last = re.fullmatch(r"bytes=(\d+)-(\d+)", asked).groups()
            total += int(last) - int(first) + 1
    return total


def test_the_answers_are_those_of_the_disk_and_need_few_bytes(store, large):
    emulator, bucket = store
    folder, sizes = large
    table = f"{bucket}/a table"
    upload(folder, table)
    assert answers(table) == answers(folder)
    windows = r"windows/spec=\w+/[^/]+\.parquet"
    for name, most in {
        "ledger": 20_000 * len(sizes),  # of one file what a view needs to be made, its end
        "count": 20_000 * len(sizes),
        "times": 40_000 * len(sizes),
        "clip": sum(sizes) / 3,  # of one file of four
        "vectors": sum(sizes) * 1.05,
    }.items():
        emulator.clear()
        Asking(TablePaths(table), None).ask(QUESTIONS[name], lambda rows: rows.read_all())
        assert 0 < moved(emulator, windows) < most, name
        assert emulator.requests("^(POST|PUT|PATCH|DELETE)") == []


def test_the_command_on_a_store(bucket, tmp_path, capsys):
    PlainRun(write_files(tmp_path / "corpus", 3), tmp_path / "table", "run-1").all()
    upload(tmp_path / "table", f"{bucket}/t")
    assert main(["query", "--table", f"{bucket}/t", "--json", "SELECT count(*) AS n FROM windows"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"n": 15}]
    assert main(["query", "--table", f"{bucket}/t", "--print-views"]) == 0
    assert f"['{bucket}/t/windows/spec=" in capsys.readouterr().out
    assert main(["query", "--table", f"{bucket}/nothing", "SELECT 1"]) == 2
    assert "--table no table at" in capsys.readouterr().err


def test_an_object_that_was_cut_is_named(store, tmp_path, capsys):
    _, bucket = store
    PlainRun(write_files(tmp_path / "corpus", 3), tmp_path / "table", "run-1").all()
    file = next((tmp_path / "table").glob("clips/*/*.parquet"))
    file.write_bytes(file.read_bytes()[:-500])
    upload(tmp_path / "table", f"{bucket}/t")
    assert main(["query", "--table", f"{bucket}/t", "FROM clips"]) == 1
    error = capsys.readouterr().err
    assert file.name in error
    assert error.count("\n") == 1
