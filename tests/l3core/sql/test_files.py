"""The files that SQL may read: just these, just for reading, right with several threads at a time."""

import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from l3core.errors import RunError
from l3core.sql.files import BASE, Made, ServedFiles, Stored


@pytest.fixture
def served(tmp_path):
    """A file system, and the file that it serves as `a/[b]*.bin`."""
    path = tmp_path / "some file"
    path.write_bytes(random.Random(0).randbytes(100_000))
    files = ServedFiles()
    stored = Stored((str(tmp_path / "not there"), str(path)), 100_000, "0" * 64)
    files.serve({"a/[b]*.bin": stored, "made": Made(lambda: b"made once")})
    return files, path


def test_what_is_served_is_read(served):
    files, path = served
    for name in (f"{BASE}a/[b]*.bin", "table/a/[b]*.bin"):  # fsspec takes the protocol off
        handle = files.open(name)
        handle.seek(10)
        assert handle.read(5) == path.read_bytes()[10:15]
        assert handle.read(5) == path.read_bytes()[15:20]
        handle.seek(-3, 2)
        assert handle.read() == path.read_bytes()[-3:]
        assert handle.read(1) == b""
        assert files.info(name)["size"] == 100_000
    assert files.open(f"{BASE}made").read() == b"made once"


@pytest.mark.parametrize(
    "name",
    [
        f"{BASE}b",
        f"{BASE}../{BASE}made",
        f"{BASE}*",
        "/etc/passwd",
        "l3flow://made",
        "made",
        f"{BASE}Made",
    ],
)
def test_what_is_not_served_is_not_there(served, name):
    files, _ = served
    with pytest.raises(FileNotFoundError, match="none of the table's files"):
        files.open(name)
    assert files.glob(name) == []
    assert files.problem is None  # it is the SQL's mistake


def test_a_name_with_signs_of_patterns_is_itself(served):
    assert served[0].glob(f"{BASE}a/[b]*.bin") == [f"{BASE}a/[b]*.bin"]


@pytest.mark.parametrize("mode", ["wb", "ab", "xb", "r+b", "rb+", "w"])
def test_nothing_is_opened_for_writing(served, mode):
    files, path = served
    before = path.read_bytes()
    with pytest.raises(PermissionError, match="only read"):
        files.open(f"{BASE}a/[b]*.bin", mode)
    assert "only read" in files.refusal
    assert path.read_bytes() == before


def test_a_file_of_another_size_than_the_table_tells_is_damaged(served):
    files, path = served
    path.write_bytes(b"short")
    with pytest.raises(RunError, match=r"some file is damaged: it has 5 bytes and should have 100000"):
        files.open(f"{BASE}a/[b]*.bin")
    assert isinstance(files.problem, RunError)


def test_an_open_file_stays_although_a_commit_takes_it_away(served):
    files, path = served
    content = path.read_bytes()
    handle = files.open(f"{BASE}a/[b]*.bin")
    path.unlink()
    assert handle.read() == content
    with pytest.raises(FileNotFoundError):
        files.open(f"{BASE}a/[b]*.bin")
    assert isinstance(files.problem, FileNotFoundError)


def descriptors(path):
    """How many descriptors this process holds on one file: others come and go with other tests."""
    return sum(
        os.path.realpath(f"/proc/self/fd/{number}") == str(path)
        for number in os.listdir("/proc/self/fd")
    )


def test_a_file_is_closed_with_its_handle(served):
    files, path = served
    handles = [files.open(f"{BASE}a/[b]*.bin") for _ in range(10)]
    assert descriptors(path) == 10
    handles[0].close()
    handles[0].close()
    assert descriptors(path) == 9
    del handles
    assert descriptors(path) == 0


def test_threads_share_a_handle_and_each_reads_where_it_went(served):
    """DuckDB does so; with a position for all of them some get the bytes of others."""
    files, path = served
    content, handle = path.read_bytes(), files.open(f"{BASE}a/[b]*.bin")
    both = threading.Barrier(2)

    def read(at):
        handle.seek(at)
        both.wait(20)  # the other has gone to its own place, too
        found = handle.read(50)
        both.wait(20)
        return found + handle.read(50)

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(read, (1_000, 50_000)))
    assert found == [content[1_000:1_100], content[50_000:50_100]]


def test_what_is_made_is_made_once_for_a_commit(served):
    files, _ = served
    made = []
    entry = {"runs": Made(lambda: made.append(1) or b"x" * len(made))}
    files.serve(entry)
    before = files.modified(f"{BASE}runs")
    assert [files.info(f"{BASE}runs")["size"], files.open(f"{BASE}runs").read()] == [1, b"x"]
    files.serve(entry)
    assert files.open(f"{BASE}runs").read() == b"xx"
    assert files.modified(f"{BASE}runs") > before  # what DuckDB has kept of it is not used
