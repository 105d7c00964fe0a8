"""Adoption: finished shards of dead runs are used where all of their work is still wanted."""

import json
import os
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l3core import storage
from l3core.spec import EmbeddingSpec
from l3core.table import pieces as cutting
from l3core.table import plan as planning
from l3core.table.adopt import (
    claim_staging,
    dead_runs,
    finished_shards,
    whole_shards,
    with_shards,
)
from l3core.table.layout import TablePaths
from tests.corpus import (
    SPEC,
    PlainRun,
    expected_rows,
    ledger,
    replace_file,
    staged_runs,
    table_rows,
    write_audio,
    write_files,
)

OTHER = EmbeddingSpec(model="fake", engine="fake", weights="random:0", hop_s=0.5)


@pytest.fixture
def corpus(tmp_path):
    return write_files(tmp_path / "corpus", 6)


@pytest.fixture
def table(tmp_path):
    return tmp_path / "table"


def run_ids(table):
    return {clip_id: row["run_id"] for clip_id, row in ledger(table).items()}


def test_finished_shards_are_taken_over(corpus, table):
    PlainRun(corpus, table, "run-1").make_plan().embed(shards=4)
    run = PlainRun(corpus, table, "run-2").make_plan()
    # six shards of one file each; longest first, all are as long, so the first four are done
    assert [shard.adopted for shard in run.plan.shards] == [True] * 4 + [False] * 2
    assert [shard.first_clip for shard in run.plan.shards] == [f"{n:03d}.wav" for n in range(6)]
    assert [shard.estimate for shard in run.plan.shards if shard.adopted] == [0] * 4
    run.embed().commit()
    assert table_rows(table) == expected_rows(corpus)
    assert list(run_ids(table).values()) == ["run-1"] * 4 + ["run-2"] * 2
    assert staged_runs(table) == []


def test_parquet_files_are_moved_as_they_are(corpus, table):
    PlainRun(corpus, table, "run-1").make_plan().embed()
    (first, *_) = sorted((table / "_l3flow/staging/run-1/done").glob("*.parquet"))
    inode = first.stat().st_ino
    PlainRun(corpus, table, "run-2").make_plan().commit()  # nothing is left to embed
    (fingerprint,) = os.listdir(table / "windows")
    shard = first.name.removeprefix("run-1-")[:6]
    assert (table / f"windows/{fingerprint}/run-1-{shard}.parquet").stat().st_ino == inode


def test_a_run_that_adopted_may_die_too(corpus, table):
    PlainRun(corpus, table, "run-1").make_plan().embed(shards=2)
    PlainRun(corpus, table, "run-2").make_plan().embed(shards=2)
    PlainRun(corpus, table, "run-3").all()
    assert table_rows(table) == expected_rows(corpus)
    assert list(run_ids(table).values()) == ["run-1"] * 2 + ["run-2"] * 2 + ["run-3"] * 2


def test_a_run_that_dies_while_it_plans_loses_nothing(corpus, table):
    PlainRun(corpus, table, "run-1").make_plan().embed(shards=4)
    (table / "_l3flow/staging/run-2").mkdir()
    (table / "_l3flow/staging/run-2/shards").touch()  # no folder: writing the shards fails
    with pytest.raises(OSError, match="shards"):
        PlainRun(corpus, table, "run-2").make_plan()
    PlainRun(corpus, table, "run-3").all()
    assert table_rows(table) == expected_rows(corpus)
    assert list(run_ids(table).values()) == ["run-1"] * 4 + ["run-3"] * 2
    assert staged_runs(table) == []


def test_shards_of_another_corpus_are_not_adopted(tmp_path, table):
    """Same names, sizes and times below another root, as two unpacked archives have them."""
    corpora = [write_files(tmp_path / name, 6, first=first) for name, first in (("a", 0), ("b", 6))]
    for number, path in enumerate(sorted(corpora[1].iterdir())):
        path.rename(corpora[1] / f"{number:03d}.wav")
    for path in [*corpora[0].iterdir(), *corpora[1].iterdir()]:
        os.utime(path, ns=(10**18, 10**18))
    PlainRun(corpora[0], table, "run-1").make_plan().embed(shards=4)
    PlainRun(corpora[1], table, "run-2").all()
    assert table_rows(table) == expected_rows(corpora[1])
    assert set(run_ids(table).values()) == {"run-2"}


