"""Rewriting: which files, together or alone, once, and small files of many nights stay few."""

import json
import random

import pyarrow.parquet as pq
import pytest

from l3core import storage
from l3core.errors import RunError
from l3core.table import plan as planning
from l3core.table import rewrite as module
from l3core.table.commit import commit_run
from l3core.table.rewrite import Source, choose_groups, plan_rewrites, rewrite_files
from l3core.table.state import load_state
from tests.corpus import (
    PlainRun,
    expected_rows,
    ledger,
    replace_file,
    table_rows,
    write_audio,
    write_files,
)

MB = 2**20


def source(name, size=1, first=None):
    return Source(name, name, size * MB, first or name)


def groups(sources, affected=(), **options):
    chosen = choose_groups(sources, affected, **options)
    return [[each.path for each in group] for group in chosen]


def test_files_that_lose_clips_are_rewritten_alone():
    assert groups([source("a"), source("b"), source("c", 200)], {"b", "c"}) == [["b"], ["c"]]
    assert groups([source("a"), source("b")]) == []


def test_too_many_small_files_are_merged_with_their_neighbours():
    many = [source(f"{number:02d}", 20) for number in range(25)]
    # 256 MB hold 12 of 20 MB; neighbours by their first clip, whatever order they come in
    expected = [
        [f"{number:02d}" for number in range(12)],
        [f"{number:02d}" for number in range(12, 24)],
    ]
    shuffled = random.Random(0).sample(many, len(many))
    assert groups(shuffled) == expected  # the last one is alone, and stays
    assert groups(many[:24]) == []
    assert groups(many, {"24", "03"}) == [*expected, ["24"]]


def test_files_of_half_the_target_are_not_small():
    large = [source(f"{number:02d}", 128) for number in range(30)]
    assert groups(large) == []
    assert groups([*large, source("x"), source("y", 100)]) == []
    assert groups([*large, source("x"), source("y", 100)], all_small=True) == [["x", "y"]]


def test_tiny_files_are_merged_with_tiny_ones():
    """So that a night's few rows do not make it write a hundred MB again."""
    tiny = [source(f"t{number:02d}", 15) for number in range(25)]
    small = [source(f"s{number:02d}", 16) for number in range(24)]
    assert groups([*tiny, *small]) == [
        [f"t{number:02d}" for number in range(17)],
        [f"t{number:02d}" for number in range(17, 25)],
    ]
    assert groups([*tiny[1:], *small]) == []


def test_one_merge_opens_not_too_many_files():
    tiny = [source(f"{number:03d}") for number in range(150)]
    assert [len(group) for group in groups(tiny)] == [64, 64, 22]


@pytest.fixture
def ready(tmp_path, monkeypatch):
    """A run whose shards are done and that replaces clips of two files."""
    monkeypatch.setattr(planning, "SHARDS_WANTED", 2)
    corpus, table = write_files(tmp_path / "corpus", 6), tmp_path / "table"
    PlainRun(corpus, table, "run-1").all()
    replace_file(corpus / "001.wav", 1.5, seed=50)
    replace_file(corpus / "004.wav", 1.5, seed=51)
    return PlainRun(corpus, table, "run-2").make_plan().embed(), corpus, table


def test_a_rewrite_that_is_done_is_left_as_it_is(ready):
    run, corpus, table = ready
    names = plan_rewrites(run.paths, "run-2")
    assert names == ["000000", "000001"]
    manifest = rewrite_files(run.paths, "run-2", names[0])
    (file,) = manifest["files"]
    assert (file["rows"], file["clips"], file["first_clip"]) == (10, 2, "000.wav")
    assert rewrite_files(run.paths, "run-2", names[0]) == manifest
    assert plan_rewrites(run.paths, "run-2") == names  # a runner may try that step again, too
    assert len(list((table / "_l3flow/staging/run-2/rewritten").glob("*.parquet"))) == 1
    run.commit()
    assert table_rows(table) == expected_rows(corpus)
    assert plan_rewrites(run.paths, "run-2") == []
    assert rewrite_files(run.paths, "run-2", names[0])["files"] == []
    assert run.record["bytes_rewritten"] > 0


