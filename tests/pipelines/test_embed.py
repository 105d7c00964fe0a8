"""The embedding pipeline on Beam: the rows of the Beam-free `Embedder`, one commit, counters."""

import pickle
import threading
import time
from dataclasses import replace

import apache_beam as beam
import fsspec
import pytest
from apache_beam.testing import test_pipeline
from apache_beam.testing.util import assert_that, equal_to

from l3core import storage
from l3core.errors import RunError
from l3core.storage_options import CONFIGURED, configure
from l3core.table.json_objects import read_json
from l3core.table.limits import Limits
from l3core.table.read import read_windows
from l3core.table.state import load_state
from l3core.weights import to_h5
from pipelines import workers
from pipelines.embed import CommitRun, EmbedShards, build_pipeline, run_local
from pipelines.job import EmbedJob
from pipelines.workers import using_model
from tests.corpus import (
    SPEC,
    PlainRun,
    expected_rows,
    ledger,
    replace_file,
    snapshot,
    staged_runs,
    table_rows,
    upload,
    write_files,
    write_mixed,
)
from tests.emulators import S3_ENVIRONMENT


def planned(corpus, table, run_id="run-1", *, spread=True, **kwargs):
    """A planned run and the job that does it; the weights are in the table."""
    run = PlainRun(corpus, table, run_id, **kwargs).make_plan()
    weights = run.embedder.weights
    uri = run.paths.weights(weights.digest)
    storage.write_bytes(uri, to_h5(weights, SPEC.network.layer_shapes(SPEC)))
    job = EmbedJob(
        table=run.paths.root,
        run_id=run_id,
        fingerprint=run.plan.fingerprint,
        spec=run.plan.spec,
        weights=uri,
        spread_rewrites=spread,
        info={"command": "test", "host": "here"},
    )
    return run, job


def names(run):
    return [shard.name for shard in run.plan.to_embed]


def in_process():
    """An empty pipeline for the runner that `run_local` takes too."""
    return test_pipeline.TestPipeline(runner="FnApiRunner")


def test_names_of_shards_become_manifests(tmp_path):
    run, job = planned(write_files(tmp_path / "corpus", 6), tmp_path / "table")
    with in_process() as pipeline:
        finished = pipeline | beam.Create(names(run)) | EmbedShards(job)
        assert_that(finished, equal_to(names(run)))
    done = storage.names_below(run.paths.at("_l3flow/staging/run-1/done"), suffix=".json")
    assert done == sorted(f"{name}.json" for name in names(run))
    assert load_state(run.paths).commits == 0  # that is the next step's work


def test_workers_ask_stores_as_the_launcher_does(s3, tmp_path, monkeypatch):
    """A worker on another machine inherits nothing: what it has to know travels with the job."""
    fsspec.filesystem("s3").mkdir("workers")
    upload(write_files(tmp_path / "corpus", 3), "s3://workers/corpus")
    for name in ("AWS_ENDPOINT_URL", *S3_ENVIRONMENT):
        monkeypatch.delenv(name)
    monkeypatch.setenv("KEPT_HERE", "emulator")
    monkeypatch.setenv(CONFIGURED, "{}")
    configure([f"endpoint_url={s3.url}", "key=env:KEPT_HERE", "secret=env:KEPT_HERE"])
    run, job = planned("s3://workers/corpus", "s3://workers/table")
    job = pickle.loads(pickle.dumps(job))
    monkeypatch.delenv(CONFIGURED)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    with in_process() as pipeline:
        build_pipeline(pipeline, job, names(run))
    assert read_windows("s3://workers/table")[0].num_rows == 15
    assert job.storage_options["secret"] == "env:KEPT_HERE"


def test_finished_shards_become_one_commit(tmp_path):
    corpus, table = write_files(tmp_path / "corpus", 6), tmp_path / "table"
    run, job = planned(corpus, table)
    run.embed()
    with in_process() as pipeline:
        committed = pipeline | beam.Create(names(run)) | CommitRun(job)
        assert_that(committed, equal_to(["run-1"]))
    assert table_rows(table) == expected_rows(corpus)
    assert load_state(run.paths).commits == 1
    assert staged_runs(table) == []


def test_counters(tmp_path):
    run, job = planned(write_mixed(tmp_path / "corpus"), tmp_path / "table")
    pipeline = in_process()
    build_pipeline(pipeline, job, names(run))
    result = pipeline.run()
    counters = {
        counter.key.metric.name: counter.result
        for counter in result.metrics().query()["counters"]
        if counter.key.metric.namespace == "l3flow"
    }
    assert counters["windows"] == len(table_rows(tmp_path / "table"))
    assert counters["shards"] == len(names(run))
    clips = {name: number for name, number in counters.items() if name.startswith("clips_")}
    assert clips == {"clips_ok": 6, "clips_empty": 2, "clips_unreadable": 1, "clips_truncated": 1}


