"""A run that was thought dead wakes up: it cannot commit, and harms nothing of the run after it."""

import json

import pytest

from l3core import storage
from l3core.errors import RunError
from l3core.table import commit as committing
from l3core.table import journal
from l3core.table import maintenance as maintaining
from l3core.table.journal import repair
from l3core.table.layout import TablePaths
from l3core.table.lock import acquire
from l3core.table.maintenance import compact, drop_spec, reroot
from l3core.table.state import journal_entries, load_state
from tests.corpus import (
    PlainRun,
    expected_rows,
    ledger,
    replace_file,
    snapshot,
    staged_runs,
    table_rows,
    write_files,
)


@pytest.fixture
def corpus(tmp_path):
    return write_files(tmp_path / "corpus", 6)


@pytest.fixture(params=["first run", "later run"])
def table(request, tmp_path, corpus):
    """Without and with a commit before."""
    table = tmp_path / "table"
    if request.param == "later run":
        PlainRun(corpus, table, "run-0").all()
        for number in range(6):
            replace_file(corpus / f"{number:03d}.wav", 1.5, seed=50 + number)
    return table


def assert_second(table, corpus):
    assert table_rows(table) == expected_rows(corpus)
    assert "run-2" in {row["run_id"] for row in ledger(table).values()}
    assert load_state(TablePaths(str(table))).pending is None


def test_while_the_next_one_works(corpus, table):
    first = PlainRun(corpus, table, "run-1").make_plan().embed(shards=4)
    second = PlainRun(corpus, table, "run-2").make_plan()
    with pytest.raises(RunError):  # four shards are no longer where it left them
        first.embed().commit()
    second.embed().commit()
    assert_second(table, corpus)


def test_with_all_its_work_done(corpus, table):
    """Nothing but the fence is between it and its commit."""
    first = PlainRun(corpus, table, "run-1").make_plan().embed().rewrite()
    before = snapshot(table) if (table / "table.json").exists() else {}
    replace_file(corpus / "001.wav", 2.5, seed=90)
    second = PlainRun(corpus, table, "run-2").make_plan()
    with pytest.raises(RunError):
        committing.commit_run(first.paths, "run-1", info={})
    assert (snapshot(table) if before else {}) == before
    second.embed().commit()
    assert_second(table, corpus)


def test_in_the_moment_of_its_commit(corpus, table, monkeypatch):
    """It has checked everything, and is about to write its journal entry."""
    first = PlainRun(corpus, table, "run-1").make_plan().embed().rewrite()
    replace_file(corpus / "001.wav", 2.5, seed=90)
    second = PlainRun(corpus, table, "run-2")
    create = storage.create

    def late(uri, content):
        monkeypatch.setattr(storage, "create", create)
        second.make_plan()
        return create(uri, content)

    monkeypatch.setattr(storage, "create", late)
    with pytest.raises(RunError, match="another run changed the table"):
        committing.commit_run(first.paths, "run-1", info={})
    second.embed().commit()
    assert_second(table, corpus)


def test_after_its_commit_was_journalled(corpus, table, monkeypatch):
    """The next run publishes it; what it still does itself takes nothing away from the next one."""
    first = PlainRun(corpus, table, "run-1").make_plan().embed().rewrite()
    second = PlainRun(corpus, table, "run-2")
    publish = journal.publish

    def paused(paths, commit):
        monkeypatch.setattr(committing, "publish", publish)
        replace_file(corpus / "001.wav", 2.5, seed=90)
        second.make_plan().embed(shards=1)
        publish(paths, commit)

    monkeypatch.setattr(committing, "publish", paused)
    first.commit()
    assert staged_runs(table) == ["run-2"]
    second.embed().commit()
    assert_second(table, corpus)
    assert {row["run_id"] for row in ledger(table).values()} == {"run-1", "run-2"}


def test_when_a_later_commit_has_moved_on(corpus, table, monkeypatch):
    """What it would publish was published, and replaced, by others."""
    first = PlainRun(corpus, table, "run-1").make_plan().embed().rewrite()
    publish = journal.publish

    def paused(paths, commit):
        monkeypatch.setattr(committing, "publish", publish)
        replace_file(corpus / "001.wav", 2.5, seed=90)
        PlainRun(corpus, table, "run-2").all()
        PlainRun(corpus, table, "run-3", full=True).all()
        publish(paths, commit)

    monkeypatch.setattr(committing, "publish", paused)
    first.commit()
    assert table_rows(table) == expected_rows(corpus)
    assert {row["run_id"] for row in ledger(table).values()} == {"run-3"}


def test_a_compaction(corpus, tmp_path, monkeypatch):
    """Its small files were merged, and a run came in between."""
    table = tmp_path / "table"
    PlainRun(corpus, table, "run-1").all()
    replace_file(corpus / "001.wav", 2.5, seed=90)
    create = storage.create
    (fingerprint,) = load_state(TablePaths(str(table))).fingerprints

    def late(uri, content):
        if "/journal/" in uri:
            monkeypatch.setattr(storage, "create", create)
            storage.remove(TablePaths(str(table)).lock(fingerprint))  # its lease has ended
            PlainRun(corpus, table, "run-2").all()
        return create(uri, content)

    monkeypatch.setattr(storage, "create", late)
    with pytest.raises(RunError, match="another run changed the table"):
        compact(TablePaths(str(table)), fingerprint, "run-3")
    assert_second(table, corpus)


