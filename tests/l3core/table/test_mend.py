"""Mending: what is missing comes back, what nobody can use goes, and all else is left alone."""

import json
import os
import shutil
import socket
import subprocess
import sys
from functools import partial

import pytest

from l3core import storage
from l3core.errors import RunError, TableError
from l3core.spec import EmbeddingSpec
from l3core.table.adopt import claim_staging
from l3core.table.layout import TablePaths
from l3core.table.lock import acquire, owners, release
from l3core.table.maintenance import compact, drop_spec, reroot
from l3core.table.mend import mend
from l3core.table.state import journal_entries, load_state
from tests.corpus import PlainRun, expected_rows, snapshot, staged_runs, table_rows, write_files
from tests.stores import Killed, faulty

OTHER = EmbeddingSpec(model="fake", engine="fake", weights="random:0", hop_s=0.5)


@pytest.fixture
def corpus(tmp_path):
    return write_files(tmp_path / "data/corpus", 4)


@pytest.fixture
def table(tmp_path):
    return tmp_path / "table"


@pytest.fixture
def paths(table):
    return TablePaths(str(table))


@pytest.fixture
def spec(corpus, table):
    return PlainRun(corpus, table, "run-1").all().plan.fingerprint


@pytest.fixture
def living():
    """The id of another process that is alive."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process.pid
    process.communicate(b"\n")


def held_by(paths, spec, pid):
    """The lock of run-9, which another process has."""
    owner = {"run_id": "run-9", "host": socket.gethostname(), "pid": pid}
    storage.write_bytes(paths.lock(spec), json.dumps(owner).encode())


def mended(paths, run_id="repair"):
    return list(mend(paths, run_id))


def everything(table):
    """Also what is ours: path -> (content, time of its last change)."""
    found = (path for path in table.rglob("*") if path.is_file())
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in found}


def kill_while_publishing(change, table, tmp_path):
    """Let the change die when its commit is journalled and half of its files are in place."""
    for number in range(1000):
        copy = tmp_path / f"try-{number}"
        shutil.copytree(table, copy)
        with faulty(str(copy), number), pytest.raises(Killed):
            change(copy)
        state = load_state(TablePaths(str(copy)))
        if state.pending is not None and snapshot(copy) != snapshot(table):
            shutil.rmtree(table)
            copy.rename(table)
            return
        shutil.rmtree(copy)


def test_a_whole_table_is_left_as_it_is(table, paths, spec):
    before = everything(table)
    assert mended(paths) == []
    assert everything(table) == before


def test_a_commit_that_was_journalled_is_published(corpus, table, paths, spec, tmp_path):
    def change(table):
        reroot(TablePaths(str(table)), str(corpus.parent), "run-2")

    kill_while_publishing(change, table, tmp_path)
    assert mended(paths)[0] == "finished publishing run run-2"
    assert table_rows(table) == expected_rows(corpus, root=corpus.parent)
    assert (load_state(paths).pending, staged_runs(table), owners(paths)) == (None, [], {})
    assert mended(paths) == []


def test_what_the_journal_tells_is_written_again(corpus, table, paths, spec):
    write_files(corpus, 2, first=4)
    PlainRun(corpus, table, "run-2").all()
    before = snapshot(table)
    for lost in (paths.table, paths.spec(spec), paths.record("run-1")):
        storage.remove(lost)
    assert mended(paths) == [
        "wrote table.json again",
        "wrote the record of run run-1 again",
        f"wrote specs/{spec}.json again",
    ]
    assert snapshot(table) == before


def test_the_spec_of_a_dropped_partition_does_not_come_back(corpus, table, paths, spec):
    PlainRun(corpus, table, "run-2", spec=OTHER).all()
    drop_spec(paths, spec, "run-3")
    assert mended(paths) == []
    assert not storage.exists(paths.spec(spec))


def test_a_record_is_not_written_before_the_files_are_in_place(corpus, table, paths, spec):
    """A commit that comes while the table is mended, and dies: the record would say that it is done."""
    late = PlainRun(write_files(corpus, 2, first=4), table, "run-2").make_plan().embed().rewrite()
    storage.remove(paths.table)
    steps = mend(paths, "repair")
    assert next(steps) == "wrote table.json again"  # the rest is still to come
    number = 0
    while load_state(paths).commits == 1:  # journalled, and nothing after it
        with faulty(str(table), number), pytest.raises(Killed):
            late.commit()
        number += 1
    assert load_state(paths).pending is not None
    list(steps)
    assert not storage.exists(paths.record("run-2"))
    assert mended(paths)[0] == "finished publishing run run-2"
    assert table_rows(table) == expected_rows(corpus)


def test_files_that_no_commit_has_are_removed(table, paths, spec):
    before = snapshot(table)
    own = os.listdir(table / f"windows/spec={spec}")[0]
    for orphan in (f"windows/spec={spec}/x.parquet", f"clips/spec={spec}/x.parquet"):
        shutil.copy(table / f"windows/spec={spec}" / own, table / orphan)
    assert mended(paths) == [
        f"removed windows/spec={spec}/x.parquet, which no commit has",
        f"removed clips/spec={spec}/x.parquet, which no commit has",
    ]
    assert snapshot(table) == before


def test_files_of_others_are_left_alone(table, paths, spec):
    others = [
        table / name for name in ("windows/notes.parquet", f"windows/spec={spec}/a.txt", "x.parquet")
    ]
    for path in others:
        path.write_text("not ours")
    assert mended(paths) == []
    assert all(path.exists() for path in others)


def test_nothing_is_removed_from_a_table_that_lost_its_journal(table, paths, spec):
    """As copied without `_l3flow`: no file is of any commit, and all of them are data."""
    before = snapshot(table)
    shutil.rmtree(table / "_l3flow")
    with pytest.raises(TableError, match=r"_l3flow/journal is gone and windows/.* is there"):
        mended(paths)
    assert snapshot(table) == before


def test_finished_shards_of_a_dead_run_are_kept(corpus, table, paths, spec):
    write_files(corpus, 3, first=4)
    PlainRun(corpus, table, "run-2").make_plan().embed(shards=2)
    assert mended(paths) == [
        f"kept what run run-2 finished (2 shards): the next run of {spec} takes it over"
    ]
    run = PlainRun(corpus, table, "run-3").make_plan()
    assert sum(shard.adopted for shard in run.plan.shards) == 2
    run.embed().commit()
    assert table_rows(table) == expected_rows(corpus)


@pytest.mark.parametrize("kind", ["compact", "reroot", "embed", "nobody"])
def test_what_nobody_can_use_is_removed(corpus, table, paths, spec, kind):
    """A maintenance commit, or a run that finished no shard: its folder may be as large as the table."""
    owner = {"compact": spec, "reroot": "", "embed": spec, "nobody": None}[kind]
    if owner is not None:
        claim_staging(paths, "run-2", owner, str(corpus))
    storage.write_bytes(f"{paths.staging('run-2')}/rewritten/000000.parquet", b"much")
    assert mended(paths) == ["removed what run run-2 left, which nobody can use"]
    assert staged_runs(table) == []
    assert [entry["record"]["fingerprint"] for entry in journal_entries(paths)][1:] == [owner or ""]
    assert mended(paths) == []  # the fence is not news


@pytest.mark.parametrize("change", ["compact", "reroot", "embed"])
def test_who_wakes_up_after_his_folder_was_removed_cannot_commit(corpus, table, paths, spec, change):
    before = table_rows(table)

    def sleep(*_):  # its lock is taken for that of a dead one, and the table mended
        release(paths, spec, "run-2")
        shutil.copytree(paths.staging("run-2"), table.parent / "kept", dirs_exist_ok=True)
        assert any("removed what run run-2 left" in words for words in mended(paths))
        (table.parent / "kept").rename(paths.staging("run-2"))

    changes = {
        "compact": partial(compact, paths, spec, "run-2", sleep),
        "reroot": partial(reroot, paths, str(corpus.parent), "run-2", report=sleep_once(sleep)),
        "embed": lambda: embed_and(sleep, corpus, table),
    }
    with pytest.raises(RunError, match="changed"):
        changes[change]()
    assert table_rows(table) == before
    assert load_state(paths).root == str(corpus)


def sleep_once(sleep):
    return lambda done, total: sleep() if done == total else None


def embed_and(sleep, corpus, table):
    run = PlainRun(write_files(corpus, 1, first=4), table, "run-2").make_plan()
    sleep()
    run.embed().commit()


def test_locks_of_dead_runs_are_removed(table, paths, spec):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    held_by(paths, spec, process.pid)
    assert mended(paths) == ["removed the lock of the dead run run-9"]
    assert owners(paths) == {}


def test_the_lock_of_a_run_that_comes_meanwhile_is_left_alone(table, paths, spec):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    held_by(paths, spec, process.pid)
    storage.write_bytes(paths.at("windows/spec=x/x.parquet"), b"")
    steps = mend(paths, "repair")
    assert next(steps) == "removed windows/spec=x/x.parquet, which no commit has"
    acquire(paths, spec, "run-10")
    acquire(paths, "snew", "run-11")
    claim_staging(paths, "run-10", spec, "/")
    claim_staging(paths, "run-11", "", "/")
    assert list(steps) == []
    assert owners(paths) == {spec: "run-10", "snew": "run-11"}
    assert staged_runs(table) == ["run-10", "run-11"]
    release(paths, spec, "run-10")
    release(paths, "snew", "run-11")


def test_while_a_run_is_open_only_what_is_missing_is_written(
    corpus, table, paths, spec, living, tmp_path
):
    kill_while_publishing(lambda table: compact(TablePaths(str(table)), spec, "run-2"), table, tmp_path)
    claim_staging(paths, "run-3", "", str(corpus))
    storage.write_bytes(paths.at(f"windows/spec={spec}/x.parquet"), b"")
    held_by(paths, spec, living)
    first, last = mended(paths)
    assert first == "finished publishing run run-2"
    assert last.startswith(f"left all else alone: run run-9 (process {living} on ")
    assert storage.exists(paths.at(f"windows/spec={spec}/x.parquet"))
    assert "run-3" in staged_runs(table)
    assert owners(paths) == {spec: "run-9"}


def test_no_table_is_mended_to_no_table(table, paths):
    assert mended(paths) == []
    assert not table.exists()


def test_a_first_run_that_died_leaves_its_shards(corpus, table, paths):
    PlainRun(corpus, table, "run-1").make_plan().embed(shards=1)
    (words,) = mended(paths)
    assert words.startswith("kept what run run-1 finished (1 shard)")
    PlainRun(corpus, table, "run-2").all()
    assert table_rows(table) == expected_rows(corpus)
