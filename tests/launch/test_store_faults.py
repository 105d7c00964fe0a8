"""A whole job on a store that fails on some objects: their rows say how, all others are as ever.

Google's store and S3, with the clients that people use. Each object has a fault of its own, or none. The
next run, which nothing disturbs, makes the table that one from scratch makes.
"""

import hashlib
import time
from functools import partial
from typing import Any, NamedTuple

import fsspec
import pyarrow.dataset as ds
import pytest

from l3core import pinned
from l3core.table.layout import TablePaths
from l3core.table.read import read_windows
from l3core.table.state import journal_entries
from launch.main import main
from tests.corpus import FLAGS, expected_rows, staged_runs, write_audio, write_files
from tests.emulators import retry_after

FACTS = ("status", "frames", "codec", "duration_s", "windows_expected", "windows_written")
LONG_S = 40.0  # 640 kB, read in ranges of 64 kB and more, of which the third holds second 12
_scratch = {}


class Job(NamedTuple):
    """A corpus in a bucket, the same in a folder, and a place for a table."""

    emulator: Any
    folder: Any
    source: str
    table: str

    def embed(self):
        places = ["--input", f"{self.source}/**", "--output", self.table]
        return main(["embed", *places, *FLAGS, "--quiet"])

    def put(self, name):
        fs, bucket = fsspec.core.url_to_fs(self.source)
        fs.pipe_file(f"{bucket}/{name}", (self.folder / name).read_bytes())

    def remove(self, name):
        fs, bucket = fsspec.core.url_to_fs(self.source)
        fs.rm_file(f"{bucket}/{name}")

    def replace(self, name, seconds, seed):
        """What replaces an object, when it is called; in the folder it is at once."""
        write_audio(self.folder / name, seconds, seed=seed)
        return partial(self.put, name)

    def fault(self, name, **what):
        """Something that happens to requests for the content of an object."""
        return self.emulator.fault(self.emulator.reading(name), **what)

    def windows(self):
        """Rows by `read_windows`, which are those of plain pyarrow."""
        metadata, vectors = read_windows(self.table)
        rows = [(*row.values(), vector.tobytes()) for row, vector in zip(metadata.to_pylist(), vectors)]
        plain = self._plain("windows", ["clip_id", "window", "start_s", "silent"])
        assert [row[:4] for row in rows] == sorted(tuple(row.values()) for row in plain)
        return rows

    def ledger(self):
        rows = self._plain("clips", ["clip_id", "error", *FACTS])
        assert len({row["clip_id"] for row in rows}) == len(rows)
        return {row.pop("clip_id"): row for row in rows}

    def _plain(self, folder, columns):
        fs, path = fsspec.core.url_to_fs(f"{self.table}/{folder}", use_listings_cache=False)
        return ds.dataset(path, filesystem=fs, format="parquet").to_table(columns).to_pylist()


def from_scratch(folder):
    """Ledger and windows of a table that is made on a disk, where nothing fails."""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(folder.iterdir())))
    if digest.digest() not in _scratch:
        table = folder.parent / f"scratch-{digest.hexdigest()}"
        job = Job(None, folder, str(folder), str(table))
        assert job.embed() == 0
        _scratch[digest.digest()] = job.ledger(), expected_rows(folder)
    return _scratch[digest.digest()]


@pytest.fixture
def job(store, tmp_path, impatient):
    emulator, bucket = store
    folder = write_files(tmp_path / "corpus", 9, 0.3)
    found = Job(emulator, folder, f"{bucket}/corpus", f"{bucket}/table")
    for path in folder.iterdir():
        found.put(path.name)
    emulator.clear()
    return found


@pytest.fixture
def ranged(job, monkeypatch):
    """The same, with six objects that are read in ranges."""
    monkeypatch.setattr(pinned, "WHOLE_BYTES", 10_000)
    for number in range(6):
        job.replace(f"{number:03d}.wav", LONG_S, seed=80 + number)()
    return job


def assert_all_ok(job):
    assert (job.ledger(), job.windows()) == from_scratch(job.folder)
    assert {row["status"] for row in job.ledger().values()} == {"ok"}


def assert_statuses(job, statuses):
    """Exactly these, and no windows; of all other objects everything as if nothing had happened."""
    found = job.ledger()
    expected, windows = from_scratch(job.folder)
    assert {name: found[name]["status"] for name in statuses} == statuses, found
    for name in statuses:
        assert found[name]["windows_written"] == 0
        assert found[name]["error"]
        assert "\n" not in found[name]["error"]
        found[name] = expected[name]
    assert found == expected
    assert job.windows() == [row for row in windows if row[0] not in statuses]


def assert_next_run_gives_all(job):
    job.emulator.clear()
    assert job.embed() == 0
    assert_all_ok(job)
    assert staged_runs(job.table) == []


