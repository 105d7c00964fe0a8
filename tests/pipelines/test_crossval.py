"""The cross-validation pipeline: names in, results out, and what is done already is left alone."""

import apache_beam as beam
import pytest
from apache_beam.testing import test_pipeline
from apache_beam.testing.util import assert_that, equal_to

from l3core.crossval.plan import CrossvalPlan, OutputPaths, content_of
from l3core.crossval.results import finished_folds
from l3core.datasets import LabelledClip
from l3core.errors import RunError
from l3core.storage_options import CONFIGURED, configured
from l3core.table.json_objects import read_json, write_json
from l3core.table.layout import TablePaths
from l3core.table.ledger import read_ledger
from l3core.table.state import existing_state
from pipelines.crossval import Finish, TrainFolds
from pipelines.job import CrossvalJob
from pipelines.workers import features_for
from tests.corpus import PlainRun, replace_file, write_files

NAMES = ["fold1-repeat1", "fold2-repeat1"]


@pytest.fixture
def planned(tmp_path):
    """Sixteen clips of two classes in two folds, their table, and a plan in its place."""
    corpus = write_files(tmp_path / "corpus", 16)
    PlainRun(corpus, tmp_path / "table", "run-1").all()
    state = existing_state(TablePaths(str(tmp_path / "table")))
    (fingerprint,) = state.fingerprints
    ledger = list(read_ledger(TablePaths(str(tmp_path / "table")), state.ledger(fingerprint)))
    clips = tuple(
        LabelledClip(row.uri, "ab"[number % 2], 1 + number // 8, row.clip_id)
        for number, row in enumerate(ledger)
    )
    spec = read_json(TablePaths(str(tmp_path / "table")).spec(fingerprint))
    plan = CrossvalPlan(
        dataset="esc10",
        classes=("a", "b"),
        clips=clips,
        clip_ids=tuple(row.clip_id for row in ledger),
        table=str(tmp_path / "table"),
        fingerprint=fingerprint,
        embedding=spec,
        content=content_of(ledger, [row.clip_id for row in ledger]),
        protocol="clean",
        seed=0,
        batch_size=32,
        epochs=1,
        facts={
            "dataset_title": "Sixteen",
            "complete": True,
            "subset": None,
            "published_clips": 16,
            "differences": [],
            "shared_sources": {},
        },
    )
    paths = OutputPaths(str(tmp_path / "out"))
    write_json(paths.plan(plan.digest), plan.to_json())
    return plan, paths


def job_of(plan, paths):
    return CrossvalJob(output=paths.root, digest=plan.digest)


def train(plan, paths, names):
    with test_pipeline.TestPipeline(runner="FnApiRunner") as pipeline:
        done = pipeline | beam.Create(names) | TrainFolds(job_of(plan, paths))
        assert_that(done, equal_to(names))


def test_folds_are_trained_and_merged(planned):
    plan, paths = planned
    train(plan, paths, NAMES)
    assert finished_folds(paths, plan.digest) == NAMES
    with test_pipeline.TestPipeline(runner="FnApiRunner") as pipeline:
        merged = pipeline | beam.Create(NAMES) | Finish(job_of(plan, paths), NAMES)
        assert_that(merged, equal_to([plan.digest]))
    summary = read_json(paths.summary)
    assert list(summary["by_fold"]) == ["1", "2"]
    assert summary["tested_clips"] == 16


def test_workers_ask_stores_as_the_launcher_does(planned, monkeypatch):
    monkeypatch.setenv(CONFIGURED, '{"anon": "true"}')
    job = job_of(*planned)
    for step in (TrainFolds(job), Finish(job, NAMES)):
        monkeypatch.delenv(CONFIGURED)  # a worker on another machine inherits nothing
        with test_pipeline.TestPipeline(runner="FnApiRunner") as pipeline:
            _ = pipeline | beam.Create(NAMES) | step
        assert configured() == {"anon": "true"}


def test_a_fold_that_is_tried_again_is_not_trained_again(planned):
    plan, paths = planned
    train(plan, paths, NAMES[:1])
    done = paths.fold(plan.digest, NAMES[0]) + "/done.json"
    before = read_json(done)
    train(plan, paths, NAMES)
    assert read_json(done) == before  # its seconds, too


def test_results_are_of_the_folds_that_were_asked_for(planned):
    """Another command may train other folds of the same plan in the same place."""
    plan, paths = planned
    train(plan, paths, NAMES)
    with test_pipeline.TestPipeline(runner="FnApiRunner") as pipeline:
        merged = pipeline | beam.Create(["ignored"]) | Finish(job_of(plan, paths), NAMES[1:])
        assert_that(merged, equal_to([plan.digest]))
    assert list(read_json(paths.summary)["by_fold"]) == ["2"]


def test_a_table_that_changed_since_is_refused(planned, tmp_path):
    plan, _ = planned
    replace_file(tmp_path / "corpus/003.wav", 1.0, seed=99)
    PlainRun(tmp_path / "corpus", tmp_path / "table", "run-2").all()
    with pytest.raises(RunError, match="was changed after the training was planned"):
        features_for(plan)
