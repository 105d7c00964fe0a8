"""The command that checks a table: what it prints, and its exit codes."""

import json
import re
import shutil

import pyarrow.parquet as pq
import pytest

from l3core.table.finding import Finding, Tally
from launch.main import main
from launch.verify import Found, describe_check
from tests.corpus import FLAGS, write_files


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verify")
    corpus = write_files(folder / "corpus", 3)
    command = ["embed", "--input", str(corpus), "--output", str(folder / "table"), *FLAGS, "--quiet"]
    assert main(command) == 0
    return folder / "table"


@pytest.fixture
def table(made, tmp_path):
    return shutil.copytree(made, tmp_path / "table")


def windows_files(table):
    return sorted(table.glob("windows/*/*.parquet"))


def add_orphans(table, count):
    folder = windows_files(table)[0].parent
    for number in range(count):
        (folder / f"orphan-{number:03d}.parquet").touch()


def test_a_whole_table(table, capsys):
    assert main(["verify", "--table", str(table)]) == 0
    out, err = capsys.readouterr()
    files = len(windows_files(table)) + 1
    assert re.fullmatch(
        rf"table holds what it promises: 1 spec, {files} files, 15 windows, 3 ledger rows, "
        r"checked in \d\.\d s\n",
        out,
    )
    assert err == ""  # no progress of what takes no time


def test_each_problem_has_its_line_and_the_last_one_counts_them(table, capsys):
    gone = windows_files(table)[0]
    rows = pq.read_metadata(gone).num_rows
    gone.unlink()
    add_orphans(table, 2)
    (table / "table.json").unlink()
    assert main(["verify", "--table", str(table)]) == 1
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    folder = gone.parent.relative_to(table)
    assert lines[:-1] == [
        "table-json: table.json: is missing",
        f"missing-file: {folder}/{gone.name}: is missing, a commit added it with {rows} rows",
        f"orphan-file: {folder}/orphan-000.parquet: should be in a commit, is in none",
        f"orphan-file: {folder}/orphan-001.parquet: should be in a commit, is in none",
    ]
    assert lines[-1].startswith("4 problems: 1 table-json, 1 missing-file, 2 orphan-file (1 spec, ")


def test_a_long_list_is_cut_and_json_is_not(table, capsys):
    add_orphans(table, 45)
    (table / "table.json").unlink()
    assert main(["verify", "--table", str(table)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if line.startswith("orphan-file: windows/")]) == 20
    assert lines[-2] == "orphan-file: ... and 25 more"
    assert lines[-1].startswith("46 problems: 1 table-json, 45 orphan-file (")
    assert main(["verify", "--table", str(table), "--json"]) == 1
    value = json.loads(capsys.readouterr().out)
    assert len(value["findings"]) == 46
    assert value["ok"] is False


def test_json(table, capsys):
    assert main(["verify", "--table", str(table), "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value == {
        "table": str(table),
        "ok": True,
        "specs": 1,
        "files": len(windows_files(table)) + 1,
        "rows": 15,
        "ledger_rows": 3,
        "findings": [],
    }
    (table / "table.json").write_text("{}")
    assert main(["verify", "--table", str(table), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["findings"][0] == {
        "kind": "table-json",
        "path": "table.json",
        "problem": "layout should be 1 as in the last commit, is None",
    }


def test_quiet_says_only_what_is_wrong(table, capsys):
    assert main(["verify", "--table", str(table), "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    add_orphans(table, 1)
    assert main(["verify", "--table", str(table), "--quiet"]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("orphan-file: ")
    assert err == ""


def test_a_name_cannot_act_on_the_terminal(table, capsys):
    (windows_files(table)[0].parent / "a\x1b[31m\nb.parquet").touch()
    assert main(["verify", "--table", str(table)]) == 1
    out = capsys.readouterr().out
    assert "a\\x1b[31m\\x0ab.parquet" in out
    assert out.count("\n") == 2


def test_one_spec(table, capsys):
    spec = windows_files(table)[0].parent.name.removeprefix("spec=")
    other = table / "windows/spec=s0/x.parquet"
    other.parent.mkdir()
    other.touch()
    assert main(["verify", "--table", str(table), "--spec", spec[:5]]) == 0
    assert "1 spec, " in capsys.readouterr().out
    assert main(["verify", "--table", str(table)]) == 1


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ([], "--table no table at"),
        (["--spec", "s0nothing"], "--spec s0nothing is none of the specs in"),
        (["--sepc", "s0"], "unknown option --sepc, did you mean --spec?"),
    ],
)
def test_wrong_use_is_one_line(table, capsys, more, words):
    place = table if more else table / "clips"
    assert main(["verify", "--table", str(place), *more]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert err.count("\n") == 1


def test_another_layout_is_wrong_use(table, capsys):
    entry = table / "_l3flow/journal/00000001.json"
    value = json.loads(entry.read_bytes())
    value["record"]["layout"] = 2
    entry.write_text(json.dumps(value))
    assert main(["verify", "--table", str(table)]) == 2
    assert "has table layout 2, this l3flow knows 1" in capsys.readouterr().err


def test_findings_beyond_the_shown_ones_are_counted_and_not_kept():
    found = Found((Finding("nan", "x", str(number)) for number in range(1000)), most=20)
    assert (found.total, len(found.kept)) == (1000, 20)
    assert len(Found((Finding("nan", "x", "") for _ in range(1000)), most=None).kept) == 1000


def test_progress_has_files_rate_and_time_left():
    # a quarter of 4 MB in 2 s: three quarters need 6 s more
    tally = Tally(specs=0, files=3, of_files=9, bytes=1_000_000, of_bytes=4_000_000)
    assert describe_check(tally, 2.0) == "3 of 9 files, 500.0 kB/s, 6.0 s left"
    assert describe_check(Tally(), 2.0) == "reading the journal"


def test_a_table_holds_what_it_promises_whatever_is_done_to_it(tmp_path, monkeypatch):
    monkeypatch.setattr("l3core.table.state.COMMITS_AN_INDEX", 2)
    corpus, table = write_files(tmp_path / "data/corpus", 12), tmp_path / "table"

    def done(*command):
        assert main([*map(str, command), "--quiet"]) == 0
        assert main(["verify", "--table", str(table), "--quiet"]) == 0

    embed = ["embed", "--input", corpus, "--output", table, *FLAGS]
    done(*embed)
    done(*embed)  # nothing to do
    done(*embed, "--hop", "0.1", "--grid", "paper")
    (corpus / "003.wav").unlink()
    (corpus / "004.wav").write_text("no audio any more")
    write_files(corpus, 1, seconds=2.0, first=20)
    done(*embed)
    done(*embed, "--prune")
    done("compact", "--table", table)
    done("reroot", "--table", table, "--root", corpus.parent)
    done("repair", "--table", table)
    specs = sorted(path.stem for path in (table / "specs").iterdir())
    done("specs", "drop", specs[0], "--table", table)
    assert len(list((table / "_l3flow/index").iterdir())) > 0