PASSING = {
    "503 twice": {"status": 503, "times": 2},
    "429": {"status": 429, "times": 1},
    "reset before the answer": {"reset": True, "times": 1},
    "reset within the body": {"cut": 1_000, "times": 1},
    "the end within the body": {"torn": 1_000, "times": 1},
    "latency": {"delay_s": 0.05},
    "a body that is too short": {"short": 1_000, "times": 1},
    "a flipped bit": {"corrupt": True, "times": 1},
}


def test_what_passes_leaves_no_trace(job, capsys):
    faults = {
        what: job.fault(f"{number:03d}.wav", **fault)
        for number, (what, fault) in enumerate(PASSING.items())
    }
    assert job.embed() == 0
    assert capsys.readouterr() == ("", "")
    assert {what: fault.hits for what, fault in faults.items()} == {
        what: fault.get("times", 1) for what, fault in PASSING.items()
    }
    assert_all_ok(job)


def test_what_passes_in_the_midst_of_an_object_leaves_no_trace(ranged, capsys):
    """A flipped bit would: the store has a checksum of all of an object, and of no part."""
    chosen = (
        "503 twice",
        "reset before the answer",
        "reset within the body",
        "a body that is too short",
    )
    faults = {
        what: ranged.fault(f"{number:03d}.wav", **PASSING[what], skip=2)
        for number, what in enumerate(chosen)
    }
    assert ranged.embed() == 0
    assert capsys.readouterr() == ("", "")
    assert {what: fault.hits for what, fault in faults.items()} == {
        what: PASSING[what]["times"] for what in chosen
    }
    assert_all_ok(ranged)


def test_what_lasts_is_in_the_row_of_that_object_alone(job, capsys):
    job.fault("000.wav", status=503)
    job.fault("001.wav", reset=True)
    job.fault("002.wav", cut=1_000)
    job.fault("003.wav", short=1_000)
    job.fault("004.wav", corrupt=True)
    job.fault("005.wav", times=1, call=job.replace("005.wav", 0.6, seed=90))
    job.fault("006.wav", times=1, call=partial(job.remove, "006.wav"))
    assert job.embed() == 0
    assert capsys.readouterr() == ("", "")
    statuses = dict.fromkeys((f"{number:03d}.wav" for number in range(5)), "storage-error")
    assert_statuses(job, statuses | {"005.wav": "changed", "006.wav": "vanished"})
    job.put("006.wav")
    assert_next_run_gives_all(job)


def test_what_lasts_in_the_midst_of_an_object_is_no_end_of_it(ranged, capsys):
    """Windows of the first seconds have been made by then, and are not used."""
    ranged.fault("000.wav", skip=2, status=503)
    ranged.fault("001.wav", skip=2, times=1, call=ranged.replace("001.wav", LONG_S, seed=91))
    ranged.fault("002.wav", skip=2, times=1, call=ranged.replace("002.wav", LONG_S + 9, seed=92))
    ranged.fault("003.wav", skip=2, times=1, call=partial(ranged.remove, "003.wav"))
    assert ranged.embed() == 0
    assert capsys.readouterr() == ("", "")
    statuses = ("storage-error", "changed", "changed", "vanished")
    assert_statuses(ranged, {f"{number:03d}.wav": status for number, status in enumerate(statuses)})
    ranged.put("003.wav")
    assert_next_run_gives_all(ranged)


LOST = {
    "gs": {
        "commit": "^POST .* table/_l3flow/journal/00000001.json",
        "upload": "^POST /upload/.* table/_l3flow/staging/.*parquet",
        "move": "^POST .*moveTo.*/windows/",
        "deletion": "^DELETE .*/staging/",
    },
    "s3": {
        "commit": "^PUT .*/_l3flow/journal/00000001.json",
        "upload": "^PUT .*/staging/.*parquet",
        "move": "^PUT .*/windows/",
        "deletion": "^DELETE .*/staging/",
    },
}


def test_a_lost_answer_is_no_error_and_nothing_is_done_twice(job, capsys):
    """The commit is ours though the store says that there is one; what is moved or removed is."""
    faults = {
        what: job.emulator.fault(pattern, each=True, times=1, lost=True)
        for what, pattern in LOST[job.table[:2]].items()
    }
    assert job.embed() == 0
    assert capsys.readouterr() == ("", "")
    assert {what for what, fault in faults.items() if fault.hits} == set(faults)
    job.emulator.clear()
    assert_all_ok(job)
    assert len(list(journal_entries(TablePaths(job.table)))) == 1
    assert staged_runs(job.table) == []
    assert main(["verify", "--table", job.table, "--quiet"]) == 0


def test_nobody_waits_for_ever(job, monkeypatch):
    retry_after(monkeypatch, 0.5)  # so that clients try for longer than that
    monkeypatch.setattr(pinned, "DEADLINE_S", 1.0)
    job.fault("000.wav", status=503)
    assert job.embed() == 0
    assert_statuses(job, {"000.wav": "storage-error"})
    assert job.ledger()["000.wav"]["error"] == "reading failed: no answer within 1 s"
    assert_next_run_gives_all(job)
    time.sleep(0.6)  # the last try of those that nobody waits for
