"""A whole job on a store that fails on one object: its row says how, and all others are as they would be.

Google's store and S3, with the clients that people use. The next run, which nothing disturbs, makes the
table that one from scratch makes.
"""

import io
from functools import partial
from typing import Any, NamedTuple

import fsspec
import pyarrow.dataset as ds
import pytest
import soundfile

from l3core import pinned, ranges
from l3core.table.layout import TablePaths
from l3core.table.read import read_windows
from l3core.table.state import journal_entries
from launch.main import main
from tests.corpus import FLAGS, expected_rows, noise, staged_runs, write_audio, write_files

VICTIM = "002.wav"
FACTS = ("status", "error", "frames", "codec", "duration_s", "windows_expected", "windows_written")


class Job(NamedTuple):
    """A corpus of six small files in a bucket, and a place for a table."""

    emulator: Any
    folder: Any
    source: str
    table: str

    def embed(self):
        places = ["--input", f"{self.source}/**", "--output", self.table]
        return main(["embed", *places, *FLAGS, "--quiet"])

    def put(self, path):
        fs, bucket = fsspec.core.url_to_fs(self.source)
        fs.pipe_file(f"{bucket}/{path.name}", path.read_bytes())

    def remove(self, name):
        fs, bucket = fsspec.core.url_to_fs(self.source)
        fs.rm_file(f"{bucket}/{name}")

    def fault(self, **what):
        """Something that happens to requests for the content of one object."""
        return self.emulator.fault(self.emulator.reading(VICTIM), **what)

    def windows(self):
        """Rows by `read_windows`, which are those of plain pyarrow."""
        metadata, vectors = read_windows(self.table)
        rows = [(*row.values(), vector.tobytes()) for row, vector in zip(metadata.to_pylist(), vectors)]
        columns = ["clip_id", "window", "start_s", "silent"]
        plain = sorted(tuple(row.values()) for row in self._plain("windows", columns))
        assert [row[:4] for row in rows] == plain
        return rows

    def ledger(self):
        rows = self._plain("clips", ["clip_id", *FACTS])
        assert len({row["clip_id"] for row in rows}) == len(rows)
        return {row.pop("clip_id"): row for row in rows}

    def _plain(self, folder, columns):
        fs, path = fsspec.core.url_to_fs(f"{self.table}/{folder}", use_listings_cache=False)
        return ds.dataset(path, filesystem=fs, format="parquet").to_table(columns).to_pylist()


@pytest.fixture
def job(store, tmp_path, impatient):
    emulator, bucket = store
    folder = write_files(tmp_path / "corpus", 6, 0.3)
    found = Job(emulator, folder, f"{bucket}/corpus", f"{bucket}/table")
    for path in folder.iterdir():
        found.put(path)
    emulator.clear()
    return found


def rows_of(folder, without=()):
    return [row for row in expected_rows(folder) if row[0] not in without]


def on_disk(folder):
    """The ledger of a table that is made from scratch where nothing fails."""
    table = folder.parent / f"scratch-{len(list(folder.parent.iterdir()))}"
    made = Job(None, folder, str(folder), str(table))
    assert made.embed() == 0
    return made.ledger()


def assert_only_the_victim(job, folder, status, error=None):
    """Exactly this of the victim; all else as if nothing had happened."""
    found, expected = job.ledger(), on_disk(folder)
    assert found.pop(VICTIM)["status"] == status, found
    expected.pop(VICTIM, None)
    assert found == expected
    assert len(found) == 5
    assert job.windows() == rows_of(folder, without=() if status == "ok" else (VICTIM,))


def assert_next_run_gives_all(job, folder):
    job.emulator.clear()
    assert job.embed() == 0
    assert job.ledger() == on_disk(folder)
    assert {row["status"] for row in job.ledger().values()} == {"ok"}
    assert job.windows() == rows_of(folder)
    assert staged_runs(job.table) == []


PASSING = {
    "503 twice": {"status": 503, "times": 2},
    "429": {"status": 429, "times": 1},
    "reset before the answer": {"reset": True, "times": 1},
    "reset within the body": {"cut": 1_000, "times": 1},
    "a body that is too short": {"short": 1_000, "times": 1},
    "a flipped bit": {"corrupt": True, "times": 1},
    "latency": {"delay_s": 0.05},
}


