"""Whatever dies or fails between a run and its store, with the clients that people use.

What tests/l3core/table/test_faults.py has for operations is here for the requests that clients make of
them: the process is killed when the store has done one, the store refuses one, or an answer is lost and
the client asks again. Google's store and S3 are emulated; plain readers are pyarrow through fsspec.
"""

import re
import signal
import uuid
from contextlib import suppress
from functools import cache

import fsspec
import pyarrow.dataset as ds
import pytest

from l3core import storage
from l3core.errors import RunError
from l3core.table import plan as planning
from l3core.table import rewrite as rewriting
from l3core.table.layout import TablePaths
from l3core.table.lock import owners
from l3core.table.mend import mend
from l3core.table.read import read_windows
from l3core.table.state import journal_entries, load_state
from l3core.table.verify import verify_table
from l3core.weights import to_h5
from tests.changes import CHANGES, embed, in_process
from tests.corpus import (
    PlainRun,
    expected_rows,
    replace_file,
    staged_runs,
    write_audio,
    write_files,
)

# What changes a store. Between two of them it is the same: to die there is to die after the first.
CHANGING = "^(POST|PUT|DELETE|PATCH)"
SHARDS_WANTED, MOST_SMALL = 2, 4  # so that recordings share files, and are merged
# Of the requests before a commit so many are left out between two that are tried (another choice in each
# test); of those that commit and publish none, at Google's.
LEFT_OUT = {"gs": 5, "s3": 11}
LEFT_OUT_OF_PUBLISHING = {"gs": 0, "s3": 4}


@pytest.fixture(autouse=True)
def few_small_files(monkeypatch):
    monkeypatch.setattr(planning, "SHARDS_WANTED", SHARDS_WANTED)
    monkeypatch.setattr(rewriting, "MOST_SMALL", MOST_SMALL)


class Made:
    """A table with one commit on a disk, and a corpus that has changed since."""

    def __init__(self, folder):
        self.folder = folder
        self.corpus, self.table = write_files(folder / "corpus", 4, 0.2), folder / "table"
        run = PlainRun(self.corpus, self.table, "run-1").all()
        weights, layers = run.embedder.weights, run.spec.network.layer_shapes(run.spec)
        storage.write_bytes(run.paths.weights(weights.digest), to_h5(weights, layers))
        replace_file(self.corpus / "001.wav", 0.3, seed=50)
        (self.corpus / "002.wav").write_text("no audio any more")
        (self.corpus / "003.wav").unlink()
        write_audio(self.corpus / "new.wav", 0.2, seed=51)
        self.after = cache(self._after)

    def copy(self, uri):
        """The table, elsewhere."""
        fs, path = fsspec.core.url_to_fs(uri)
        found = {file.relative_to(self.table).as_posix(): file for file in self.table.rglob("*.*")}
        fs.makedirs(path, exist_ok=True)
        for name in {posix.rpartition("/")[0] for posix in found}:
            fs.makedirs(f"{path}/{name}", exist_ok=True)
        fs.pipe({f"{path}/{name}": file.read_bytes() for name, file in found.items() if file.is_file()})
        return uri

    def _after(self, *changes):
        """What is visible on a disk, which nothing disturbs, after some changes."""
        uri = self.copy(str(self.folder / "-".join(["after", *changes])))
        for change in changes:
            CHANGES[change](uri, self.corpus) if change != "again" else embed(uri, self.corpus, "run-3")
        return visible(uri)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "SHARDS_WANTED", SHARDS_WANTED)
        return Made(tmp_path_factory.mktemp("made"))


def visible(uri):
    """All that plain pyarrow finds, and that does not depend on time: windows, and ledger rows."""
    names = ("clip_id", "status", "uri", "version", "windows_written", "windows_expected")
    windows = sorted((*row.values(), tuple(vector)) for row, vector in _split(_plain(uri, "windows")))
    clips = sorted(tuple(row[name] for name in names) for row in _plain(uri, "clips"))
    return windows, clips


def _split(rows):
    return ((row, row.pop("embedding")) for row in rows)


def _plain(uri, folder):
    fs, path = fsspec.core.url_to_fs(f"{uri}/{folder}", use_listings_cache=False)
    fs.invalidate_cache()
    if not fs.exists(path):
        return []
    return ds.dataset(path, filesystem=fs, format="parquet").to_table().to_pylist()


def read(uri):
    """What `read_windows` gives, as `visible` does."""
    if not load_state(TablePaths(uri)).fingerprints:
        return []
    metadata, vectors = read_windows(uri)
    return [
        (*row.values(), tuple(vector)) for row, vector in zip(metadata.to_pylist(), vectors.tolist())
    ]


def has_happened(uri):
    """Whether the change is in the journal, and not only a fence."""
    return any(not entry["record"].get("fence") for entry in list(journal_entries(TablePaths(uri)))[1:])


