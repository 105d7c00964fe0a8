"""`l3flow specs`, `compact`, `reroot` and `repair`: what they print, and how they end."""

import json
import re

import pytest

from l3core import storage
from l3core.spec import EmbeddingSpec
from l3core.table.layout import TablePaths
from l3core.table.lock import holding
from launch.main import main
from launch.words import size
from tests.corpus import FLAGS, SPEC, PlainRun, expected_rows, snapshot, table_rows, write_files

OTHER = EmbeddingSpec(model="fake", engine="fake", weights="random:0", hop_s=0.5)
COMMANDS = (["specs"], ["specs", "drop", "s"], ["compact"], ["reroot", "--root", "/"], ["repair"])


@pytest.fixture
def corpus(tmp_path):
    return write_files(tmp_path / "data/corpus", 4)


@pytest.fixture
def table(tmp_path):
    return tmp_path / "table"


@pytest.fixture
def both(corpus, table):
    """Fingerprints of two specs: of four clips with 5 windows each, and of six with 3 each."""
    one = PlainRun(corpus, table, "run-1").all().plan.fingerprint
    write_files(corpus, 2, first=4)
    return one, PlainRun(corpus, table, "run-2", spec=OTHER).all().plan.fingerprint


@pytest.fixture
def ask(table, capsys):
    """Runs a command on the table: what it printed."""

    def ask(*argv):
        assert main([*argv, "--table", str(table)]) == 0
        printed = capsys.readouterr()
        assert printed.err == ""
        return printed.out

    return ask


@pytest.fixture
def refused(table, capsys):
    """Runs a command that ends with a code and one line; the line."""

    def refused(code, *argv):
        assert main([*argv, "--table", str(table)]) == code
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.count("\n") == 1
        return printed.err

    return refused


def test_specs_in_words(table, both, ask):
    one, other = both
    lines = ask("specs").splitlines()
    assert lines[0] == f"{table}: 2 specs"
    at = lines.index(next(line for line in lines if line.startswith(one)))
    assert "hop_s 0.25, model fake" in lines[at]
    assert re.fullmatch(r"  20 windows of 4 clips, 4.0 s of audio, in [\d.]+ kB, 4 files", lines[at + 1])
    assert lines[at + 2 : at + 4] == [
        "  ledger: 4 ok",
        f"  100.0% of its clips are in {other}, too (4)",
    ]
    at = lines.index(next(line for line in lines if line.startswith(other)))
    assert "  18 windows of 6 clips, 6.0 s of audio, in " in lines[at + 1]
    assert lines[at + 3] == f"  66.7% of its clips are in {one}, too (4)"


def test_specs_as_json(both, ask):
    facts = {each["fingerprint"]: each for each in json.loads(ask("specs", "--json"))}
    assert facts.keys() == set(both)
    one = facts[both[0]]
    assert (one["clips"], one["windows"], one["files"]) == (4, 20, 4)
    assert one["audio_s"] == 4.0
    assert (one["statuses"], one["shared"]) == ({"ok": 4}, {both[1]: 4})
    assert EmbeddingSpec(**one["spec"]) == SPEC


def test_a_spec_is_dropped_by_the_beginning_of_its_fingerprint(corpus, table, both, ask):
    one, other = both
    freed = size(sum(path.stat().st_size for path in table.glob(f"*/spec={one}/*")))
    # four shards and the ledger
    assert ask("specs", "drop", one[:6]) == f"dropped {one}: {freed} in 5 files\n"
    record = json.loads(ask("specs", "drop", other, "--json"))
    assert (record["command"], record["fingerprint"]) == ("specs drop", other)
    assert ask("specs") == f"{table}: 0 specs\n"
    assert json.loads(ask("specs", "--json")) == []
    PlainRun(corpus, table, "run-3").all()
    assert table_rows(table) == expected_rows(corpus)


def test_drop_needs_one_fingerprint(table, both, refused):
    before = snapshot(table)
    assert "drop needs the fingerprint" in refused(2, "specs", "drop")
    several = refused(2, "specs", "drop", "s")
    assert "FP s is the beginning of several" in several
    assert all(fingerprint in several for fingerprint in both)
    assert "FP s0none is none of the specs" in refused(2, "specs", "drop", "s0none")
    assert "--spec s0none is none of the specs" in refused(2, "compact", "--spec", "s0none")
    assert snapshot(table) == before


def test_small_files_are_merged(corpus, table, both, ask):
    one, other = both
    bytes_ = r"[\d.]+ kB"
    assert re.fullmatch(rf"{one}: 4 files are 1 now, {bytes_}\n", ask("compact", "--spec", one))
    merged, nothing = sorted(ask("compact").splitlines(), key=lambda line: line.startswith(one))
    assert re.fullmatch(rf"{other}: 6 files are 1 now, {bytes_}", merged)
    assert nothing == f"{one}: nothing to merge"
    assert table_rows(table, other) == expected_rows(corpus, OTHER)


def test_merging_as_json(both, ask):
    records = json.loads(ask("compact", "--json"))
    assert sorted(record["fingerprint"] for record in records) == sorted(both)
    assert json.loads(ask("compact", "--json")) == []


