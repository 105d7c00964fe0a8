"""Compaction, other roots and dropped specs: what must change does, and nothing else."""

import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from l3core import storage
from l3core.errors import BusyError, RunError, TableError, UsageError
from l3core.spec import EmbeddingSpec
from l3core.table import read
from l3core.table import rewrite as rewriting
from l3core.table.layout import TablePaths
from l3core.table.lock import holding, owners
from l3core.table.maintenance import compact, drop_spec, reroot
from l3core.table.read import read_windows
from l3core.table.state import existing_state, load_state
from tests.corpus import (
    SPEC,
    PlainRun,
    expected_rows,
    ledger,
    snapshot,
    staged_runs,
    table_rows,
    write_audio,
    write_files,
)

OTHER = EmbeddingSpec(model="fake", engine="fake", weights="random:0", hop_s=0.5)
OTHER_WEIGHTS = EmbeddingSpec(model="fake", engine="fake", weights="random:1")


@pytest.fixture
def corpus(tmp_path):
    return write_files(tmp_path / "data/corpus", 4)


@pytest.fixture
def table(tmp_path):
    return tmp_path / "table"


@pytest.fixture
def paths(table):
    return TablePaths(str(table))


def run(corpus, table, run_id, spec=SPEC):
    """Embed what is new; the fingerprint."""
    return PlainRun(corpus, table, run_id, spec=spec).all().plan.fingerprint


@pytest.fixture
def spec(corpus, table):
    """Of a table of three runs: 000 to 003, then 010 and 011, then one that belongs among the first."""
    run(corpus, table, "run-1")
    write_files(corpus, 2, first=10)
    run(corpus, table, "run-2")
    write_audio(corpus / "001-b.wav", 0.5, seed=20)
    return run(corpus, table, "run-3")


def windows_files(table, spec):
    """What is in each windows file: path below the table -> (clip id, window) of its rows."""
    found = sorted(Path(table).glob(f"windows/spec={spec}/*.parquet"))
    columns = [pq.read_table(path, columns=["clip_id", "window"]).to_pylist() for path in found]
    return {
        path.relative_to(table).as_posix(): [tuple(row.values()) for row in rows]
        for path, rows in zip(found, columns)
    }


def assert_ledger_is_right(table, spec):
    """Each row names exactly the files that hold the clip's windows; each file is sorted."""
    files = windows_files(table, spec)
    assert all(rows == sorted(rows) for rows in files.values())
    for clip_id, row in ledger(table, spec).items():
        here = [path for path, rows in files.items() if clip_id in {name for name, _ in rows}]
        assert sorted(row["files"]) == here, clip_id


def part(table, spec):
    """What a plain reader sees of one spec, byte for byte."""
    return {path: digest for path, digest in snapshot(table).items() if spec in path}


def test_many_small_files_become_one_with_the_same_rows(corpus, table, paths, spec):
    before = ledger(table)
    assert len(windows_files(table, spec)) == 7  # so few clips have a shard each
    seen = []
    record = compact(paths, spec, "run-4", lambda *steps: seen.append(steps))
    (name,) = windows_files(table, spec)
    assert table_rows(table) == expected_rows(corpus)
    assert_ledger_is_right(table, spec)
    assert ledger(table) == {clip_id: row | {"files": [name]} for clip_id, row in before.items()}
    assert (record["command"], record["commit"], seen) == ("compact", 4, [(1, 1)])
    assert len(record["files_removed"]) == 8  # and the ledger
    assert (staged_runs(table), owners(paths)) == ([], {})
    assert PlainRun(corpus, table, "run-5").make_plan().plan.empty


def test_files_reach_the_target_and_not_more(corpus, table, paths, spec, monkeypatch):
    # a target of ten windows of 32 bytes; 001-b has 3, all others have 5. "-" sorts before ".", so that
    # neighbours are 5 + 3, 5 + 5, 5 + 5, and the last one has none
    monkeypatch.setattr(rewriting, "SHARD_BYTES", 10 * 32)
    compact(paths, spec, "run-4")
    files = windows_files(table, spec)
    clips = [sorted({clip_id for clip_id, _ in rows}) for rows in sorted(files.values())]
    assert clips == [
        ["000.wav", "001-b.wav"],
        ["001.wav", "002.wav"],
        ["003.wav", "010.wav"],
        ["011.wav"],
    ]
    assert any("/run-2-" in path for path in files)  # the last one is as it was
    assert table_rows(table) == expected_rows(corpus)
    assert_ledger_is_right(table, spec)