@pytest.mark.parametrize(
    "options", [[], ["--direct_num_workers=2", "--direct_running_mode=multi_threading"]]
)
def test_the_table_is_that_of_the_plain_functions(tmp_path, options):
    corpus = write_mixed(tmp_path / "corpus")
    plain = PlainRun(corpus, tmp_path / "plain", "run-1").all()
    run, job = planned(corpus, tmp_path / "table")
    run_local(job, names(run), options)
    assert table_rows(tmp_path / "table") == table_rows(tmp_path / "plain")
    ours, other = ledger(tmp_path / "table"), ledger(tmp_path / "plain")
    when = {"embedded_at": None}
    assert {c: row | when for c, row in ours.items()} == {c: row | when for c, row in other.items()}
    files = {file["path"]: file["sha256"] for file in plain.record["files_added"]}
    windows = {path: sha for path, sha in files.items() if path.startswith("windows/")}
    assert windows.items() <= snapshot(tmp_path / "table").items()  # the same bytes


def test_the_record_has_the_info_of_the_job(tmp_path):
    run, job = planned(write_files(tmp_path / "corpus", 1), tmp_path / "table")
    run_local(job, names(run))
    record = run.commit().record  # committed already: as it was
    assert (record["command"], record["host"]) == ("test", "here")


def test_a_step_that_fails_leaves_the_table_as_it_was(tmp_path):
    corpus, table = write_files(tmp_path / "corpus", 3), tmp_path / "table"
    PlainRun(corpus, table, "run-0").all()
    before = snapshot(table)
    replace_file(corpus / "001.wav", 2.0, seed=50)
    run, job = planned(corpus, table)
    with pytest.raises(Exception, match=r"999999\.json"):
        run_local(job, [*names(run), "999999"])
    assert snapshot(table) == before
    PlainRun(corpus, table, "run-2").all()
    assert ledger(table)["001.wav"]["run_id"] == "run-1"  # what it had finished is adopted


def test_the_commit_waits_for_all_shards(tmp_path):
    run, job = planned(write_files(tmp_path / "corpus", 3), tmp_path / "table")
    with pytest.raises(Exception, match="was not finished"):
        run_local(job, names(run)[:-1])  # one is not among the elements
    assert load_state(run.paths).commits == 0


def test_a_process_has_one_model(tmp_path, monkeypatch):
    _, job = planned(write_files(tmp_path / "corpus", 1), tmp_path / "table")
    found = []
    workers._loaded.clear()
    monkeypatch.setattr(workers, "read_bytes", slowly)  # so that all of them come while one loads
    threads = [threading.Thread(target=lambda: found.append(embedder_for(job))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(map(id, found))) == 1
    assert found[0].fingerprint == job.fingerprint
    assert embedder_for(replace(job, run_id="run-2")) is found[0]


def embedder_for(job):
    with using_model(job) as loaded:
        return loaded.embedder


def slowly(uri):
    time.sleep(0.1)
    return storage.read_bytes(uri)


def test_another_spec_is_another_model(tmp_path):
    _, job = planned(write_files(tmp_path / "corpus", 1), tmp_path / "table")
    spec = replace(SPEC, hop_s=0.5)
    digest = embedder_for(job).weights.digest
    other = replace(job, spec=spec.to_dict(), fingerprint=spec.fingerprint(digest))
    assert embedder_for(other).spec == spec
    assert embedder_for(job).spec == SPEC


def test_a_worker_that_computes_something_else_refuses(tmp_path):
    _, job = planned(write_files(tmp_path / "corpus", 1), tmp_path / "table")
    wrong = replace(job, fingerprint="s0123456789abcdef")
    with pytest.raises(RunError, match=f"computes {job.fingerprint}, the job was planned as s0123"):
        embedder_for(wrong)


def test_a_job_travels(tmp_path):
    _, job = planned(write_files(tmp_path / "corpus", 1), tmp_path / "table")
    assert pickle.loads(pickle.dumps(job)) == job
    assert len(pickle.dumps(job)) < 2_000


@pytest.mark.parametrize("spread", [True, False])
def test_files_with_replaced_clips_are_rewritten_by_workers_or_the_last_step(
    tmp_path, monkeypatch, spread
):
    monkeypatch.setattr("l3core.table.plan.SHARDS_WANTED", 2)
    corpus, table = write_files(tmp_path / "corpus", 6), tmp_path / "table"
    PlainRun(corpus, table, "run-0").all()
    replace_file(corpus / "001.wav", 2.0, seed=50)
    replace_file(corpus / "004.wav", 2.0, seed=51)
    (corpus / "005.wav").unlink()
    run, job = planned(corpus, table, spread=spread, prune=True, limits=Limits(allow_shrink=True))
    run_local(job, names(run))
    assert table_rows(table) == expected_rows(corpus)
    assert read_json(run.paths.record("run-1"))["bytes_rewritten"] > 0
