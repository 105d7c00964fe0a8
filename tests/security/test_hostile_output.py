"""What commands print over names and errors that somebody has written: nothing a terminal acts on."""

import io
import json
import os
import shutil
import subprocess
import sys
import time

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from l3core.classifier import Classifier, to_keras
from l3core.crossval.mlps import initial_tensors
from l3core.errors import BusyError
from l3core.sql.text import glob_text, sql_text
from l3core.table.layout import TablePaths
from l3core.table.lock import refuse_if_busy
from l3core.weights import load_weights
from launch import output, screen
from launch.main import COMMANDS, main
from launch.words import printable
from tests.corpus import FLAGS, SPEC, write_audio

# A terminal's escapes, C1 controls, a bell, overrides of the direction, what has no width, rich's markup
# and emoji, lines that look like ours, bytes that are no UTF-8.
NASTY = (
    *("\x1b[31mred", "\x1b]0;title\x07", "\x9b2J", "\x07bell", "\x7fdel", "back\x08space", "c\rr"),
    *("\u202egpj", "\u2066iso\u2069", "\u200bzero", "\ufeffbom", "\u2028line", "a\nl3flow: all is well"),
    *("[bold]b[/bold]", "[/]", ":smile:", "[link=http://x]l[/link]", "%s{0}{x}", "$(reboot)", "`id`"),
    *(
        "'; DROP TABLE clips; --",
        "<script>alert(1)</script>",
        "\udcff\udc9b",
        "tab\ttab",
        "\U000e0041tag",
    ),
)
EVIL = "\x1b[2J\u202e\x9b\n[red]"