def test_files_of_half_the_target_are_left_alone(corpus, table, paths, spec, monkeypatch):
    # a clip of 5 windows has 160 bytes of vectors, one of 3 windows 96: only those are small
    monkeypatch.setattr(rewriting, "SMALL_BYTES", 160)
    before = snapshot(table)
    assert compact(paths, spec, "run-4") is None  # there is only one
    assert snapshot(table) == before
    assert staged_runs(table) == []
    write_audio(corpus / "005.wav", 0.5, seed=21)
    run(corpus, table, "run-5")
    before = windows_files(table, spec)
    compact(paths, spec, "run-6")
    after = windows_files(table, spec)
    assert {path for path, rows in before.items() if len(rows) == 5} < after.keys()
    (merged,) = after.keys() - before.keys()
    assert sorted({clip_id for clip_id, _ in after[merged]}) == ["001-b.wav", "005.wav"]
    assert table_rows(table) == expected_rows(corpus)
    assert_ledger_is_right(table, spec)


def test_what_was_merged_is_not_merged_again_however_small_it_is_packed(
    table, paths, tmp_path, monkeypatch
):
    """Silence packs to a hundredth; files are cut by what is in them, and so are told to be small."""
    (tmp_path / "quiet").mkdir()
    for number in range(4):
        soundfile.write(tmp_path / f"quiet/{number}.wav", np.zeros(60 * 4_000, np.float32), 4_000)
    # 241 windows (1 + ceil((240000 + 500 - 1000) / 1000)) of 32 bytes: every file is of the target size
    monkeypatch.setattr(rewriting, "SHARD_BYTES", 241 * 32)
    monkeypatch.setattr(rewriting, "SMALL_BYTES", 241 * 16)
    spec = run(tmp_path / "quiet", table, "run-1")
    facts = [load_state(paths).files[path] for path in windows_files(table, spec)]
    assert [file["rows"] for file in facts] == [241] * 4
    assert all(file["bytes"] < 241 * 16 for file in facts)
    assert compact(paths, spec, "run-2") is None


def test_other_specs_are_untouched_by_compaction(corpus, table, paths, spec):
    other = run(corpus, table, "run-4", OTHER)
    before = part(table, other)
    compact(paths, spec, "run-5")
    assert part(table, other) == before
    assert len(windows_files(table, spec)) == 1


def test_compaction_waits_for_nobody(table, paths, spec):
    before = snapshot(table)
    with holding(paths, spec, "run-9"):
        with pytest.raises(BusyError, match="run run-9 "):
            compact(paths, spec, "run-4")
        assert owners(paths) == {spec: "run-9"}
    assert snapshot(table) == before


def test_who_began_to_read_before_a_compaction_reads_on(corpus, table, paths, spec, monkeypatch):
    states = [existing_state(paths)]  # what the reader found, before all its files were removed
    compact(paths, spec, "run-4")
    monkeypatch.setattr(
        read, "existing_state", lambda paths: states.pop() if states else existing_state(paths)
    )
    assert read_rows(table) == expected_rows(corpus)
    assert states == []


def test_readers_see_the_same_while_files_are_merged(corpus, table, paths, spec, monkeypatch):
    write_files(corpus, 20, first=20)
    run(corpus, table, "run-4")
    expected = expected_rows(corpus)
    monkeypatch.setattr(rewriting, "MOST_MERGED", 2)  # one at the end after many commits
    seen, stop = [], threading.Event()

    def look():
        while not stop.is_set():
            seen.append(read_rows(table) == expected)

    reader = threading.Thread(target=look)
    reader.start()
    try:
        commits = iter(range(5, 100))
        while compact(paths, spec, f"run-{next(commits)}"):
            pass
    finally:
        stop.set()
        reader.join()
    assert load_state(paths).commits > 8
    assert len(windows_files(table, spec)) == 1
    assert len(seen) > 3
    assert all(seen)


def read_rows(table, spec=None):
    """What `read_windows` gives, as `expected_rows` does."""
    metadata, vectors = read_windows(table, spec)
    return [(*row.values(), vector.tobytes()) for row, vector in zip(metadata.to_pylist(), vectors)]


def test_a_root_further_up_makes_ids_longer(corpus, table, paths):
    spec = run(corpus, table, "run-1")
    before = ledger(table)
    record = reroot(paths, str(corpus.parent), "run-2")
    assert record["root"] == load_state(paths).root == str(corpus.parent)
    assert storage.read_bytes(paths.table).decode().count(f'"{corpus.parent}"') == 1
    assert table_rows(table) == expected_rows(corpus, root=corpus.parent)
    assert_ledger_is_right(table, spec)
    assert {row["uri"]: row["version"] for row in ledger(table).values()} == {
        row["uri"]: row["version"] for row in before.values()
    }
    assert list(ledger(table)) == [f"corpus/{clip_id}" for clip_id in before]
    assert (staged_runs(table), owners(paths)) == ([], {})
    assert PlainRun(corpus, table, "run-3").make_plan().plan.empty
    write_audio(corpus / "new.wav", seed=30)
    run(corpus, table, "run-4")
    assert table_rows(table) == expected_rows(corpus, root=corpus.parent)


