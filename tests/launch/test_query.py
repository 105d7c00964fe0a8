"""`l3flow query`: formats, where SQL comes from, what is refused, the prompt, what a process pays."""

import csv
import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from l3core import storage
from l3core.errors import RunError
from l3core.sql.asking import Asking
from l3core.table.layout import TablePaths
from l3core.table.read import read_windows
from launch.main import main
from launch.prompt import is_whole
from launch.query import _Printing
from tests.corpus import PlainRun, write_files
from tests.crossval_result import make_result

REPO = Path(__file__).parents[2]
NASTY = "a\x1b[31m,\"b\"\r\n'ü'"
ROW = (
    "SELECT 1 AS a, 2 AS a, 'nan'::DOUBLE AS d, '-inf'::FLOAT f, 1.5 AS e, 18446744073709551616 AS h, "
    "true AS t, NULL AS n, '' AS empty, {'x': [1.0, 'inf'::DOUBLE]} AS s, "
    "MAP {'k': DATE '2026-01-02'} AS m, "
    "TIMESTAMPTZ '2026-01-02 03:04:05+01' AS w, TIMESTAMP_NS '2026-01-02 03:04:05.123456789' AS ns, "
    "TIME '01:02:03' AS o, INTERVAL 3 DAY AS i, '\\xFFa'::BLOB AS b, [0.5, 2]::FLOAT[2] AS v, "
    "uuid '00000000-0000-0000-0000-000000000001' AS u"
)
COMMAND = [sys.executable, "-m", "launch.main", "query"]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Three clips of five windows each."""
    folder = tmp_path_factory.mktemp("query")
    PlainRun(write_files(folder / "corpus", 3), folder / "table", "run-1").all()
    return folder / "table"


@pytest.fixture
def ask(table, capfdbinary):
    """Runs the command on the table; (code, standard output, standard error) in bytes."""

    def ask(*argv):
        code = main(["query", "--table", str(table), *argv])
        said = capfdbinary.readouterr()
        return code, said.out, said.err.decode()

    return ask


def started(*argv, **more):
    environment = os.environ | {"PYTHONPATH": str(REPO)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*COMMAND, *argv], env=environment, **pipes, **more)


def test_an_aligned_table(ask):
    code, out, err = ask("SELECT status, count(*) AS n, sum(windows_written) FROM clips GROUP BY ALL")
    assert (code, err) == (0, "")
    assert out.decode() == f"status  n  sum(windows_written)\nok      3{' ' * 20}15\n"
    _, out, _ = ask("FROM windows LIMIT 1")
    lines = out.decode().splitlines()
    assert lines[0].split() == ["clip_id", "window", "start_s", "silent", "embedding"]
    assert lines[1].startswith("000.wav       0   -0.125  false   [")
    assert lines[1].endswith(", ... 8 in all]")


def test_wide_characters_and_null_keep_their_columns(ask):
    _, out, _ = ask("SELECT * FROM (VALUES ('日本', 1), (NULL, 22)) t(a, b)")
    assert out.decode() == "a      b\n日本   1\nNULL  22\n"


def test_a_long_answer_is_cut_on_a_screen_and_says_so(ask):
    code, out, err = ask("FROM range(1001)")
    assert (code, len(out.splitlines())) == (0, 1001)
    assert err == "only the first 1,000 rows: --format csv gives all\n"
    _, out, err = ask("FROM range(1000)")
    assert (len(out.splitlines()), err) == (1001, "")
    _, out, err = ask("FROM range(3000)", "--format", "csv")
    assert (len(out.splitlines()), err) == (3001, "")


def test_json_is_valid_whatever_is_in_it(ask):
    code, out, _ = ask("--json", ROW)
    assert code == 0
    assert out.isascii()

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    (row,) = json.loads(out, parse_constant=refuse)
    assert row == {
        "a": 1,
        "a_1": 2,
        "d": None,
        "f": None,
        "e": 1.5,
        "h": 18446744073709551616,
        "t": True,
        "n": None,
        "empty": "",
        "s": {"x": [1.0, None]},
        "m": {"k": "2026-01-02"},
        "w": "2026-01-02 02:04:05+00:00",
        "ns": "2026-01-02 03:04:05.123456",
        "o": "01:02:03",
        "i": "0 months 3 days 0 s",
        "b": "/2E=",
        "v": [0.5, 2.0],
        "u": "00000000-0000-0000-0000-000000000001",
    }
    assert json.loads(ask("--json", "FROM clips LIMIT 0")[1]) == []
    assert len(json.loads(ask("--format", "json", "FROM range(2500)")[1])) == 2500


def test_csv_is_as_the_rfc_has_it(ask, tmp_path):
    sql = tmp_path / "nasty.sql"
    quoted = NASTY.replace("'", "''")
    sql.write_text(f"SELECT '{quoted}' AS \"na,me\", 1.5 AS x, NULL AS n, [1, NULL] AS l", newline="")
    _, out, _ = ask("--format", "csv", f"@{sql}")
    assert out == (b'"na,me",x,n,l\r\n"' + NASTY.replace('"', '""').encode() + b'",1.5,,"[1, null]"\r\n')
    (names, row) = csv.reader(io.StringIO(out.decode(), newline=""))
    assert (names[0], row[0]) == ("na,me", NASTY)
    _, out, _ = ask("--format", "csv", ROW)
    assert out.decode().splitlines()[1] == (
        "1,2,nan,-inf,1.5,18446744073709551616,true,,,"
        '"{""x"": [1.0, null]}","{""k"": ""2026-01-02""}",2026-01-02 02:04:05+00:00,'
        '2026-01-02 03:04:05.123456,01:02:03,0 months 3 days 0 s,/2E=,"[0.5, 2.0]",'
        "00000000-0000-0000-0000-000000000001"
    )


@pytest.mark.parametrize(("name", "flags"), [("a.parquet", []), ("a", ["--format", "parquet"])])
def test_parquet_has_the_rows_and_their_types(ask, table, tmp_path, name, flags):
    code, out, _ = ask(
        'FROM windows ORDER BY clip_id, "window"', "--output", str(tmp_path / name), *flags
    )
    assert (code, out.decode()) == (0, f"15 rows: {tmp_path / name}\n")
    found = pq.ParquetFile(tmp_path / name).read()
    metadata, vectors = read_windows(table)
    assert found.drop_columns("embedding").to_pylist() == metadata.to_pylist()
    assert found["embedding"].type == pa.list_(pa.field("element", pa.float32()), 8)
    assert found["embedding"].to_pylist() == vectors.tolist()
    assert ask("FROM windows LIMIT 0", "--output", str(tmp_path / name), *flags)[0] == 0
    assert pq.ParquetFile(tmp_path / name).read().schema.names == found.schema.names


def test_arrow_through_a_pipe_and_in_a_file(ask, tmp_path):
    _, out, _ = ask("--format", "arrow", "FROM range(5000) t(i)")
    assert pa.ipc.open_file(out).read_all()["i"].to_pylist() == list(range(5000))
    assert ask("FROM range(3) t(i)", "--output", f"{tmp_path}/a.feather", "--quiet")[:2] == (0, b"")
    assert pa.ipc.open_file(pa.OSFile(f"{tmp_path}/a.feather")).read_all()["i"].to_pylist() == [0, 1, 2]


def test_an_output_is_whole_or_not_there(ask, tmp_path):
    place = tmp_path / "a.csv"
    place.write_text("before")
    code, _, err = ask(
        "SELECT 1 / (i - 2900)::INT, error('x' || i) FROM range(3000) t(i)", "--output", str(place)
    )
    assert code == 2
    assert "x0" in err
    assert place.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
    assert ask("SELECT 1 AS x", "--output", f"{tmp_path}/folder/t.txt")[0] == 0
    assert (tmp_path / "folder/t.txt").read_text() == "x\n1\n"


def test_an_answer_goes_to_a_store(ask, bucket):
    assert ask("SELECT 1 AS x", "--output", f"{bucket}/a b.csv")[0] == 0
    assert storage.read_bytes(f"{bucket}/a b.csv") == b"x\r\n1\r\n"


def test_sql_from_a_file_and_from_standard_input(ask, tmp_path, monkeypatch, table):
    (tmp_path / "a.sql").write_text(
        "\ufeff-- a comment\nSELECT count(*) AS n\nFROM clips;\n", encoding="utf-8"
    )
    assert ask(f"@{tmp_path}/a.sql")[1] == b"n\n3\n"
    monkeypatch.setattr("sys.stdin", io.StringIO("SELECT 7 AS n"))
    assert ask()[1] == b"n\n7\n"


def test_a_result_of_crossval_has_its_views(ask, tmp_path):
    result = make_result(tmp_path / "result")
    sql = "SELECT true_label, part, chosen FROM predictions JOIN splits USING (clip_id), trials"
    code, out, _ = ask("--crossval", str(result), "--json", sql)
    assert code == 0
    assert json.loads(out) == [{"true_label": "dog", "part": "test", "chosen": True}]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["selec"], "SQL: Parser error in line 1, column 1: syntax error"),
        (["SELECT foo FROM clips"], 'column 8: Referenced column "foo" not found'),
        (["SELECT 1", "--spec", "sff"], "--spec sff is none of the specs in "),
        (["SELECT 1", "--crossval", "/nowhere"], "no result of l3flow crossval at /nowhere"),
        (["SELECT 1", "--output", "/proc/a.csv"], "--output /proc/a.csv: cannot write there"),
        (["SELECT 1", "--output", "{table}/a.csv"], "lies in the table"),
        (["SELECT 1", "--output", "{table}", "--json"], "lies in the table"),
        (["SELECT 1", "--output", "{folder}/link/a.csv"], "lies in the table"),
        (["SELECT 1", "--output", "{folder}/away", "--json"], "lies in the table"),
        (["SELECT 1", "--output", "{folder}/p.csv"], ": cannot write there: it is no regular file"),
        (["SELECT 1", "--output", "{folder}", "--json"], ": cannot write there: it is no regular file"),
        (["SELECT 1", "--output", "a.xyz"], "--output a.xyz: no format has this suffix: .csv, .json, "),
        (["SELECT 1", "--output", "gs://a.csv/answer"], "no format has this suffix: .csv, .json, "),
        (["SELECT '\udcff'"], "SQL: is no text in UTF-8"),
        (["-- all\nselec"], "SQL: Parser error in line 2, column 1: syntax error"),
        (["SET VARIABLE x = 1", "--output", "{folder}/a.csv"], "has no rows to write"),
        (["@/nowhere.sql"], "SQL @/nowhere.sql: cannot read it: No such file"),
        (["@{table}"], "cannot read it: Is a directory"),
        (["SELECT 1", "--format", "xml"], "invalid choice: 'xml'"),
        (["SELECT 1", "--json", "--format", "csv"], "--json and --format csv exclude each other"),
        (["SELECT 1", "--print-views"], "--print-views prints SQL"),
        (["SELECT 1", "--fromat", "csv"], "unknown option --fromat, did you mean --format?"),
        (["", "--quiet"], "no SQL"),
    ],
)
def test_what_is_wrong_is_one_line(ask, table, tmp_path, flags, words):
    (tmp_path / "link").symlink_to(table)
    os.mkfifo(tmp_path / "p.csv")
    (tmp_path / "away").symlink_to(next(table.glob("clips/*/*.parquet")))
    named = [flag.format(table=table, folder=tmp_path) for flag in flags]
    code, out, err = ask(*named)
    assert (code, out, err.count("\n")) == (2, b"", 1)
    assert words in err


@pytest.mark.parametrize("content", ["junk", "another table"])
def test_what_is_no_result_of_crossval_is_told(ask, tmp_path, content):
    for name in ("predictions", "splits", "trials"):
        place = tmp_path / f"{name}.parquet"
        if content == "junk":
            place.write_bytes(b"junk")
        else:
            pq.write_table(pa.table({"x": [1]}), place)
    code, out, err = ask("SELECT 1", "--crossval", str(tmp_path))
    assert (code, out, err.count("\n")) == (2, b"", 1)
    assert f"{tmp_path} is no result of l3flow crossval: " in err


@pytest.mark.parametrize("flags", [[], ["--format", "csv"], ["--json"]])
@pytest.mark.parametrize(
    "value", ["DATE '10000-01-01'", "'infinity'::TIMESTAMP", "[DATE '0044-03-15 (BC)']"]
)
def test_dates_beyond_pythons_are_told(ask, flags, value):
    code, _, err = ask(f"SELECT 1 AS a, {value} AS late", *flags)
    assert (code, err.count("\n")) == (2, 1)
    assert "late has dates before year 1 or after 9999: select late::VARCHAR, or --format parquet" in err


def test_dates_beyond_pythons_go_where_python_does_not_look(ask, tmp_path):
    assert ask("SELECT 'infinity'::DATE AS late", "--output", str(tmp_path / "a.parquet"))[0] == 0
    assert pq.read_table(tmp_path / "a.parquet")["late"].cast(pa.int32()).to_pylist() == [2**31 - 1]


def test_sql_may_begin_with_a_comment(ask):
    code, out, _ = ask("-- how many\nSELECT count(*) AS n FROM clips")
    assert (code, out) == (0, b"n\n3\n")


def test_a_plan_is_shown_in_its_lines(ask):
    code, out, _ = ask("EXPLAIN SELECT clip_id FROM windows WHERE start_s > 1")
    assert code == 0
    assert "\\x0a" not in out.decode()
    assert len(out.decode().splitlines()) > 5
    _, out, _ = ask("SELECT 'physical_plan' AS explain_key, chr(10) || chr(27) AS explain_value")
    assert out == b"\n\\x1b\n"


@pytest.mark.parametrize("view", ["predictions", "splits", "trials"])
def test_a_view_of_crossval_without_its_result_is_told(tmp_path, capsys, view):
    PlainRun(write_files(tmp_path / "corpus", 1), tmp_path / "table", "run-1").all()
    assert main(["query", "--table", str(tmp_path / "table"), f"FROM {view}"]) == 2
    err = capsys.readouterr().err
    assert f"Table with name {view} does not exist" in err
    assert "(--crossval makes this view of a result)" in err


@pytest.mark.parametrize(
    "command",
    [
        ("query", "SELECT 1"),
        ("query", "--print-views"),
        ("similar", "a.wav"),
        ("index",),
        ("map",),
        ("ddl", "--to", "clickhouse"),
        ("export", "--format", "lance", "--output", "out"),
        ("specs",),
        ("runs",),
        ("verify",),
        ("compact",),
    ],
    ids=" ".join,
)
def test_no_table_there_and_an_unfinished_run(tmp_path, capsys, command):
    assert main([*command, "--table", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert f"--table no table at {tmp_path}: nothing was ever committed there (see" in err
    PlainRun(write_files(tmp_path / "corpus", 2), tmp_path / "table", "run-1").make_plan().embed()
    assert main([*command, "--table", str(tmp_path / "table")]) == 2
    err = capsys.readouterr().err
    assert (
        "nothing was ever committed there; a run is at work there, or was ended: l3flow embed goes"
        in err
    )
    assert err.count("\n") == 1


def test_a_damaged_file_is_named(tmp_path, capsys):
    PlainRun(write_files(tmp_path / "corpus", 2), tmp_path / "table", "run-1").all()
    file = next((tmp_path / "table").glob("clips/*/*.parquet"))
    file.write_bytes(file.read_bytes()[:-7])
    assert main(["query", "--table", str(tmp_path / "table"), "FROM clips"]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"l3flow: {file} is damaged: it has ")
    assert err.count("\n") == 1


def test_without_duckdb_one_line_tells_how_to_get_it(ask, monkeypatch):
    monkeypatch.setattr("launch.query.find_spec", lambda name: None)
    code, _, err = ask("SELECT 1")
    assert (code, err.count("\n")) == (2, 1)
    assert "a query needs duckdb: pip install 'duckdb" in err


def test_an_answer_is_printed_once(table, capfdbinary):
    """If a commit takes a file away meanwhile: what is printed cannot be taken back."""
    printing = _Printing("csv")
    question = Asking(TablePaths(str(table)), None)
    question.ask("SELECT 1 AS x", printing)
    with pytest.raises(RunError, match="another run committed while the answer was printed: ask again"):
        question.ask("SELECT 1 AS x", printing)
    assert capfdbinary.readouterr().out == b"x\r\n1\r\n"


def test_a_process_loads_nothing_heavy(table):
    """So that a question to a ledger is answered in well under a second, start-up included."""
    code = "import sys; from launch.main import main; main(sys.argv[1:]); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, "query", "--table", str(table), "SELECT count(*) AS n FROM clips"],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}
    assert done.stdout.startswith("n\n3\n")
    assert {"duckdb", "pyarrow"} <= loaded
    heavy = {"tensorflow", "keras", "apache_beam", "pandas", "sklearn", "scipy", "h5py", "gcsfs", "s3fs"}
    assert loaded & heavy == set()


def test_ctrl_c_ends_a_query_with_130(table):
    sql = "SELECT count(*) FROM range(1000000000000) a(i), windows WHERE i % 7 = start_s"
    with started("--table", str(table), sql) as process:
        time.sleep(4)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, b"", b"l3flow: interrupted\n")


def test_a_reader_that_goes_away_is_no_error_of_ours(table):
    with started("--table", str(table), "--format", "csv", "FROM range(100000000)") as process:
        assert process.stdout.readline() == b"range\r\n"
        process.stdout.close()
        assert process.wait(timeout=60) == 1
        assert process.stderr.read() == b""


def test_binary_answers_are_nothing_for_a_terminal(table, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert main(["query", "--table", str(table), "SELECT 1", "--format", "parquet"]) == 2
    assert "nothing for a terminal" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("SELECT 1", False),
        ("SELECT 1;", True),
        ("SELECT 1; -- done", True),
        ("SELECT 1 -- done;", False),
        ("SELECT ';", False),
        ("SELECT ';\n';", True),
        ("SELECT 'it''s;", False),
        ('SELECT 1 AS ";', False),
        ("SELECT /* ; ", False),
        ("SELECT /* ; */ 1;", True),
        ("SELECT $$ ; ", False),
        ("SELECT $a$ ; $a$;", True),
    ],
)
def test_when_a_question_is_whole(text, whole):
    assert is_whole(text) == whole


# Not `pty.fork`: packages that other tests have loaded warn of forks.
WITH_TERMINAL = (
    "import fcntl, os, sys, termios\n"
    "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
    "os.execv(sys.argv[1], sys.argv[1:])\n"
)


class Terminal:
    """The prompt on a terminal of its own."""

    def __init__(self, table, state):
        self.screen, terminal = pty.openpty()
        argv = [*COMMAND, "--table", str(table)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", WITH_TERMINAL, *argv],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": str(REPO), "XDG_STATE_HOME": str(state), "TERM": "dumb"},
        )
        os.close(terminal)

    def until(self, word):
        """What comes until a word; without the terminal's carriage returns."""
        said, end = b"", time.monotonic() + 60
        while word not in said:
            assert time.monotonic() < end, said
            if select.select([self.screen], [], [], 1)[0]:
                said += os.read(self.screen, 65536)
        return said.decode().replace("\r", "")

    def type(self, text, word=b"l3flow> "):
        """Type, and what comes until a word."""
        os.write(self.screen, text)
        return self.until(word)


