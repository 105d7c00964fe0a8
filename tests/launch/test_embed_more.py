"""Lists of files, limits, dry runs, logs, and a disk that is full."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from launch.main import main
from tests.corpus import FLAGS, expected_rows, ledger, snapshot, table_rows, write_files

REPO = Path(__file__).parents[2]


@pytest.fixture
def corpus(tmp_path):
    return write_files(tmp_path / "corpus", 6)


def embed(*inputs, output, more=()):
    return main(["embed", "--input", *map(str, inputs), "--output", str(output), *FLAGS, *more])


def test_a_list_names_files_literally(corpus, tmp_path):
    (corpus / "002.wav").rename(corpus / "*[2].wav")
    names = [corpus / "004.wav", corpus / "*[2].wav", corpus / "004.wav", corpus / "not there.wav"]
    (tmp_path / "list.txt").write_text("".join(f"{name}\r\n" for name in names) + "\n")
    assert embed(f"@{tmp_path}/list.txt", output=tmp_path / "table", more=["--quiet"]) == 0
    rows = ledger(tmp_path / "table")
    assert {clip: row["status"] for clip, row in rows.items()} == {
        "*[2].wav": "ok",
        "004.wav": "ok",
        "not there.wav": "vanished",
    }


def test_a_list_of_json_strings_holds_names_with_line_breaks(corpus, tmp_path):
    (corpus / "002.wav").rename(corpus / "new\nline.wav")
    (tmp_path / "list.jsonl").write_text(json.dumps(f"{corpus}/new\nline.wav") + "\n")
    assert embed(f"@{tmp_path}/list.jsonl", output=tmp_path / "table", more=["--quiet"]) == 0
    assert list(ledger(tmp_path / "table")) == ["new\nline.wav"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.txt", None, "cannot read the list"),
        ("empty.txt", b"\n\n", "the list is empty"),
        ("latin.txt", b"caf\xe9.wav\n", "needs UTF-8"),
        ("a.jsonl", b"a.wav\n", "JSON strings"),
        ("b.jsonl", b"3\n", "is not a JSON string"),
    ],
)
def test_a_list_that_cannot_be_used(tmp_path, capsys, name, content, words):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert embed(f"@{tmp_path}/{name}", output=tmp_path / "table") == 2
    error = capsys.readouterr().err
    assert words in error
    assert f"--input @{tmp_path}/{name}" in error
    assert error.count("\n") == 1


def test_the_order_of_inputs_has_no_influence(corpus, tmp_path):
    inputs = [corpus / "0*.wav", corpus / "003.wav", corpus]
    embed(*inputs, output=tmp_path / "a", more=["--quiet"])
    embed(*reversed(inputs), output=tmp_path / "b", more=["--quiet"])
    assert table_rows(tmp_path / "a") == table_rows(tmp_path / "b") == expected_rows(corpus)


def test_a_limit_takes_the_first_by_path(corpus, tmp_path):
    assert embed(corpus, output=tmp_path / "table", more=["--limit", "2", "--quiet"]) == 0
    assert sorted(ledger(tmp_path / "table")) == ["000.wav", "001.wav"]
    assert embed(corpus, output=tmp_path / "table", more=["--quiet"]) == 0
    assert table_rows(tmp_path / "table") == expected_rows(corpus)


def test_a_dry_run_writes_nothing_and_tells_the_truth(corpus, tmp_path, capsys):
    table = tmp_path / "table"
    assert embed(corpus, output=table, more=["--dry-run", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert not table.exists()
    assert said["windows_per_second"] > 0
    assert embed(corpus, output=table, more=["--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (said["files"], said["windows"]) == (6, done["windows"])
    before = snapshot(table)
    assert embed(corpus, output=table, more=["--dry-run"]) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert snapshot(table) == before


FULL_DISK = """
import resource, signal, sys
from launch.main import main
from tests import fake_model
fake_model.register()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
# a file may not grow past this: the write fails as it does on a disk without room
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
sys.exit(main(sys.argv[2:]))
"""


def test_a_full_disk_is_one_line_and_leaves_the_table(corpus, tmp_path):
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    table = tmp_path / "table"
    embed(corpus, output=table, more=["--quiet"])
    before = snapshot(table)
    write_files(corpus, 3, seconds=400.0, first=6)  # 1600 windows of 32 bytes and more
    command = ["embed", "--input", str(corpus), "--output", str(table), *FLAGS, "--quiet"]
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, "20000", *command],
        env=os.environ | {"PYTHONPATH": str(REPO)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert "File too large" in done.stderr
    assert "the table is as it was" in done.stderr
    assert snapshot(table) == before
    assert embed(corpus, output=table, more=["--quiet"]) == 0
    assert table_rows(table) == expected_rows(corpus)
