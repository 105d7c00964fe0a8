"""Questions in SQL: a commit's rows as they are, whatever is published, lost or damaged meanwhile."""

import json
import os
import shutil
import signal
import threading
import time

import duckdb
import numpy as np
import pytest

from l3core.errors import RunError, TableError, UsageError
from l3core.sql.asking import Asking, open_views
from l3core.sql.sources import plain_sources
from l3core.sql.views import view_statements
from l3core.table import journal
from l3core.table.failed import note_failure
from l3core.table.layout import TablePaths
from l3core.table.maintenance import compact
from l3core.table.read import read_windows
from l3core.table.state import load_state
from tests.corpus import PlainRun, ledger, replace_file, table_rows, write_files, write_mixed
from tests.crossval_result import make_result
from tests.l3core.table.test_read import OTHER
from tests.stores import Killed

WINDOWS = 'SELECT * FROM windows ORDER BY clip_id, "window"'
VIEWS = ("windows", "clips", "runs", "specs", "predictions", "splits", "trials")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A table of a mixed corpus, in a folder with an awkward name, and a result."""
    folder = tmp_path_factory.mktemp("asking") / "it's a [t]able=%20 Ü*?\x1b"
    folder.mkdir()
    (folder / "corpus").mkdir()
    run = PlainRun(write_mixed(folder / "corpus"), folder / "table", "run-1").all()
    return folder, run


def asking(table, spec=None, **more):
    return Asking(TablePaths(str(table)), spec, **more)


def rows_of(question, sql=WINDOWS):
    found = question.ask(sql, lambda rows: rows.read_all())
    return found.to_pylist()


def killed(paths, commit):
    raise Killed


def as_bytes(rows):
    return [(*list(row.values())[:4], np.float32(row["embedding"]).tobytes()) for row in rows]


def test_windows_and_ledger_are_the_files_rows(made):
    folder, _ = made
    question = asking(folder / "table")
    assert as_bytes(rows_of(question)) == table_rows(folder / "table")
    found = {row["clip_id"]: row for row in rows_of(question, "FROM clips")}
    assert found == ledger(folder / "table")


def test_vectors_are_arrays_that_duckdb_computes_with(made):
    connection = open_views(made[0] / "table")
    assert str(connection.sql("SELECT embedding FROM windows").types[0]) == "FLOAT[8]"
    sql = "SELECT array_cosine_similarity(embedding, (SELECT any_value(embedding) FROM windows "
    sql += 'WHERE clip_id = \'a.wav\' AND "window" = 2)) FROM windows ORDER BY clip_id, "window"'
    found = np.array(connection.sql(sql).fetchall(), float).ravel()
    metadata, vectors = read_windows(made[0] / "table")
    place = metadata.to_pylist().index(
        next(row for row in metadata.to_pylist() if (row["clip_id"], row["window"]) == ("a.wav", 2))
    )
    lengths = np.linalg.norm(vectors.astype(float), axis=1) * np.linalg.norm(vectors[place])
    np.testing.assert_allclose(found, vectors @ vectors[place] / lengths, rtol=1e-5)


def test_runs_and_specs(tmp_path):
    corpus, table = write_files(tmp_path / "corpus", 2), tmp_path / "table"
    first = PlainRun(corpus, table, "run-1").all()
    second = PlainRun(corpus, table, "run-2", spec=OTHER).all()
    facts = {"run_id": "run-3", "status": "failed", "message": "no 'disk'", "stage": "embedding"}
    note_failure(first.paths, facts | {"failed_at": "2037-01-01T01:00:00+01:00", "duration_s": 1.5})
    question = asking(table, first.plan.fingerprint)
    runs = rows_of(question, "SELECT run_id, status, windows, wall_s, message, clips->>'ok' n FROM runs")
    assert [list(row.values())[:3] for row in runs[:2]] == [["run-1", "ok", 10], ["run-2", "ok", 6]]
    assert [row["n"] for row in runs] == ["2", "2", None]
    expected = {"run_id": "run-3", "status": "failed", "windows": None, "wall_s": 1.5}
    assert runs[2] == expected | {"message": "no 'disk'", "n": None}
    (ended,) = rows_of(question, "SELECT ended_at::VARCHAR t FROM runs WHERE status <> 'ok'")
    assert ended["t"] == "2037-01-01 00:00:00+00"
    specs = rows_of(question, "FROM specs ORDER BY hop_s")
    assert [row["fingerprint"] for row in specs] == [first.plan.fingerprint, second.plan.fingerprint]
    assert [(row["model"], row["hop_s"], row["windows"], row["clips"]) for row in specs] == [
        ("fake", 0.25, 10, 2),
        ("fake", 0.5, 6, 2),
    ]


def test_one_spec_of_several(tmp_path):
    corpus, table = write_files(tmp_path / "corpus", 1), tmp_path / "table"
    PlainRun(corpus, table, "run-1").all()
    other = PlainRun(corpus, table, "run-2", spec=OTHER).all().plan.fingerprint
    with pytest.raises(TableError, match=f"several specs, choose one .*{other}"):
        asking(table)
    question = asking(table, other[:7])
    assert question.fingerprint == other
    assert as_bytes(rows_of(question)) == table_rows(table, other)


def test_a_table_without_any_window(tmp_path):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/bad.wav").touch()
    PlainRun(tmp_path / "corpus", tmp_path / "table", "run-1").all()
    question = asking(tmp_path / "table")
    assert rows_of(question) == []
    assert [row["status"] for row in rows_of(question, "FROM clips")] == ["empty"]


def test_the_printed_views_make_the_same_in_a_plain_duckdb(made):
    folder, run = made
    result = make_result(folder / "res'ult %=[x]")
    question = asking(folder / "table", crossval=str(result))
    sources = plain_sources(run.paths, load_state(run.paths), question.fingerprint, str(result))
    plain = duckdb.connect()
    plain.execute("SET TimeZone = 'UTC'")
    plain.execute(";\n".join(view_statements(sources)))
    for view in VIEWS:
        ours = question.ask(f"FROM {view} ORDER BY ALL", lambda rows: rows.read_all())
        theirs = plain.sql(f"FROM {view} ORDER BY ALL")
        assert [str(kind) for kind in theirs.types] == [
            str(kind) for kind in question.connection.sql(f"FROM {view}").types
        ]
        assert len(ours) > 0, view
        assert theirs.fetchall() == question.connection.sql(f"FROM {view} ORDER BY ALL").fetchall(), view


def test_no_result_of_crossval_there(made, tmp_path):
    with pytest.raises(
        UsageError, match=r"no result of l3flow crossval at .*predictions\.parquet is not"
    ):
        asking(made[0] / "table", crossval=str(tmp_path))


def test_what_no_commit_has_is_not_seen(tmp_path):
    """A plain reader of the folder would read both."""
    table = tmp_path / "table"
    run = PlainRun(write_files(tmp_path / "corpus", 2), table, "run-1").all()
    before = table_rows(table)
    file = next(table.glob("windows/*/*.parquet"))
    shutil.copy(file, file.with_name("left-behind.parquet"))
    ledger_file = next(table.glob("clips/*/*.parquet"))
    shutil.copy(ledger_file, ledger_file.with_name("left-behind.parquet"))
    (table / "runs/half.json").write_text(json.dumps({"run_id": "half"}))
    question = asking(table)
    assert as_bytes(rows_of(question)) == before
    assert len(rows_of(question, "FROM clips")) == 2
    assert question.fingerprint == run.plan.fingerprint


def test_a_commit_that_is_not_published_yet_is_read_where_its_files_are(tmp_path, monkeypatch):
    corpus, table = write_files(tmp_path / "corpus", 2), tmp_path / "table"
    PlainRun(corpus, table, "run-1").all()
    write_files(corpus, 1, first=5)
    run = PlainRun(corpus, table, "run-2").make_plan().embed()
    monkeypatch.setattr("l3core.table.commit.publish", killed)
    with pytest.raises(Killed):
        run.commit()
    assert load_state(run.paths).pending is not None
    question = asking(table)
    assert len(rows_of(question)) == 15
    assert len(rows_of(question, "FROM clips")) == 3
    monkeypatch.undo()
    journal.repair(run.paths)
    assert len(rows_of(question)) == 15  # of the same connection: the files have moved
    assert as_bytes(rows_of(question)) == table_rows(table)


def test_questions_while_others_commit_see_whole_commits(tmp_path):
    """Runs that replace and merge, while others ask: each time one of the states."""
    corpus, table = write_files(tmp_path / "corpus", 4), tmp_path / "table"
    PlainRun(corpus, table, "run-0").all()
    states, found, problems, stop = [table_rows(table)], [], [], threading.Event()

    def ask():
        question = asking(table)
        while not stop.is_set():
            try:
                question.follow()
                found.append(as_bytes(rows_of(question)))
            except Exception as error:
                problems.append(error)
                return

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(1, 7):
        replace_file(corpus / f"{number % 4:03d}.wav", 1.0 + number, seed=50 + number)
        run = PlainRun(corpus, table, f"run-{number}").all()
        states.append(table_rows(table))
        compact(run.paths, run.plan.fingerprint, f"compact-{number}")
    stop.set()
    for thread in threads:
        thread.join()
    assert problems == []
    assert all(rows in states for rows in found)
    assert len({len(rows) for rows in found}) > 2


def test_a_file_that_a_commit_has_taken_away_is_no_error(tmp_path):
    corpus, table = write_files(tmp_path / "corpus", 2), tmp_path / "table"
    PlainRun(corpus, table, "run-1").all()
    question = asking(table)  # and nothing is read yet
    replace_file(corpus / "000.wav", 3.0, seed=9)
    PlainRun(corpus, table, "run-2").all()
    assert as_bytes(rows_of(question)) == table_rows(table)


def test_a_file_that_is_missing_is_named(tmp_path):
    table = tmp_path / "table"
    PlainRun(write_files(tmp_path / "corpus", 2), table, "run-1").all()
    question = asking(table)
    file = next(table.glob("clips/*/*.parquet"))
    file.unlink()
    with pytest.raises(RunError, match=f"{file} is missing: l3flow verify"):
        rows_of(question, "SELECT sum(size_bytes) FROM clips")


@pytest.mark.parametrize("harm", ["cut", "zeros", "flipped", "text"])
def test_a_damaged_file_is_named(tmp_path, harm):
    table = tmp_path / "table"
    PlainRun(write_files(tmp_path / "corpus", 12, 3.0), table, "run-1").all()
    file = max(table.glob("windows/*/*.parquet"), key=lambda path: path.stat().st_size)
    content = bytearray(file.read_bytes())
    if harm == "cut":
        del content[-100:]
    elif harm == "zeros":
        content[4:-2000] = bytes(len(content) - 2004)
    elif harm == "flipped":
        length = int.from_bytes(content[-8:-4], "little")
        for place in range(-8 - length, -8):  # the footer; in a vector it would go unnoticed
            content[place] ^= 0xFF
    else:
        content = b"no Parquet at all " * (len(content) // 18 + 1)
        content = content[: file.stat().st_size]
    file.write_bytes(bytes(content))
    with pytest.raises(RunError, match=f"{file} is damaged"):
        rows_of(asking(table))


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("", "no SQL"),
        ("-- nothing", "no SQL"),
        ("selec 1", r'Parser error.*near "selec"'),
        ("SELECT 1;\n SELECT foo\nFROM clips", r'Binder error in line 2, column \d+: .*"foo" not found'),
        ("SELECT 'Ü', foo FROM clips", r'Binder error in line 1, column 13: .*"foo" not found'),
        ("FROM window_s", r"Catalog error in line 1, column 6: Table with name window_s does not exist"),
        ("SELECT 'a'::INT", "Conversion error.* 'a' to INT32"),
        ("SELECT error('any page of parquet')", "InvalidInput error: any page of parquet"),
        ("SELECT array_cosine_similarity(embedding, [1]::FLOAT[1]) FROM windows", "same size"),
    ],
)
def test_wrong_sql_is_told_in_one_line(made, sql, words):
    with pytest.raises(UsageError, match=words) as caught:
        rows_of(asking(made[0] / "table"), sql)
    assert "\n" not in str(caught.value)


def test_the_last_of_several_statements_is_the_answer(made):
    question = asking(made[0] / "table")
    sql = "CREATE TEMP TABLE mine AS SELECT clip_id FROM clips; SELECT 1; SELECT count(*) n FROM mine;"
    assert rows_of(question, sql) == [{"n": 10}]
    assert question.ask("SET VARIABLE x = 1", lambda rows: rows.read_all()) is None
    assert rows_of(question, "SELECT getvariable('x') x") == [{"x": 1}]


def test_an_answer_that_is_not_read_to_its_end_is_no_hindrance(made):
    question = asking(made[0] / "table")
    question.ask("FROM range(10000000)", lambda rows: rows.read_next_batch())
    assert rows_of(question, "SELECT 1 AS one") == [{"one": 1}]


def test_ctrl_c_stops_a_query_and_leaves_the_connection(made):
    question = asking(made[0] / "table")
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        rows_of(
            question, "SELECT count(*) FROM range(1000000000000) a(i), windows WHERE i % 7 = start_s"
        )
    assert time.monotonic() - start < 60
    assert rows_of(question, "SELECT 1 AS one") == [{"one": 1}]


def test_a_table_whose_records_do_not_tell_the_length_of_vectors(tmp_path):
    """Those of older versions did not."""
    table = tmp_path / "table"
    PlainRun(write_files(tmp_path / "corpus", 2), table, "run-1").all()
    entry = table / "_l3flow/journal/00000001.json"
    commit = json.loads(entry.read_bytes())
    for facts in commit["record"]["files_added"]:
        facts.pop("vector_bytes", None)
    entry.write_text(json.dumps(commit))
    assert as_bytes(rows_of(asking(table))) == table_rows(table)