def test_two_tries_at_once_leave_one_file(ready, monkeypatch):
    run, corpus, table = ready
    names = plan_rewrites(run.paths, "run-2")
    create = storage.create

    def slow(uri, content):
        monkeypatch.setattr(storage, "create", create)
        rewrite_files(run.paths, "run-2", names[0])
        return create(uri, content)

    monkeypatch.setattr(storage, "create", slow)
    rewrite_files(run.paths, "run-2", names[0])
    assert len(list((table / "_l3flow/staging/run-2/rewritten").glob("*.parquet"))) == 1
    run.commit()
    assert table_rows(table) == expected_rows(corpus)


def test_a_commit_without_its_rewrites_is_refused(ready):
    run, _, _ = ready
    plan_rewrites(run.paths, "run-2")
    with pytest.raises(RunError, match="rewrite 000000 was not finished"):
        commit_run(run.paths, "run-2", info={})


def test_a_ledger_that_promises_other_windows_is_never_committed(ready):
    """Whatever went wrong: here a file whose rewrite was forgotten."""
    run, _, table = ready
    name, *others = plan_rewrites(run.paths, "run-2")
    for other in others:
        rewrite_files(run.paths, "run-2", other)
    (table / f"_l3flow/staging/run-2/rewrites/{name}.json").unlink()
    with pytest.raises(RunError, match="would promise 34 windows, and the files hold 39"):
        commit_run(run.paths, "run-2", info={})


def test_a_rewrite_that_loses_rows_is_refused(ready, monkeypatch):
    run, _, _ = ready
    (name, *_) = plan_rewrites(run.paths, "run-2")
    merge = module.merge_windows

    def lossy(sources, target, **options):
        end_of = options.pop("end_of")
        ends = {"002.wav": 0}
        return merge(sources, target, end_of=lambda n, clip: ends.get(clip, end_of(n, clip)), **options)

    monkeypatch.setattr(module, "merge_windows", lossy)
    with pytest.raises(RunError, match="gave 5 rows instead of 10"):
        rewrite_files(run.paths, "run-2", name)


def test_thirty_nights(tmp_path, monkeypatch):
    """New, replaced and removed files every night: few files stay, sorted, and hold the corpus."""
    monkeypatch.setattr(module, "MOST_SMALL", 8)
    corpus, table = write_files(tmp_path / "corpus", 10, 0.3), tmp_path / "table"
    names = [path.name for path in sorted(corpus.iterdir())]
    chance = random.Random(1)
    counts = []
    for night in range(30):
        run = PlainRun(corpus, table, f"run-{night:02d}", prune=True).all()
        counts.append(len(load_state(run.paths).windows(run.plan.fingerprint)))
        assert_sorted(table)
        for number in range(2):
            names.append(write_audio(corpus / f"{night:02d}-{number}.wav", 0.3, seed=night).name)
        replace_file(corpus / chance.choice(names), 0.5, seed=100 + night)
        if len(names) > 25:  # so that one is less than a tenth
            (corpus / names.pop(chance.randrange(len(names)))).unlink()
    PlainRun(corpus, table, "last", prune=True).all()
    assert table_rows(table) == expected_rows(corpus)
    # up to MOST_SMALL may stay, and the next night adds four at most before they are merged
    assert max(counts) <= 12
    assert max(counts[20:]) <= max(counts[5:15]) + 1
    state = load_state(run.paths)
    for clip_id, row in ledger(table).items():
        assert set(row["files"]) <= set(state.files), clip_id
        assert all(
            clip_id in pq.read_table(table / file)["clip_id"].to_pylist() for file in row["files"]
        )
    assert len(list((table / "_l3flow/index").iterdir())) == 1


def assert_sorted(table):
    for path in table.glob("windows/*/*.parquet"):
        rows = pq.ParquetFile(path).read(["clip_id", "window"]).to_pylist()
        keys = [(row["clip_id"], row["window"]) for row in rows]
        assert keys == sorted(keys)


def test_a_task_names_what_it_reads(ready):
    run, _, table = ready
    plan_rewrites(run.paths, "run-2")
    task = json.loads((table / "_l3flow/staging/run-2/rewrites/000000.json").read_text())
    ((path, at),) = task["sources"]
    assert path == at
    assert (table / path).exists()
