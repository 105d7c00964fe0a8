"""`--max-unreadable`: a store that serves garbage does not quietly make a table of `unreadable` rows."""

import os

import pytest

from launch.main import main
from tests.corpus import FLAGS, ledger, snapshot, write_audio, write_files


@pytest.fixture
def corpus(tmp_path):
    """Eight recordings, and two files that are none."""
    folder = write_files(tmp_path / "corpus", 8)
    for name in ("a.wav", "b.wav"):
        (folder / name).write_text("<html>502 Bad Gateway</html>\n" * 40)
    return folder


def embed(corpus, table, *flags):
    command = ["embed", "--input", str(corpus), "--output", str(table), *FLAGS, "--quiet"]
    return main([*command, *flags])


@pytest.mark.parametrize(("most", "allowed"), [("1", 1), ("5%", 0), ("0", 0), ("19.9%", 1)])
def test_too_many_fail_the_run_before_its_commit(corpus, tmp_path, capsys, most, allowed):
    table = tmp_path / "table"
    assert embed(corpus, table, "--max-unreadable", most) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("l3flow: the run failed, the table is as it was: ")
    assert f"nothing that can be read: 2, and --max-unreadable allows {allowed}: " in line
    assert snapshot(table) == {}


@pytest.mark.parametrize("flags", [(), ("--max-unreadable", "2"), ("--max-unreadable", "20%")])
def test_as_many_as_are_allowed_are_rows(corpus, tmp_path, flags):
    table = tmp_path / "table"
    assert embed(corpus, table, *flags) == 0
    assert [row["status"] for row in ledger(table).values()].count("unreadable") == 2


def test_what_such_a_run_has_found_is_not_taken_over(corpus, tmp_path):
    """The store served garbage under the same size and time: the next run reads it again."""
    table = tmp_path / "table"
    assert embed(corpus, table) == 0
    before = snapshot(table)
    for path in corpus.glob("*.wav"):
        write_audio(path, 1.5, seed=hash(path.name) % 1000)
    good = {path: path.read_bytes() for path in corpus.glob("*.wav")}
    for path in good:
        path.write_bytes(b"\0" * path.stat().st_size)
    stamps = {path: path.stat() for path in good}
    assert embed(corpus, table, "--max-unreadable", "5") == 1
    assert before.items() <= snapshot(table).items()
    assert {row["status"] for row in ledger(table).values()} == {"ok", "unreadable"}
    for path, content in good.items():
        path.write_bytes(content)
        os.utime(path, ns=(stamps[path].st_atime_ns, stamps[path].st_mtime_ns))
    assert embed(corpus, table, "--max-unreadable", "5") == 0
    assert {row["status"] for row in ledger(table).values()} == {"ok"}