def test_a_root_further_down_makes_ids_shorter(corpus, table, paths):
    spec = run(corpus.parent, table, "run-1")
    assert table_rows(table) == expected_rows(corpus, root=corpus.parent)
    reroot(paths, str(corpus), "run-2")
    assert table_rows(table) == expected_rows(corpus)
    assert_ledger_is_right(table, spec)
    assert ledger(table)["000.wav"]["uri"] == f"{corpus}/000.wav"
    assert PlainRun(corpus, table, "run-3").make_plan().plan.empty


def test_up_and_down_again_is_where_it_was(corpus, table, paths):
    run(corpus, table, "run-1")
    before = (
        table_rows(table),
        {clip_id: row | {"files": None} for clip_id, row in ledger(table).items()},
    )
    reroot(paths, "/", "run-2")
    assert ledger(table).keys() == {f"{corpus}/{n:03d}.wav".lstrip("/") for n in range(4)}
    reroot(paths, str(corpus), "run-3")
    after = table_rows(table), {clip_id: row | {"files": None} for clip_id, row in ledger(table).items()}
    assert after == before


@pytest.mark.parametrize("name", ["corpus-2", "corp"])  # begin as the old root does, or it as they
def test_a_corpus_that_was_copied_elsewhere_keeps_its_ids(corpus, table, paths, name):
    spec = run(corpus, table, "run-1")
    before = windows_files(table, spec)
    there = corpus.parent / name
    shutil.copytree(corpus, there)
    shutil.rmtree(corpus)
    reroot(paths, str(there), "run-2")
    assert windows_files(table, spec) == before
    assert {row["uri"] for row in ledger(table).values()} == {str(path) for path in there.iterdir()}
    assert_ledger_is_right(table, spec)
    assert PlainRun(there, table, "run-3").make_plan().plan.empty


def test_files_that_were_moved_up_keep_their_ids(corpus, table, paths):
    run(corpus, table, "run-1")
    for path in corpus.iterdir():
        path.rename(corpus.parent / path.name)
    corpus.rmdir()
    reroot(paths, str(corpus.parent), "run-2", moved=True)
    assert table_rows(table) == expected_rows(corpus.parent)
    assert PlainRun(corpus.parent, table, "run-3").make_plan().plan.empty


def test_the_same_root_changes_nothing(corpus, table, paths):
    run(corpus, table, "run-1")
    before = snapshot(table)
    assert reroot(paths, str(corpus), "run-2") is None
    assert snapshot(table) == before


def test_a_root_that_leaves_out_a_clip_is_refused(corpus, table, paths):
    write_audio(corpus.parent / "corpus-2/x.wav")
    run(corpus.parent, table, "run-1")
    before = snapshot(table)
    with pytest.raises(UsageError, match=rf"--root {corpus}: {corpus}-2/x.wav .* not below"):
        reroot(paths, str(corpus), "run-2")
    assert snapshot(table) == before
    assert (staged_runs(table), owners(paths)) == ([], {})


def test_all_specs_get_the_new_root_at_once(corpus, table, paths):
    specs = [run(corpus, table, f"run-{number}", spec) for number, spec in enumerate((SPEC, OTHER))]
    record = reroot(paths, str(corpus.parent), "run-2")
    assert sorted(record["fingerprints"]) == sorted(specs)
    for fingerprint, spec in zip(specs, (SPEC, OTHER)):
        assert table_rows(table, fingerprint) == expected_rows(corpus, spec, root=corpus.parent)
        assert_ledger_is_right(table, fingerprint)
        assert PlainRun(corpus, table, "run-3", spec=spec).make_plan().plan.empty


def test_a_spec_that_comes_meanwhile_is_not_left_behind(corpus, table, paths):
    spec = run(corpus, table, "run-1")

    def meanwhile(done, total):
        if done == 1:
            run(corpus, table, "run-2", OTHER)

    with pytest.raises(RunError, match="another run changed the table meanwhile"):
        reroot(paths, str(corpus.parent), "run-3", report=meanwhile)
    assert load_state(paths).root == str(corpus)
    assert table_rows(table, spec) == expected_rows(corpus)
    reroot(paths, str(corpus.parent), "run-4")
    assert table_rows(table, spec) == expected_rows(corpus, root=corpus.parent)
    assert {clip_id[:7] for clip_id, *_ in table_rows(table)} == {"corpus/"}
    run(corpus, table, "run-5")
    assert staged_runs(table) == []  # what the refused one left


