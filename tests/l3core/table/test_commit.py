"""Commits: all or nothing wherever a run is killed, each clip once, and only one of two."""

import dataclasses
import json
import shutil
import threading
from contextlib import contextmanager

import pytest

from l3core import storage
from l3core.errors import RunError
from l3core.table.journal import repair
from l3core.table.layout import TablePaths
from l3core.table.read import read_windows
from l3core.table.shard import embed_shard
from l3core.table.state import load_state
from tests.corpus import (
    PlainRun,
    expected_rows,
    ledger,
    replace_file,
    snapshot,
    staged_runs,
    table_rows,
    write_audio,
    write_files,
)


class Killed(BaseException):
    """The process is gone: nothing catches this."""


@contextmanager
def killed_before_change(number, monkeypatch):
    """Die before the `number`-th change of anything on the store."""
    left = number

    def dying(function):
        def step(*args, **kwargs):
            nonlocal left
            if left <= 0:  # several may come at once
                raise Killed
            left -= 1
            return function(*args, **kwargs)

        return step

    with monkeypatch.context() as patch:
        for name in ("writing", "create", "move", "remove"):
            patch.setattr(storage, name, dying(getattr(storage, name)))
        yield


@pytest.fixture(scope="module")
def halfway(tmp_path_factory):
    """A table with one commit, and a second run all of whose shards are done; with old and new rows."""
    folder = tmp_path_factory.mktemp("halfway")
    corpus, table = write_files(folder / "corpus", 4), folder / "table"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("l3core.table.plan.SHARDS_WANTED", 2)  # so that recordings share files
        PlainRun(corpus, table, "run-1").all()
        old = expected_rows(corpus)
        replace_file(corpus / "001.wav", 1.5, seed=50)
        (corpus / "002.wav").write_text("no audio any more")
        write_audio(corpus / "new.wav", seed=51)
        PlainRun(corpus, table, "run-2").make_plan().embed()
    return corpus, table, old, expected_rows(corpus)


def read_rows(table):
    """What `read_windows` gives, as `table_rows` does."""
    metadata, vectors = read_windows(str(table))
    return [(*row.values(), vector.tobytes()) for row, vector in zip(metadata.to_pylist(), vectors)]


def assert_finished(table, corpus):
    """The table is the corpus, each file once, and nothing of ours lies about."""
    assert table_rows(table) == expected_rows(corpus) == read_rows(table)
    rows = ledger(table)
    names = sorted(path.relative_to(corpus).as_posix() for path in corpus.rglob("*") if path.is_file())
    assert sorted(rows) == names
    state = load_state(TablePaths(str(table)))
    assert state.pending is None
    visible = {path for path in snapshot(table) if path.startswith(("windows/", "clips/"))}
    assert visible == set(state.files)
    assert staged_runs(table) == []
    written = {row["clip_id"]: row["windows_written"] for row in rows.values() if row["files"]}
    found = [row[0] for row in table_rows(table)]
    assert written == {clip_id: found.count(clip_id) for clip_id in set(found)}


@pytest.mark.parametrize("follow_up", ["run", "full"])
def test_killed_at_any_change(halfway, tmp_path, monkeypatch, follow_up):
    corpus, made, old, new = halfway
    before = snapshot(made)
    run_2 = PlainRun(corpus, made, "run-2")
    kills = 0
    while True:
        table = tmp_path / f"killed-{kills}"
        shutil.copytree(made, table)
        run_2.paths = TablePaths(str(table))
        try:
            with killed_before_change(kills, monkeypatch):
                run_2.commit()
        except Killed:
            pass
        else:
            break
        happened = (table / "_l3flow/journal/00000002.json").exists()
        if not happened:
            assert snapshot(table) == before, kills
        assert read_rows(table) == (new if happened else old), kills
        PlainRun(corpus, table, "run-3", full=follow_up == "full").all()
        assert_finished(table, corpus)
        kills += 1
    assert_finished(table, corpus)
    # two files rewritten, ledger and journal written; table.json, spec, four or more files moved, three
    # removed, the record; the staging folder
    assert kills > 13


def test_what_a_commit_says(halfway, tmp_path):
    corpus, made, _, _ = halfway
    table = shutil.copytree(made, tmp_path / "table")
    run = PlainRun(corpus, table, "run-2")
    old_files = set(load_state(run.paths).files)
    record = run.commit().record
    assert record["clips"] == {"ok": 2, "unreadable": 1}
    assert record["matched"] == {"changed": 2, "new": 1, "unchanged": 2}
    assert set(record["files_removed"]) <= old_files
    assert record == json.loads((table / "runs/run-2.json").read_text())
    rows = ledger(table)
    assert rows["000.wav"]["run_id"] == rows["003.wav"]["run_id"] == "run-1"
    assert rows["001.wav"]["run_id"] == rows["new.wav"]["run_id"] == "run-2"
    assert rows["002.wav"]["status"] == "unreadable"


def test_committing_again_changes_nothing(tmp_path):
    corpus, table = write_files(tmp_path / "corpus", 2), tmp_path / "table"
    run = PlainRun(corpus, table, "run-1").all()
    before, record = snapshot(table), run.record
    assert run.commit().record == record
    assert snapshot(table) == before