@pytest.mark.parametrize(
    ("root", "flags", "words"),
    [
        ("data", (), "clip ids begin with corpus/ now"),
        ("data", ("--moved",), "clip ids are as they were: the corpus is expected at the new root"),
        ("elsewhere", (), "clip ids are as they were: the corpus is expected at the new root"),
    ],
)
def test_another_root_says_what_becomes_of_clip_ids(corpus, both, ask, tmp_path, root, flags, words):
    there = tmp_path / root
    out = ask("reroot", "--root", f"{there}/", *flags)
    assert out == f"root: {there}, was {corpus}\n{words}\n"
    assert ask("reroot", "--root", str(there)) == f"root: {there}, as it was\n"
    if words.startswith("clip ids begin"):
        back = ask("reroot", "--root", str(corpus))
        assert back.endswith("\nclip ids do not begin with corpus/ any more\n")


def test_another_root_as_json(corpus, both, ask):
    record = json.loads(ask("reroot", "--root", str(corpus.parent), "--json"))
    assert (record["command"], record["root"]) == ("reroot", str(corpus.parent))
    assert json.loads(ask("reroot", "--root", str(corpus.parent), "--json")) == {}


def test_a_root_that_leaves_out_clips_is_refused(corpus, table, both, refused):
    before = snapshot(table)
    line = refused(2, "reroot", "--root", str(corpus / "sub"))
    assert f"--root {corpus}/sub: {corpus}/000.wav is in the table and not below it" in line
    assert "--root needs a folder" in refused(2, "reroot", "--root", "")
    assert "--root" in refused(2, "reroot")
    assert snapshot(table) == before


def test_a_table_is_repaired(table, both, ask):
    assert ask("repair") == "nothing to repair; the table is at commit 2\n"
    storage.remove(TablePaths(str(table)).table)
    assert ask("repair") == "wrote table.json again\nthe table is at commit 2\n"
    storage.remove(TablePaths(str(table)).record("run-1"))
    assert json.loads(ask("repair", "--json")) == {
        "table": str(table),
        "commits": 2,
        "done": ["wrote the record of run run-1 again"],
    }


def test_quiet_is_quiet(both, corpus, ask):
    for command in (["specs"], ["compact"], ["reroot", "--root", str(corpus.parent)], ["repair"]):
        assert ask(*command, "--quiet") == ""
    assert ask("specs", "drop", both[0], "--quiet") == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_no_table_is_one_line(table, refused, command):
    assert f"--table no table at {table}" in refused(2, *command)
    # a folder that is no table, with files named as a table's are
    storage.write_bytes(str(table / "clips/spec=mine/a.parquet"), b"not ours")
    assert f"--table no table at {table}" in refused(2, *command)
    assert (table / "clips/spec=mine/a.parquet").read_bytes() == b"not ours"


def test_nothing_goes_on_while_a_run_is_open(table, corpus, both, ask, refused):
    before = snapshot(table)
    with holding(TablePaths(str(table)), both[0], "run-9"):
        for command in (
            ["specs", "drop", both[1]],
            ["compact", "--spec", both[0]],
            ["reroot", "--root", str(corpus.parent)],
        ):
            assert "run run-9 (process " in refused(1, *command), command
        assert "left all else alone: run run-9 (process " in ask("repair")
        assert ask("specs").startswith(f"{table}: 2 specs")
    assert snapshot(table) == before


def test_what_they_did_is_in_the_list_of_runs(corpus, both, ask):
    ask("compact", "--spec", both[0])
    ask("reroot", "--root", str(corpus.parent))
    ask("specs", "drop", both[0])
    lines = ask("runs").splitlines()[3:]
    assert [word in line for word, line in zip(("compact", "reroot", "specs drop"), lines)] == [True] * 3


@pytest.mark.parametrize("part", ["clips", "windows"])
@pytest.mark.parametrize(
    "command", [["specs"], ["compact"], ["reroot", "--root", "{parent}"], ["embed"], ["embed", "--full"]]
)
def test_a_damaged_file_is_named(corpus, table, capsys, part, command):
    for run in range(2):
        write_files(corpus, 1, first=4 + run)
        PlainRun(corpus, table, f"run-{run}").all()
    write_files(corpus, 1, first=6)
    files = sorted(map(str, table.glob(f"{part}/*/*.parquet")))
    for file in files:
        with open(file, "r+b") as opened:
            opened.truncate(100)
    name, *more = [word.format(parent=corpus.parent) for word in command]
    if name == "embed":
        more += ["--input", str(corpus), "--output", str(table), *FLAGS, "--quiet"]
    else:
        more += ["--table", str(table)]
    code, err = main([name, *more]), capsys.readouterr().err
    if part == "windows" and command in (["specs"], ["embed"]):  # which do not read them
        assert (code, err) == (0, "")
        return
    assert code == 1
    assert err.count("\n") == 1
    assert any(f"{file} cannot be read, see l3flow verify: " in err for file in files), err