def test_a_fence_is_no_commit(corpus, table):
    """A table in which only a dead run was taken over has nothing that could be read, or repaired."""
    PlainRun(corpus, table, "run-1").make_plan().embed(shards=2)
    state = load_state(TablePaths(str(table)))
    PlainRun(corpus, table, "run-2").make_plan()
    fenced = repair(TablePaths(str(table)))
    assert fenced.commits == state.commits + 1
    assert (fenced.files, fenced.root, fenced.pending) == (state.files, state.root, None)
    *_, entry = journal_entries(TablePaths(str(table)))
    assert entry["record"]["fence"]
    assert not (table / "runs/run-2.json").exists()
    PlainRun(corpus, table, "run-3").all()
    assert table_rows(table) == expected_rows(corpus)
    assert staged_runs(table) == []


def test_what_nobody_can_adopt_is_removed(corpus, table):
    """A staging folder whose removal was interrupted no longer says whose it was."""
    PlainRun(corpus, table, "run-1").make_plan().embed(shards=2)
    (table / "_l3flow/staging/run-1/owner.json").unlink()
    PlainRun(corpus, table, "run-2").all()
    assert staged_runs(table) == []
    assert {row["run_id"] for row in ledger(table).values()} == {"run-2"}
    assert table_rows(table) == expected_rows(corpus)


def test_before_it_has_planned(corpus, table):
    """Taken over between its lock and its plan: the living run after it is not a dead one."""
    second = PlainRun(corpus, table, "run-2").make_plan().embed(shards=3)
    acquire(second.paths, second.plan.fingerprint, "run-2")
    before = load_state(second.paths)
    with pytest.raises(RunError, match="run run-2 has taken over"):
        PlainRun(corpus, table, "run-1").make_plan()
    assert load_state(second.paths) == before
    assert staged_runs(table) == ["run-2"]
    second.embed().commit()
    assert_second(table, corpus)


def test_after_the_root_was_moved(corpus, tmp_path, monkeypatch):
    """What it still wants to write of the table itself is of the past."""
    table = tmp_path / "table"
    PlainRun(corpus, table, "run-0").all()
    replace_file(corpus / "001.wav", 2.5, seed=90)
    first = PlainRun(corpus, table, "run-1").make_plan().embed().rewrite()
    publish = journal.publish

    def paused(paths, commit):
        monkeypatch.setattr(committing, "publish", publish)
        reroot(paths, str(tmp_path), "run-2")
        publish(paths, commit)

    monkeypatch.setattr(committing, "publish", paused)
    first.commit()
    told = json.loads((table / "table.json").read_text())
    assert told["root"] == str(tmp_path) == load_state(first.paths).root


def test_a_drop_that_sleeps_through_a_new_beginning(corpus, tmp_path, monkeypatch):
    """The dropped spec was embedded again: its words and weights are of the new partition."""
    table = tmp_path / "table"
    run = PlainRun(corpus, table, "run-0").all()
    publish = journal.publish

    def paused(paths, commit):
        monkeypatch.setattr(maintaining, "publish", publish)
        journal.repair(paths)
        storage.remove(paths.lock(run.plan.fingerprint))  # its lease has ended
        PlainRun(corpus, table, "run-2").all()
        publish(paths, commit)

    monkeypatch.setattr(maintaining, "publish", paused)
    drop_spec(run.paths, run.plan.fingerprint, "run-1")
    assert storage.exists(run.paths.spec(run.plan.fingerprint))
    assert_second(table, corpus)


def test_a_drop_that_sleeps_within_its_publication(corpus, tmp_path, monkeypatch):
    """Names of specs and weights are used again, unlike those of files: it looks before that."""
    table = tmp_path / "table"
    run = PlainRun(corpus, table, "run-0").all()
    remove = storage.remove
    first = iter([True])  # several files are removed at once

    def paused(uri, **options):
        if "/windows/" in uri and next(first, False):
            monkeypatch.setattr(storage, "remove", remove)
            journal.repair(run.paths)
            remove(run.paths.lock(run.plan.fingerprint))  # its lease has ended
            PlainRun(corpus, table, "run-2").all()
        remove(uri, **options)

    monkeypatch.setattr(storage, "remove", paused)
    drop_spec(run.paths, run.plan.fingerprint, "run-1")
    assert storage.exists(run.paths.spec(run.plan.fingerprint))
    assert_second(table, corpus)


def test_the_job_of_a_run_that_was_stopped_commits_nothing(tmp_path):
    """Its cluster calls it cancelled, its last step is still running, and the lock was given back."""
    corpus, table = write_files(tmp_path / "corpus", 3), tmp_path / "table"
    run = PlainRun(corpus, table, "run-1").make_plan().embed()
    info = {"job": {"runner": "flink", "master": "http://localhost:8081", "name": "l3flow-run-1"}}
    with pytest.raises(RunError, match="run run-1 was stopped"):
        committing.commit_run(run.paths, "run-1", info=info)
    assert load_state(run.paths).commits == 0
    acquire(run.paths, run.plan.fingerprint, "run-1", job=info["job"])
    assert committing.commit_run(run.paths, "run-1", info=info)["commit"] == 1