def test_a_run_that_was_planned_below_the_old_root_cannot_commit(corpus, table, paths):
    run(corpus, table, "run-1")
    planned = PlainRun(corpus, table, "run-2", spec=OTHER).make_plan().embed()  # the reroot's locks
    reroot(paths, str(corpus.parent), "run-3")  # do not know this spec
    with pytest.raises(RunError, match="changed"):
        planned.commit()
    assert table_rows(table) == expected_rows(corpus, root=corpus.parent)


def test_shards_from_before_are_not_taken_over(corpus, table, paths):
    run(corpus, table, "run-1")
    PlainRun(corpus, table, "run-2", spec=OTHER).make_plan().embed(shards=2)
    reroot(paths, str(corpus.parent), "run-3")
    late = PlainRun(corpus, table, "run-4", spec=OTHER).make_plan()
    assert [shard.adopted for shard in late.plan.shards] == [False] * 4
    late.embed().commit()
    expected = expected_rows(corpus, OTHER, root=corpus.parent)
    assert table_rows(table, late.plan.fingerprint) == expected
    assert staged_runs(table) == []


@pytest.fixture
def three(corpus, table, paths):
    """Fingerprints of three specs; the first two have the same weights. Each has a copy of its own."""
    found = []
    for number, spec in enumerate((SPEC, OTHER, OTHER_WEIGHTS)):
        done = PlainRun(corpus, table, f"run-{number}", spec=spec).all()
        storage.write_bytes(paths.weights(done.embedder.weights.digest), b"weights")
        found.append(done.plan.fingerprint)
    return found


def weights_files(table):
    return len(os.listdir(table / "_l3flow/weights"))


def test_a_dropped_spec_is_gone_and_the_others_are_as_they_were(corpus, table, paths, three):
    first, second, third = three
    before = {name: (part(table, name), read_rows(table, name)) for name in (second, third)}
    size = len(load_state(paths).files)
    record = drop_spec(paths, first, "run-3")
    assert (record["command"], record["commit"]) == ("specs drop", 4)
    assert len(record["files_removed"]) == 5  # four shards and the ledger
    assert len(load_state(paths).files) == size - 5
    assert part(table, first) == {}
    assert {name: (part(table, name), read_rows(table, name)) for name in before} == before
    assert weights_files(table) == 2  # the second one's are the same
    assert owners(paths) == {}


def test_weights_go_with_the_last_spec_that_has_them(table, paths, three):
    first, second, third = three
    drop_spec(paths, third, "run-3")
    assert weights_files(table) == 1
    drop_spec(paths, first, "run-4")
    assert weights_files(table) == 1
    drop_spec(paths, second, "run-5")
    assert weights_files(table) == 0
    assert existing_state(paths).fingerprints == []


def test_a_dropped_spec_can_be_embedded_again(corpus, table, paths, three):
    first, *_ = three
    drop_spec(paths, first, "run-3")
    run(corpus, table, "run-4")
    assert table_rows(table, first) == expected_rows(corpus)
    assert storage.exists(paths.spec(first))
    assert {row["run_id"] for row in ledger(table, first).values()} == {"run-4"}


def test_nothing_is_dropped_while_a_run_is_open(table, paths, three):
    """Of whatever spec, also of one that is not in the table yet: it may need the weights."""
    before = snapshot(table)
    for busy in (*three, "snew"):
        with holding(paths, busy, "run-9"), pytest.raises(BusyError, match="run run-9 "):
            drop_spec(paths, three[0], "run-3")
    assert snapshot(table) == before
    assert weights_files(table) == 2


def test_a_spec_is_dropped_once(table, paths, three):
    drop_spec(paths, three[0], "run-3")
    with pytest.raises(TableError, match=f"{three[0]} is not in"):
        drop_spec(paths, three[0], "run-4")


def test_a_run_that_slept_through_a_drop_cannot_commit(corpus, table, paths, three, tmp_path):
    write_audio(corpus / "new.wav", seed=40)
    asleep = PlainRun(corpus, table, "run-3").make_plan().embed()
    shutil.copytree(paths.staging("run-3"), tmp_path / "kept")
    drop_spec(paths, three[0], "run-4")
    assert staged_runs(table) == []  # nobody else could take its shards over
    (tmp_path / "kept").rename(paths.staging("run-3"))
    with pytest.raises(RunError, match="changed"):
        asleep.commit()
    assert part(table, three[0]) == {}


def test_a_missing_spec_file_is_told_as_such(table, paths, three):
    storage.remove(paths.spec(three[1]))
    with pytest.raises(TableError, match=rf"{three[1]}.json is missing: l3flow repair"):
        drop_spec(paths, three[0], "run-3")
    assert part(table, three[0]) != {}