def is_harmless(text):
    return all(char in "\n\t" or char.isprintable() for char in text)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a corpus, half of it broken, in a folder with such a name, too."""
    folder = tmp_path_factory.mktemp("place") / "pl\x1b[1mace\u202e'"
    (folder / "corpus").mkdir(parents=True)
    sound = write_audio(folder / "a.wav", 0.3).read_bytes()
    for number, name in enumerate(NASTY):
        path = folder / "corpus" / (name.replace("/", "_") + ".wav")
        path.write_bytes(b"RIFF nothing" if number % 2 else sound)
    return folder


@pytest.fixture
def said(place, capsys, monkeypatch):
    """Runs a command line in the folder; (code, standard output, standard error)."""
    monkeypatch.chdir(place)

    def said(*argv):
        code = main(argv)
        printed = capsys.readouterr()
        assert is_harmless(printed.out), repr(printed.out)
        assert is_harmless(printed.err), repr(printed.err)
        if "--json" in argv and code == 0:
            json.loads(printed.out)
            assert printed.out.isascii()
        return code, printed.out, printed.err

    return said


@pytest.fixture(scope="module")
def made(place):
    """A table of the corpus."""
    assert (
        main(["embed", "--input", str(place / "corpus"), *FLAGS, "--output", str(place / "made")]) == 0
    )
    return place / "made"


@pytest.fixture
def table(made, tmp_path):
    """A copy of it, of a hostile name."""
    return shutil.copytree(made, tmp_path / "t\x1b[31ma\u202eble")


EMBED = ("embed", "--input", "corpus", *FLAGS, "--output")


@pytest.mark.parametrize("more", [(), ("--json",), ("--dry-run",), ("--dry-run", "--json"), ("--full",)])
def test_embed_prints_names_and_errors_of_a_hostile_corpus(said, more):
    code, out, _ = said(*EMBED, f"new\x1b{len(more)}", *more)
    assert code == 0
    if more == ("--full",):
        assert r"\x1b]0;title\x07.wav: " in out


@pytest.mark.parametrize("more", [(), ("--json",)])
@pytest.mark.parametrize(
    "command",
    [
        ("runs",),
        ("runs", "--plot", "p\x1b[31m.html"),
        ("specs",),
        ("verify",),
        ("query", "FROM clips"),
        ("query", "FROM runs"),
        ("repair",),
        ("compact",),
        ("reroot", "--root", "/"),
        ("reroot", "--root", "x\x1b\u202e", "--moved"),
        ("specs", "drop", "s"),
    ],
    ids=" ".join,
)
def test_commands_on_a_table_print_nothing_that_a_terminal_acts_on(said, table, command, more):
    code, out, _ = said(*command, "--table", str(table), *more)
    assert code == 0
    assert out


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("value", [EVIL, "--" + EVIL, "--table=" + EVIL])
def test_what_was_typed_wrong_is_told_in_one_harmless_line(said, command, value):
    code, out, err = said(command, value)
    assert code in (1, 2)
    assert out == ""
    assert err.count("\n") == 1


FLAGS_WITH_VALUES = (
    *("--input", "--weights", "--model", "--precision", "--hop", "--engine", "--model-option"),
    *("--max-unreadable", "--root", "--log-file", "--storage-option", "--runner", "--grid"),
)


@pytest.mark.parametrize("flag", FLAGS_WITH_VALUES)
def test_values_of_options_are_echoed_harmlessly(said, flag):
    value = EVIL if flag != "--log-file" else f"none/{EVIL}"
    given = {"--input": "corpus", "--output": "new", flag: value}  # a second --input would add to it
    code, out, err = said("embed", *FLAGS, *(word for pair in given.items() for word in pair))
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert r"\x1b[2J\u202e\x9b\x0a[red]" in err or r"\x1b[2J\u202e\x9b\n[red]" in err


@pytest.mark.parametrize(
    "argv",
    [
        (EVIL,),
        ("datasets", "--dataset", EVIL),
        ("datasets", "--dataset", "esc10", "--dataset-root", EVIL),
        ("crossval", "--dataset", "esc10", "--dataset-root", EVIL, "--table", EVIL, "--output", EVIL),
        ("classify", "--model", EVIL, "--input", "corpus"),
        ("weights", "fetch", EVIL),
        ("weights", "export", EVIL + "/none/w.h5", "--weights", EVIL),
        ("bench", EVIL),
        ("flink", EVIL),
    ],
    ids=lambda argv: argv[0] if argv[0] in COMMANDS else "none",
)
def test_names_in_errors_of_other_commands_are_harmless(said, argv):
    code, _, err = said(*argv)
    assert code in (1, 2)
    assert err.count("\n") == 1


@pytest.fixture(scope="module")
def model(place):
    """A classifier whose labels are hostile."""
    generator = np.random.default_rng(0)
    facts = {
        "fingerprint": SPEC.fingerprint(load_weights(SPEC).digest),
        "embedding": {"spec": SPEC.to_dict(), "weights": EVIL},
    }
    found = Classifier(
        labels=(EVIL, "b" + EVIL),
        mean=np.zeros(8),
        scale=np.ones(8),
        tensors=initial_tensors(8, 2, generator),
        facts=facts,
    )
    (place / "m\x1b\u202e.keras").write_bytes(to_keras(found))
    return "m\x1b\u202e.keras"


@pytest.mark.parametrize(
    "more",
    [(), ("--json",), ("--per-window",), ("--output", "l\x1b.csv"), ("--output", "l\x1b.parquet")],
)
def test_classify_prints_hostile_labels_and_names_harmlessly(said, model, more):
    code, out, _ = said("classify", "--model", model, "--input", "corpus", *more)
    assert code == 0
    if not more:
        assert len(out.splitlines()) == len(NASTY)
        assert r"\x1b[2J\u202e\x9b\x0a[red]" in out


def test_weights_are_listed_and_exported_to_a_place_of_any_name(said):
    weights = ("--model", "fake", "--engine", "fake", "--weights", "random:0")
    assert said("weights", "export", "w\x1b\u202e\n.h5", *weights)[1].count("\n") == 1
    assert said("weights", "export", "w\x1b\u202e.h5", *weights, "--json")[0] == 0
    assert said("weights", "list", "--json")[0] == said("weights", "list")[0] == 0


def test_texts_of_a_table_that_somebody_else_wrote_are_harmless(said, table):
    for folder in ("_l3flow/journal", "runs", "specs"):
        for path in (table / folder).glob("*.json"):
            text = path.read_text()
            for word in ("embed", "fake", "ok"):
                text = text.replace(f'"{word}"', json.dumps(word + EVIL))
            path.write_text(text)
    for command in ("runs", "specs", "verify", "repair"):
        for more in ((), ("--json",)):
            _, out, _ = said(command, "--table", str(table), *more)
            assert command == "repair" or "[red]" in out  # rich takes no markup out of it
    fingerprint = next((table / "windows").iterdir()).name.removeprefix("spec=")
    (table / "_l3flow/lock").mkdir(exist_ok=True)
    lock = {"run_id": "run" + EVIL, "host": "host" + EVIL, "pid": 1}
    (table / f"_l3flow/lock/{fingerprint}.json").write_text(json.dumps(lock))
    for more in ((), ("--json",)):
        code, _, err = said("compact", "--table", str(table), *more)
        assert code == 1
        assert r"host\x1b[2J\u202e" in err
        assert "left all else alone" in said("repair", "--table", str(table), *more)[1]


def test_a_command_that_is_printed_can_be_pasted_into_a_shell(table, tmp_path):
    """Whatever a lock says that somebody has put there."""
    (table / "_l3flow/lock").mkdir(exist_ok=True)
    trace = tmp_path / "trace"
    job = {"name": "j", "master": "nobody:1"}
    lock = {"run_id": f"x; touch {trace}; $(touch {trace})'", "host": "h", "pid": 1, "job": job}
    (table / "_l3flow/lock/s0.json").write_text(json.dumps(lock))
    with pytest.raises(BusyError) as caught:
        refuse_if_busy(TablePaths(str(table)), "s0", "mine")
    command = str(caught.value).partition("wait for it (")[2].partition("), or until")[0]
    done = subprocess.run(
        ["sh", "-c", command.replace("l3flow", "echo", 1)], capture_output=True, text=True
    )
    assert done.stdout == f"runs --table {table} --job {lock['run_id']}\n"
    assert not trace.exists()


def test_a_log_file_has_no_escapes(tmp_path):
    import logging

    from launch.quiet import quiet_libraries

    with quiet_libraries(str(tmp_path / "log")):
        logging.getLogger("somebody").warning("bad name %s\nsecond line", EVIL)
    text = (tmp_path / "log").read_text()
    assert is_harmless(text)
    assert "\nsecond line" in text


def test_what_is_printed_while_libraries_are_quiet_is_harmless():
    """Then `sys.stderr` is another stream, which has its own filter."""
    code = (
        "import sys; from launch.output import plain_output; from launch.quiet import quiet_libraries\n"
        "with plain_output(), quiet_libraries(None): print('a\\x1b[31m\\u202e', file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "a\\x1b[31m\\u202e\n"


def test_a_traceback_of_a_mistake_of_ours_is_harmless():
    code = (
        "from launch import main\n"
        "def fail(): raise ValueError('a\\x1b[31m\\u202e')\n"
        "main.main = fail; main.run()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert is_harmless(done.stderr)
    assert r"ValueError: a\x1b[31m\u202e" in done.stderr


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("shared", [True, False])
def test_beside_a_progress_line_names_are_harmless_and_rows_go_where_they_should(monkeypatch, shared):
    errors, rows = Terminal(), Terminal() if shared else io.StringIO()
    monkeypatch.setattr(sys, "stderr", output.plain(errors))
    monkeypatch.setattr(sys, "stdout", output.plain(rows))
    monkeypatch.setattr(screen, "POLL_S", 0.01)
    monkeypatch.setenv("TERM", "xterm")
    told = []

    def describe(*_):
        told.append(f"now {EVIL}\x1b]0;x\x07")
        return told[-1]

    with screen.showing_progress(lambda: screen.Steps(1, 2), describe, quiet=False):
        until = time.monotonic() + 20
        while len(told) < 5 and time.monotonic() < until:
            time.sleep(0.01)
        print(f"row {EVIL}")
    shown = errors.getvalue()
    assert "now " in shown
    assert r"\x1b[2J\u202e" in shown
    for sequence in ("\x1b[2J", "\x1b]0", "\u202e", "\x9b", "\x07"):
        assert sequence not in shown
        assert sequence not in rows.getvalue()
    assert (r"row \x1b[2J\u202e\x9b" in (shown if shared else rows.getvalue())) is True


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ünï", "plain ünï"),
        ("\x1b\x9b\n\t", r"\x1b\x9b\x0a\x09"),
        ("\u202e\u200b", r"\u202e\u200b"),
        ("\U000e0041", r"\U000e0041"),
        (os.fsdecode(b"\xff"), r"\udcff"),
    ],
)
def test_what_is_not_printable_is_written_as_an_escape(text, shown):
    assert printable(text) == shown


SQL_NAMES = (
    *("plain", "it's", "a[b]", "x*y", "q?z", "{a,b}", "; DROP TABLE x; --", "'||(select 1)||'"),
    *("two\nlines", "\u202egnp", "\x1b[31m"),
)


@pytest.mark.parametrize("name", SQL_NAMES)
def test_the_sql_that_is_printed_reads_the_table_and_nothing_else(name, tmp_path):
    for each in (*SQL_NAMES, "xAy", "qAz", "ab"):
        folder = tmp_path / each / "clips/spec=1"
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"of": [each]}), folder / "f.parquet")
    files = sql_text(glob_text(str(tmp_path / name)) + "/clips/*/*.parquet")
    assert files.isprintable()
    assert duckdb.sql(f"SELECT of FROM read_parquet({files})").fetchall() == [(name,)]


def test_the_sql_of_embed_can_be_pasted(said, place):
    _, out, _ = said("embed", "--input", "corpus", "--output", "it's [1]\x1b", *FLAGS)
    statement = out.partition("all of them: ")[2].splitlines()[0]
    found = duckdb.sql(statement.replace("SELECT *", "SELECT status")).fetchall()
    assert len(found) == len(NASTY) // 2