def test_the_prompt(table, tmp_path):
    terminal = Terminal(table, tmp_path)
    try:
        start = terminal.until(b"l3flow> ")
        assert "windows      clip_id, window, start_s, silent, embedding\n" in start
        assert "\nspecs        fingerprint, model, " in start
        terminal.type(b"SELECT count(*) AS n\n", b"   ...> ")
        assert "\nn\n3\n" in terminal.type(b"FROM clips;\n")
        assert "\nSQL: Parser error" in terminal.type(b"selec;\n")
        assert "there is no .hepl" in terminal.type(b".hepl\n")
        assert ".quit     leave" in terminal.type(b".help\n")
        assert "\n\\x1b[31m" in terminal.type(b"SELECT chr(27) || '[31m' AS x;\n")
        endless = b"SELECT count(*) FROM range(1000000000000) a(i), windows WHERE i % 7 = start_s;\n"
        for seconds in (0.2, 2, 10, 30):  # until it has begun
            terminal.type(endless, b";\r\n")
            time.sleep(seconds)
            if "interrupted" in (said := terminal.type(b"\x03")):
                break
        assert "interrupted" in said
        terminal.type(b"FROM what was typed\n", b"   ...> ")
        terminal.type(b"\x03")
        assert "\none\n  1\n" in terminal.type(b"SELECT 1 AS one;\n")
        os.write(terminal.screen, b"\x04")
        assert terminal.process.wait(60) == 0
    finally:
        os.close(terminal.screen)
    history = tmp_path / "l3flow/query_history"
    assert "FROM clips;" in history.read_text().splitlines()
    assert history.stat().st_mode & 0o077 == 0


def test_the_prompt_sees_each_new_commit(tmp_path, monkeypatch, capsys):
    corpus = write_files(tmp_path / "corpus", 2)
    PlainRun(corpus, tmp_path / "table", "run-1").all()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)

    def typed(prompt, said=[]):  # noqa: B006
        said.append(prompt)
        if len(said) == 2:
            write_files(corpus, 1, first=7)
            PlainRun(corpus, tmp_path / "table", "run-2").all()
        if len(said) == 3:
            raise EOFError
        return "SELECT count(*) AS n FROM clips;"

    monkeypatch.setattr("builtins.input", typed)
    assert main(["query", "--table", str(tmp_path / "table")]) == 0
    assert "\nn\n2\nn\n3\n" in capsys.readouterr().out


def test_when_is_utc(ask):
    """Wherever the machine is."""
    _, out, _ = ask("--json", "SELECT embedded_at FROM clips LIMIT 1")
    when = datetime.fromisoformat(json.loads(out)[0]["embedded_at"])
    assert when.utcoffset().total_seconds() == 0
    assert abs((datetime.now(timezone.utc) - when).total_seconds()) < 3600