def assert_before_or_after(made, uri, change, number):
    """The table is as it was or as it shall be, says which, can be mended, and the next run goes on."""
    happened = has_happened(uri)
    done = (change,) if happened else ()
    assert read(uri) == made.after(*done)[0], number
    if not happened:
        assert visible(uri) == made.after(), number
    said = list(mend(TablePaths(uri), "repair"))
    assert visible(uri) == made.after(*done), (number, said)
    assert_whole(uri, number)
    embed(uri, made.corpus, "run-3")
    assert visible(uri) == made.after(*done, "again"), number
    assert staged_runs(uri) == [], number
    assert owners(TablePaths(uri)) == {}, number
    return happened


def assert_whole(uri, number):
    """Nothing pending, no file that no commit has, and every promise of the layout holds."""
    state = load_state(TablePaths(uri))
    assert state.pending is None, number
    assert files(uri) == sorted(state.files), number
    assert list(verify_table(TablePaths(uri))) == [], number


def files(uri):
    fs, path = fsspec.core.url_to_fs(uri, use_listings_cache=False)
    found = [name.removeprefix(f"{path}/") for name in fs.find(path)]
    return sorted(name for name in found if name.startswith(("windows/", "clips/")))


def chosen(requests, kind, first):
    """Numbers of the requests that are tried of those that an undisturbed change made."""
    journal = next(n for n, line in enumerate(requests) if re.search("journal/00000002.json", line))
    record = max(n for n, line in enumerate(requests) if re.search("runs/run-2.json", line))
    step, publishing = LEFT_OUT[kind] + 1, LEFT_OUT_OF_PUBLISHING[kind] + 1
    yield from range(first % min(step, journal), journal, step)
    yield from range(journal, record + 1, publishing)
    yield from range(record + 1 + first, len(requests), 10)


def undisturbed(made, emulator, change):
    """The requests that a change makes of a store."""
    uri = made.copy(emulator.make_bucket(f"undisturbed-{uuid.uuid4().hex[:12]}") + "/table")
    emulator.clear()
    CHANGES[change](uri, made.corpus)
    requests = emulator.requests(CHANGING)
    assert visible(uri) == made.after(change)
    assert_whole(uri, "undisturbed")
    return requests


CASES = [("gs", change) for change in CHANGES] + [("s3", "embed")]


@pytest.mark.parametrize(("kind", "change"), CASES)
def test_a_process_that_is_killed_leaves_the_table_before_or_after(made, request, kind, change):
    """After each request that was done: see LEFT_OUT for those that are not tried."""
    emulator = request.getfixturevalue({"gs": "gcs", "s3": "s3"}[kind])
    requests = undisturbed(made, emulator, change)
    seen = set()
    for number in chosen(requests, kind, CASES.index((kind, change))):
        uri = made.copy(emulator.make_bucket(f"killed-{change}-{number}") + "/table")
        emulator.clear()
        process = in_process(
            change, uri, made.corpus, shards_wanted=SHARDS_WANTED, most_small=MOST_SMALL
        )
        emulator.fault(CHANGING, skip=number, then=process.kill)
        process.join()
        assert process.exitcode == -signal.SIGKILL, number
        emulator.wait()
        emulator.clear()
        seen.add(assert_before_or_after(made, uri, change, number))
    assert seen == {True, False}


@pytest.mark.parametrize("change", CHANGES)
def test_a_request_that_is_refused_leaves_the_table_before_or_after(made, gcs, change):
    """Every tenth request, another choice for each change."""
    requests = undisturbed(made, gcs, change)
    for number in range(list(CHANGES).index(change), len(requests), 10):
        uri = made.copy(gcs.make_bucket(f"refused-{change}-{number}") + "/table")
        gcs.clear()
        gcs.fault(CHANGING, skip=number, times=1, status=400)
        with suppress(OSError, RunError):
            CHANGES[change](uri, made.corpus)
        gcs.clear()
        assert_before_or_after(made, uri, change, number)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("change", CHANGES)
def test_when_every_answer_is_lost_once_nothing_is_missing_or_twice(made, store, change):
    """The client asks again for what is done already: ours won, is moved, or is gone."""
    emulator, bucket = store
    uri = made.copy(f"{bucket}/table")
    lost = emulator.fault("", each=True, times=1, lost=True)
    CHANGES[change](uri, made.corpus)
    assert lost.hits > 25
    assert emulator.requests("moveTo|PUT .*windows/") or change == "drop"
    emulator.clear()
    assert visible(uri) == made.after(change)
    assert_whole(uri, "lost")
    assert len(list(journal_entries(TablePaths(uri)))) == 2
    assert staged_runs(uri) == []
    assert owners(TablePaths(uri)) == {}


def test_the_corpus_is_what_the_second_run_gives(made):
    """What the others compare with is not only their own output."""
    windows, clips = made.after("embed")
    assert [row[:4] for row in windows] == [row[:4] for row in expected_rows(made.corpus)]
    assert {row[0]: row[1] for row in clips} == {
        **dict.fromkeys(("000.wav", "001.wav", "new.wav"), "ok"),
        "002.wav": "unreadable",
        "003.wav": "gone",
    }