def test_of_two_commits_on_one_base_the_second_fails(tmp_path):
    corpus, table = write_files(tmp_path / "corpus", 3), tmp_path / "table"
    PlainRun(corpus, table, "run-1").all()
    replace_file(corpus / "001.wav", 1.5, seed=50)
    early = PlainRun(corpus, table, "run-2").make_plan()
    # it has planned; another spec commits to the same table before it
    other = PlainRun(corpus, table, "run-3", spec=early.spec)
    shutil.move(table / "_l3flow/staging/run-2", tmp_path / "aside")
    other.all()
    shutil.move(tmp_path / "aside", table / "_l3flow/staging/run-2")
    after = snapshot(table)
    with pytest.raises(RunError, match="another run changed the table"):
        early.embed().commit()
    assert snapshot(table) == after
    assert table_rows(table) == expected_rows(corpus)


def test_runs_of_two_specs_do_not_stand_in_each_others_way(tmp_path):
    corpus, table = write_files(tmp_path / "corpus", 3), tmp_path / "table"
    PlainRun(corpus, table, "run-1").all()
    replace_file(corpus / "001.wav", 1.5, seed=50)
    early = PlainRun(corpus, table, "run-2").make_plan().embed()
    other = dataclasses.replace(early.spec, hop_s=0.5)
    late = PlainRun(corpus, table, "run-3", spec=other).all()
    assert early.commit().record["commit"] == 3
    assert table_rows(table, early.plan.fingerprint) == expected_rows(corpus)
    assert table_rows(table, late.plan.fingerprint) == expected_rows(corpus, other)


def test_of_two_at_the_same_moment_one_wins(tmp_path):
    """Both have read the same state; what decides is who creates the journal entry."""
    corpus, table = write_files(tmp_path / "corpus", 3), tmp_path / "table"
    runs = [PlainRun(corpus, table, f"run-{number}") for number in range(2)]
    runs[1].make_plan().embed()
    shutil.move(table / "_l3flow/staging/run-1", tmp_path / "aside")
    runs[0].make_plan().embed()
    shutil.move(tmp_path / "aside", table / "_l3flow/staging/run-1")
    start = threading.Barrier(2)
    results = {}

    def commit(run):
        start.wait()
        try:
            results[run.run_id] = run.commit().record
        except (RunError, OSError) as error:  # the winner clears away what the loser still writes
            results[run.run_id] = error

    threads = [threading.Thread(target=commit, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    repair(runs[0].paths)
    assert len(list((table / "_l3flow/journal").iterdir())) == 1
    (won,) = {row["run_id"] for row in ledger(table).values()}
    lost = results.keys() - {won}
    assert not any(isinstance(results[run_id], dict) for run_id in lost), results
    assert table_rows(table) == expected_rows(corpus)


def _die(*_):
    raise Killed


def test_repair_publishes_what_is_pending(halfway, tmp_path, monkeypatch):
    corpus, made, _, new = halfway
    table = shutil.copytree(made, tmp_path / "table")
    with monkeypatch.context() as patch:
        patch.setattr("l3core.table.commit.publish", _die)
        with pytest.raises(Killed):
            PlainRun(corpus, table, "run-2").commit()
    paths = TablePaths(str(table))
    assert load_state(paths).pending["record"]["run_id"] == "run-2"
    state = repair(paths)
    assert state.pending is None
    assert state.commits == 2
    assert table_rows(table) == new


def test_a_shard_that_is_not_done_or_not_whole_is_refused(halfway, tmp_path):
    corpus, made, _, _ = halfway
    before = snapshot(made)
    for damage, message in [
        (lambda done, name: (done / f"{name}.json").unlink(), "was not finished"),
        (lambda done, name: _edit(done / f"{name}.json", "clips", []), "accounts for 0 of"),
        (lambda done, name: _edit(done / f"{name}.json", "file", None), "has no file"),
        (lambda done, name: _swap_parquet(done, name), "bytes, its manifest says"),
    ]:
        table = tmp_path / message[:9]
        shutil.copytree(made, table)
        done = table / "_l3flow/staging/run-2/done"
        damage(done, _largest(done))
        with pytest.raises(RunError, match=message):
            PlainRun(corpus, table, "run-2").commit()
        assert snapshot(table) == before


def _largest(done):
    """The shard of 001.wav: 1.5 s are 7 windows, new.wav has 5."""
    return max(
        (path for path in done.glob("*.json")),
        key=lambda path: sum(clip["windows_written"] for clip in json.loads(path.read_text())["clips"]),
    ).stem


def _edit(path, key, value):
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))


def _swap_parquet(done, name):
    staged = done / json.loads((done / f"{name}.json").read_text())["staged"]
    shutil.copy(next(path for path in done.glob("*.parquet") if path != staged), staged)


def test_a_shard_that_a_runner_tries_again_after_the_commit_changes_nothing(tmp_path):
    corpus, table = write_files(tmp_path / "corpus", 3), tmp_path / "table"
    run = PlainRun(corpus, table, "run-1").all()
    after = snapshot(table)
    shard = run.plan.to_embed[0].name
    assert embed_shard(run.paths, run.run_id, shard, run.embedder)["clips"] == []
    assert snapshot(table) == after
    assert staged_runs(table) == []


def test_clearing_up_that_fails_leaves_a_committed_run_committed(tmp_path, monkeypatch):
    """A network disk may hold on to a file that is open somewhere."""
    corpus, table = write_files(tmp_path / "corpus", 3), tmp_path / "table"
    run = PlainRun(corpus, table, "run-1").make_plan().embed()

    def busy(uri, **options):
        raise OSError("Directory not empty")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "remove", busy)
        run.commit()
    assert table_rows(table) == expected_rows(corpus)
    PlainRun(corpus, table, "run-2").all()  # the next run finds the folder, and removes it
    assert staged_runs(table) == []
    assert table_rows(table) == expected_rows(corpus)