def test_changed_files_are_computed_again(corpus, table):
    PlainRun(corpus, table, "run-1").make_plan().embed()
    replace_file(corpus / "001.wav", 2.0, seed=50)
    (corpus / "002.wav").unlink()
    write_audio(corpus / "new.wav", seed=51)
    PlainRun(corpus, table, "run-2").all()
    assert table_rows(table) == expected_rows(corpus)
    assert {clip_id for clip_id, run_id in run_ids(table).items() if run_id == "run-2"} == {
        "001.wav",
        "new.wav",
    }


def test_a_shard_of_which_only_a_part_is_wanted_is_not_adopted(corpus, table, monkeypatch):
    monkeypatch.setattr(planning, "SHARDS_WANTED", 2)  # three files each
    PlainRun(corpus, table, "run-1").make_plan().embed()
    replace_file(corpus / "001.wav", 2.0, seed=50)
    PlainRun(corpus, table, "run-2").all()
    assert table_rows(table) == expected_rows(corpus)
    assert list(run_ids(table).values()) == ["run-2"] * 3 + ["run-1"] * 3


def test_two_dead_runs_with_the_same_work_give_it_once(corpus, table, tmp_path):
    PlainRun(corpus, table, "run-1").make_plan().embed(shards=3)
    (table / "_l3flow/staging/run-1").rename(tmp_path / "aside")
    PlainRun(corpus, table, "run-2").make_plan().embed(shards=5)
    (tmp_path / "aside").rename(table / "_l3flow/staging/run-1")
    PlainRun(corpus, table, "run-3").all()
    assert table_rows(table) == expected_rows(corpus)
    assert list(run_ids(table).values()) == ["run-1"] * 3 + ["run-2"] * 2 + ["run-3"]
    assert staged_runs(table) == []


def test_shards_of_another_spec_are_left_alone(corpus, table):
    PlainRun(corpus, table, "run-1", spec=OTHER).make_plan().embed()
    run = PlainRun(corpus, table, "run-2").all()
    assert set(run_ids(table).values()) == {"run-2"}
    assert staged_runs(table) == ["run-1"]  # its owner may be alive, or adopt it
    assert dead_runs(run.paths, "run-2", SPEC.fingerprint(run.embedder.weights.digest)) == []
    PlainRun(corpus, table, "run-3", spec=OTHER).all()
    assert staged_runs(table) == []
    other = run.paths.at("clips/spec=" + OTHER.fingerprint(run.embedder.weights.digest))
    assert os.listdir(other) == ["run-3.parquet"]


def test_transient_trouble_is_tried_again(corpus, table):
    run = PlainRun(corpus, table, "run-1").make_plan()
    away = (corpus / "003.wav").rename(corpus / "003.away")
    run.embed()
    statuses = [
        clip["status"]
        for path in (table / "_l3flow/staging/run-1/done").glob("*.json")
        for clip in json.loads(path.read_text())["clips"]
    ]
    assert sorted(statuses) == ["ok"] * 5 + ["vanished"]
    away.rename(corpus / "003.wav")
    PlainRun(corpus, table, "run-2").all()
    (corpus / "003.away").unlink(missing_ok=True)
    assert table_rows(table) == expected_rows(corpus)
    assert [c for c, run_id in run_ids(table).items() if run_id == "run-2"] == ["003.wav"]


@pytest.mark.parametrize(("before", "after"), [(4, 1_000), (1_000, 4), (4, 8)])
def test_a_recording_that_is_cut_otherwise_now(tmp_path, table, monkeypatch, before, after):
    """Shards were of `before` windows and are of `after`: a piece may begin as another one did."""
    corpus = tmp_path / "long"
    write_audio(corpus / "long.wav", 8.0)  # 33 windows
    monkeypatch.setattr(cutting, "PROBE_BYTES", 0)
    monkeypatch.setattr(cutting, "SHARD_BYTES", 4 * 8 * before)
    PlainRun(corpus, table, "run-1").make_plan().embed(shards=3)
    monkeypatch.setattr(cutting, "SHARD_BYTES", 4 * 8 * after)
    PlainRun(corpus, table, "run-2").all()
    assert table_rows(table) == expected_rows(corpus)
    row = ledger(table)["long.wav"]
    assert row["windows_expected"] == row["windows_written"] == 33


def test_a_run_that_was_committed_is_no_source(corpus, table, tmp_path):
    """Killed after publishing and before it cleared up: its manifests are there, its files are not."""
    run = PlainRun(corpus, table, "run-1").make_plan().embed()
    staging = table / "_l3flow/staging/run-1"
    kept = tmp_path / "kept"
    shutil.copytree(staging, kept)
    run.commit()
    kept.rename(staging)
    for parquet in (staging / "done").glob("*.parquet"):
        parquet.unlink()
    PlainRun(corpus, table, "run-2", full=True).all()
    assert table_rows(table) == expected_rows(corpus)
    assert staged_runs(table) == []


