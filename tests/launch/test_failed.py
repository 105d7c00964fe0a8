"""Runs that fail leave a record, which `l3flow runs` lists, and nothing else that piles up."""

import json
import shutil
import signal
from datetime import datetime, timezone

import pytest

from l3core import storage
from l3core.errors import TableError
from l3core.table import failed
from l3core.table.layout import TablePaths
from l3core.table.read import read_windows
from launch.main import main
from tests.corpus import FLAGS, ledger, replace_file, snapshot, write_files
from tests.launch.test_killed import command, slow_run, wait_for_manifests


@pytest.fixture
def corpus(tmp_path):
    """Eight recordings, and a file that is none."""
    folder = write_files(tmp_path / "corpus", 8)
    (folder / "page.wav").write_text("<html>502 Bad Gateway</html>\n" * 40)
    return folder


@pytest.fixture
def table(tmp_path):
    return tmp_path / "table"


def embed(corpus, table, *flags):
    given = ["embed", "--input", str(corpus), "--output", str(table), *FLAGS, "--quiet"]
    return main([*given, *flags])


def records(table):
    return [json.loads(path.read_bytes()) for path in sorted((table / "_l3flow/failed").glob("*.json"))]


def listed(capsys, table, *flags):
    capsys.readouterr()
    assert main(["runs", "--table", str(table), *flags]) == 0
    return capsys.readouterr().out


def ours(table):
    """Objects of a table that only we read, and how many there are of each folder's."""
    found = [path.relative_to(table / "_l3flow") for path in (table / "_l3flow").rglob("*.*")]
    return {name: [path for path in found if path.parts[0] == name] for name in ("staging", "lock")}


def test_a_first_run_that_fails_is_listed_and_makes_no_table(corpus, table, capsys):
    assert embed(corpus, table, "--max-unreadable", "0") == 1
    (line,) = capsys.readouterr().err.splitlines()
    (record,) = records(table)
    assert line == f"l3flow: {record['message']}"
    assert "--max-unreadable allows 0" in record["message"]
    facts = {name: record[name] for name in ("status", "exit_code", "command", "stage", "interrupted")}
    assert facts == {
        "status": "failed",
        "exit_code": 1,
        "command": "embed",
        "stage": "committing",
        "interrupted": False,
    }
    assert record["clips"] == {"ok": 8, "unreadable": 1}
    assert record["started_at"] < record["failed_at"]
    assert record["fingerprint"].startswith("s")
    assert {"host", "versions", "duration_s"} <= record.keys()
    assert snapshot(table) == {}
    with pytest.raises(TableError, match="no table at"):
        read_windows(str(table))
    assert main(["verify", "--table", str(table)]) == 2
    _, line = listed(capsys, table).splitlines()
    assert line.startswith(record["run_id"])
    assert " failed while committing  " in line
    assert "  objects that hold nothing that can be read: 1" in line
    assert json.loads(listed(capsys, table, "--json")) == [record]


def test_ten_failures_in_a_row_leave_ten_lines_and_nothing_else(corpus, table, capsys):
    assert embed(corpus, table) == 0
    before = snapshot(table)
    sizes = []
    for night in range(10):
        replace_file(corpus / "000.wav", 1.5, seed=100 + night)
        (corpus / "page.wav").write_text(f"<html>{night}</html>\n")
        assert embed(corpus, table, "--max-unreadable", "0") == 1
        there = ours(table)
        assert there["lock"] == []
        # the last run's folder, and shards of the one before that it had no use for
        assert len({path.parts[1] for path in there["staging"]}) <= 2
        sizes.append(len(there["staging"]))
    assert sizes[2:] == sizes[1:2] * 8
    assert snapshot(table) == before
    lines = listed(capsys, table).splitlines()[1:]
    assert ["failed" in line for line in lines] == [False] + [True] * 10
    assert embed(corpus, table) == 0
    lines = listed(capsys, table).splitlines()[1:]
    assert ["failed" in line for line in lines] == [False] + [True] * 10 + [False]
    assert ours(table) == {"staging": [], "lock": []}
    assert main(["verify", "--table", str(table)]) == 0
    assert main(["repair", "--table", str(table)]) == 0
    assert len(records(table)) == 10


def test_wrong_use_and_a_skipped_run_leave_no_record(corpus, table):
    assert embed(corpus, table) == 0
    assert embed(corpus, table, "--root", str(corpus / "elsewhere")) == 2
    assert embed(corpus / "absent.wav", table) == 2
    assert embed(corpus, table, "--dry-run") == 0
    assert records(table) == []


def test_the_json_of_a_failure_is_its_record(corpus, table, capsys):
    assert embed(corpus, table, "--max-unreadable", "0", "--json") == 1
    printed = capsys.readouterr()
    facts = json.loads(printed.out)
    assert facts.pop("table") == str(table)
    assert facts.pop("bad") == [
        {
            "clip_id": "page.wav",
            "status": "unreadable",
            "error": "not audio that can be decoded: Format not recognised",
        }
    ]
    assert [facts] == records(table)
    assert printed.err == f"l3flow: {facts['message']}\n"


