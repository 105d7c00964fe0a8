"""The pipeline of `avc sample`: names in, one commit out, and what is done already is left alone."""

import apache_beam as beam
import pytest
from apache_beam.testing import test_pipeline
from apache_beam.testing.util import assert_that, equal_to

from l3core.avc.corpus import load_corpus, open_corpus
from l3core.avc.layout import LOCK, CorpusPaths
from l3core.avc.ledger import read_ledger
from l3core.avc.plan import write_plan
from l3core.avc.shard import finished_names
from l3core.avc.video import VideoLimits
from l3core.table.lock import holding
from pipelines.avc import CommitPairs, SampleJob, SampleShards, run_local
from tests.pair_corpus import PlainRun, pairs_in, write_videos


@pytest.fixture
def planned(tmp_path, monkeypatch):
    """Five small videos and a text in two shards, and their plan in its place."""
    monkeypatch.setattr("l3core.avc.plan.videos_a_shard", lambda per_video: 3)
    folder = tmp_path / "videos"
    write_videos(folder, 5)
    (folder / "text.mp4").write_text("this is no video")
    run = PlainRun(folder, tmp_path / "corpus", "run-1", split_of=lambda video_id: "train")
    write_plan(run.paths, run.planned)
    return run


def job_of(run):
    return SampleJob(corpus=run.paths.root, run_id=run.run_id, limits=VideoLimits(), threads=2)


def test_shards_are_sampled_and_committed(planned):
    names = planned.plan.todo
    assert len(names) == 2
    with (
        holding(planned.paths.locks, LOCK, planned.run_id),
        test_pipeline.TestPipeline(runner="FnApiRunner") as pipeline,
    ):
        done = pipeline | beam.Create(names) | SampleShards(job_of(planned))
        assert_that(done, equal_to(names))
    found = pipeline.result.metrics().query()["counters"]
    counts = {each.key.metric.name: each.committed for each in found}
    assert counts == {"shards": 2, "pairs": 20, "videos_ok": 5, "videos_unreadable": 1}
    assert finished_names(planned.paths) == set(names)
    assert load_corpus(planned.paths.root) is None
    with test_pipeline.TestPipeline(runner="FnApiRunner") as pipeline:
        committed = pipeline | beam.Create(names) | CommitPairs(job_of(planned))
        assert_that(committed, equal_to(["run-1"]))
    corpus = open_corpus(planned.paths.root)
    pairs = pairs_in(corpus)
    assert (len(pairs), sum(pair.label for pair in pairs)) == (20, 10)
    rows = read_ledger(corpus)
    assert rows["text.mp4"].status == "unreadable"
    assert {row.status for name, row in rows.items() if name != "text.mp4"} == {"ok"}


def test_a_job_without_shards_commits(planned):
    """All were finished by a run that was ended before its commit."""
    with test_pipeline.TestPipeline(runner="FnApiRunner") as pipeline:
        _ = pipeline | beam.Create(planned.plan.todo) | SampleShards(job_of(planned))
    run_local(job_of(planned), [])
    assert sum(file.pairs for file in open_corpus(planned.paths.root).files) == 20


def test_a_finished_shard_is_not_sampled_again(planned, tmp_path):
    run_twice = [planned.plan.todo[0]] * 2
    with test_pipeline.TestPipeline(runner="FnApiRunner") as pipeline:
        _ = pipeline | beam.Create(run_twice[:1]) | SampleShards(job_of(planned))
    staged = tmp_path / "corpus/_l3flow/staging/records" / f"{run_twice[0]}.tfrecord"
    before = staged.stat().st_mtime_ns
    with test_pipeline.TestPipeline(runner="FnApiRunner") as pipeline:
        _ = pipeline | beam.Create(run_twice) | SampleShards(job_of(planned))
    assert staged.stat().st_mtime_ns == before


def test_paths_travel_as_text():
    job = SampleJob(corpus="/c", run_id="r", limits=VideoLimits())
    assert CorpusPaths(job.corpus).settings == "/c/avc.json"