def test_what_shall_be_tried_again_is_not_taken_over(corpus, table):
    """Of a run that died long ago, perhaps with a decoder that could less."""
    (corpus / "001.wav").write_text("no audio")
    PlainRun(corpus, table, "run-1").make_plan().embed(shards=4)
    again = PlainRun(corpus, table, "run-2", retry_unreadable=True).make_plan()
    assert [shard.first_clip for shard in again.plan.shards if shard.adopted] == [
        "000.wav",
        "002.wav",
        "003.wav",
    ]
    plain = PlainRun(corpus, table, "run-3").make_plan()
    assert sum(shard.adopted for shard in plain.plan.shards) == 4


def test_what_was_forbidden_is_tried_again(corpus, table):
    """It may be allowed by now: permissions change without a trace."""
    run = PlainRun(corpus, table, "run-1").make_plan().embed(shards=4)
    (first, *_) = sorted((table / "_l3flow/staging/run-1/done").glob("*.json"))
    manifest = json.loads(first.read_text())
    manifest["clips"][0]["status"] = "forbidden"
    first.write_text(json.dumps(manifest))
    assert len(finished_shards(run.paths, str(corpus), ["run-1"])) == 3


def test_shards_of_a_committed_run_are_only_removed(corpus, table, monkeypatch):
    """It committed, and its folder could not be cleared away: they are in the table."""
    run = PlainRun(corpus, table, "run-1").make_plan().embed()
    with monkeypatch.context() as patch:
        patch.setattr("l3core.table.commit.remove_staging", lambda *_: None)
        shutil.copytree(table / "_l3flow/staging/run-1", table.with_name("kept"))
        run.commit()
    shutil.rmtree(table / "_l3flow/staging/run-1")
    shutil.copytree(table.with_name("kept"), table / "_l3flow/staging/run-1")
    again = PlainRun(corpus, table, "run-2", full=True).make_plan()
    assert not any(shard.adopted for shard in again.plan.shards)
    again.embed().commit()
    assert staged_runs(table) == []
    assert table_rows(table) == expected_rows(corpus)


SHARD = st.lists(st.integers(0, 12), unique=True, min_size=1, max_size=5)


@settings(max_examples=60, deadline=None)
@given(
    clips=st.lists(st.integers(0, 12), unique=True, max_size=12),
    runs=st.lists(
        st.lists(st.lists(st.integers(0, 12), unique=True, min_size=1, max_size=5), max_size=4),
        max_size=3,
    ),
)
def test_whole_shards_are_found_as_streams(tmp_path_factory, clips, runs):
    """Against the plain way: sets of everything."""
    paths = TablePaths(str(tmp_path_factory.mktemp("table")))

    def key(number):
        return (f"/c/{number:02d}", 1, "v", 0, None)

    shards = {}
    for run, contents in enumerate(runs):
        claim_staging(paths, f"run-{run}", "s1", "/c")
        for number, content in enumerate(contents):
            done = {
                "pieces": [key(clip) for clip in sorted(content)],
                "clips": [{"clip_id": f"{clip:02d}", "status": "ok"} for clip in sorted(content)],
                "staged": "x.parquet",
                "file": None,
            }
            storage.write_bytes(
                f"{paths.staging(f'run-{run}')}/done/{number}.json", json.dumps(done).encode()
            )
            shards[f"run-{run}", f"{number}.json"] = sorted(content)
    found = finished_shards(paths, "/c", [f"run-{run}" for run in range(len(runs))])
    assert {(shard.run_id, shard.manifest) for shard in found} == shards.keys()
    assert finished_shards(paths, "/elsewhere", ["run-0", "run-1"]) == []
    wanted = sorted(clips)
    whole = whole_shards(paths, found, wanted, key)
    rest = [clip for clip, shard in with_shards(paths, whole, wanted, key) if shard is None]
    done = [clip for shard in whole for clip in shards[shard.run_id, shard.manifest]]
    assert sorted(done + rest) == wanted  # each once
    for shard in found:  # what nobody else has done is taken if all of it is wanted
        own = set(shards[shard.run_id, shard.manifest])
        others = [
            set(content) for name, content in shards.items() if name != (shard.run_id, shard.manifest)
        ]
        if own <= set(wanted) and not any(own & other for other in others):
            assert shard in whole