@pytest.mark.parametrize("name", PASSING)
def test_what_passes_is_tried_again_and_leaves_no_trace(job, capsys, name):
    injected = job.fault(**PASSING[name])
    assert job.embed() == 0
    assert injected.hits == PASSING[name].get("times", 1)
    assert capsys.readouterr() == ("", "")
    assert_only_the_victim(job, job.folder, "ok")
    assert job.ledger() == on_disk(job.folder)


@pytest.mark.parametrize("name", ["503 twice", "reset within the body", "a body that is too short"])
def test_so_it_is_where_an_object_is_read_in_ranges(job, monkeypatch, name):
    monkeypatch.setattr(pinned, "WHOLE_BYTES", 1_000)
    monkeypatch.setattr(ranges, "FIRST_BYTES", 2_000)
    injected = job.fault(**PASSING[name], skip=1)
    assert job.embed() == 0
    assert injected.hits == PASSING[name]["times"]
    assert_only_the_victim(job, job.folder, "ok")


LASTING = {
    "503": {"status": 503},
    "a body that is too short": {"short": 1_000},
    "a flipped bit": {"corrupt": True},
    "reset before the answer": {"reset": True},
}


@pytest.mark.parametrize("name", LASTING)
def test_what_lasts_is_a_storage_error_of_that_object_alone(job, capsys, name):
    job.fault(**LASTING[name])
    assert job.embed() == 0
    assert capsys.readouterr() == ("", "")
    assert_only_the_victim(job, job.folder, "storage-error")
    assert_next_run_gives_all(job, job.folder)


def test_replaced_between_listing_and_reading_is_changed(job):
    other = write_audio(job.folder / VICTIM, 0.6, seed=90)
    job.fault(times=1, call=partial(job.put, other))
    assert job.embed() == 0
    assert_only_the_victim(job, job.folder, "changed")
    assert_next_run_gives_all(job, job.folder)


def test_deleted_between_listing_and_reading_is_vanished(job):
    job.fault(times=1, call=partial(job.remove, VICTIM))
    assert job.embed() == 0
    assert_only_the_victim(job, job.folder, "vanished")
    job.put(job.folder / VICTIM)
    assert_next_run_gives_all(job, job.folder)


def test_replaced_while_it_is_read_in_ranges_is_changed(job, monkeypatch):
    """A minute: windows of the old content are in the shard's file when the new one comes."""
    monkeypatch.setattr(pinned, "WHOLE_BYTES", 10_000)
    job.put(write_audio(job.folder / VICTIM, 60.0, seed=91))
    other = io.BytesIO()
    soundfile.write(other, noise(60.0, seed=92), 8_000, format="WAV")
    (job.folder / VICTIM).write_bytes(other.getvalue())
    injected = job.fault(skip=3, times=1, call=partial(job.put, job.folder / VICTIM))
    assert job.embed() == 0
    assert injected.hits == 1
    assert_only_the_victim(job, job.folder, "changed")
    assert_next_run_gives_all(job, job.folder)


LOST = {
    "gs": {
        "commit": "^POST .* table/_l3flow/journal/00000001.json",
        "upload": "^POST /upload/.*done/.*parquet",
        "move": "^POST .*moveTo.*/windows/",
        "deletion": "^DELETE .*/staging/",
    },
    "s3": {
        "commit": "^PUT .*/_l3flow/journal/00000001.json",
        "upload": "^PUT .*/done/.*parquet",
        "move": "^PUT .*/windows/",
        "deletion": "^POST .*delete.*/staging/",
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
    assert job.windows() == rows_of(job.folder)
    assert job.ledger() == on_disk(job.folder)
    assert len(list(journal_entries(TablePaths(job.table)))) == 1
    assert staged_runs(job.table) == []
    assert main(["verify", "--table", job.table, "--quiet"]) == 0


def test_nobody_waits_for_ever(job, monkeypatch):
    """Without the impatience of the other tests: clients would try for half a minute."""
    monkeypatch.undo()
    monkeypatch.setattr(pinned, "DEADLINE_S", 1.0)
    job.fault(status=503)
    assert job.embed() == 0
    assert_only_the_victim(job, job.folder, "storage-error")
    assert_next_run_gives_all(job, job.folder)