def test_a_store_that_fails_at_the_end_does_not_hide_the_failure(corpus, table, capsys):
    """The folder of the records is a file: nothing can be put there."""
    assert embed(corpus, table) == 0
    (table / "_l3flow/failed").write_text("in the way")
    assert embed(corpus, table, "--full", "--max-unreadable", "0") == 1
    first, second = capsys.readouterr().err.splitlines()
    assert "--max-unreadable allows 0" in first
    assert second.startswith("l3flow: that it failed could not be recorded in the table: ")


def test_an_interrupted_run_is_listed_as_such(tmp_path, table, capsys):
    corpus = write_files(tmp_path / "corpus", 32)
    with slow_run(tmp_path, corpus, table) as process:
        wait_for_manifests(process, table, 2)
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
    (record,) = records(table)
    facts = {name: record[name] for name in ("status", "exit_code", "stage", "interrupted")}
    assert facts == {
        "status": "interrupted",
        "exit_code": 130,
        "stage": "embedding",
        "interrupted": True,
    }
    assert " interrupted while embedding  " in listed(capsys, table)


def test_a_killed_run_gets_its_record_from_the_next(tmp_path, table, capsys):
    corpus = write_files(tmp_path / "corpus", 32)
    with slow_run(tmp_path, corpus, table) as process:
        wait_for_manifests(process, table, 2)
        process.kill()
        process.wait()
    assert records(table) == []
    assert main(command(corpus, table)) == 0
    (record,) = records(table)
    assert record["message"] == failed.SILENT
    started = datetime.fromisoformat(record["started_at"])
    assert f"{started:%Y%m%dT%H%M%SZ}" == record["run_id"][:16]
    assert 0 <= (datetime.now(timezone.utc) - started).total_seconds() < 120
    killed, good = listed(capsys, table).splitlines()[1:]
    assert killed.endswith(f"  {failed.SILENT}")
    assert "32 ok" in good
    assert len(ledger(table)) == 32


def test_a_failure_whose_run_has_committed_all_the_same_is_none(corpus, table, capsys):
    assert embed(corpus, table) == 0
    (run,) = json.loads(listed(capsys, table, "--json"))
    paths = TablePaths(str(table))
    facts = {"run_id": run["run_id"], "message": "its answer was lost", "status": "failed"}
    assert failed.note_failure(paths, facts) is False
    (table / "_l3flow/failed").mkdir(exist_ok=True)
    shutil.copy(table / "runs" / f"{run['run_id']}.json", table / "_l3flow/failed")
    assert len(json.loads(listed(capsys, table, "--json"))) == 1


def test_only_the_newest_records_are_kept(corpus, table, monkeypatch):
    monkeypatch.setattr(failed, "KEPT", 3)
    paths = TablePaths(str(table))
    for number in range(5):
        facts = {"run_id": f"2026010{number}T000000Z-abcdef", "message": "", "status": "failed"}
        assert failed.note_failure(paths, facts)
    assert [record["run_id"][:8] for record in records(table)] == ["20260102", "20260103", "20260104"]


def test_a_damaged_record_is_a_line_that_says_so(corpus, table, capsys):
    assert embed(corpus, table) == 0
    (table / "_l3flow/failed").mkdir()
    (table / "_l3flow/failed/20260101T000000Z-abcdef.json").write_text("{")
    assert "  its record is damaged\n" in listed(capsys, table)


def test_spec_chooses_among_failures_too(corpus, table, capsys):
    assert embed(corpus, table, "--max-unreadable", "0") == 1
    (record,) = records(table)
    assert len(json.loads(listed(capsys, table, "--json", "--spec", record["fingerprint"][:4]))) == 1
    assert main(["runs", "--table", str(table), "--spec", "s0nothing"]) == 2
    assert (
        f"--spec s0nothing is none of the specs in {table}: {record['fingerprint']}"
        in capsys.readouterr().err
    )


def test_a_damaged_manifest_does_not_hide_why_a_run_failed(corpus, table, capsys, monkeypatch):
    whole = storage.read_bytes

    def cut_off(uri):
        return whole(uri)[:20] if "/done/" in uri else whole(uri)

    monkeypatch.setattr("l3core.storage.read_bytes", cut_off)
    assert embed(corpus, table) == 1
    (line,) = capsys.readouterr().err.splitlines()
    (record,) = records(table)
    assert line == f"l3flow: {record['message']}"
    assert (record["stage"], record["clips"]) == ("embedding", {})


@pytest.mark.parametrize(
    "change",
    [
        {"message": 5},
        {"status": None},
        {"started_at": "yesterday"},
        {"failed_at": 7},
        {"committed_at": "2026-01-01T00:00:00+00:00"},
        {"duration_s": "long"},
        {"clips": {"ok": "many"}},
        {"fingerprint": []},
    ],
)
def test_a_record_that_somebody_else_wrote_is_shown_as_damaged(corpus, table, capsys, tmp_path, change):
    assert embed(corpus, table, "--max-unreadable", "0") == 1
    (path,) = (table / "_l3flow/failed").glob("*.json")
    path.write_text(json.dumps(json.loads(path.read_bytes()) | change))
    assert "its record is damaged" in listed(capsys, table)
    assert "its record is damaged" in listed(capsys, table, "--json")
    assert main(["runs", "--table", str(table), "--plot", str(tmp_path / "page.html")]) == 0
