"""What Dataflow is sent: the job, held against Google's schema, and the pipeline, which is run here."""

import json
import re

import apache_beam as beam
import fsspec
import jsonschema
import pytest
from google.cloud import dataflow
from google.protobuf import json_format

from l3core import storage
from l3core.errors import RunError
from launch.dataflow.rest import DataflowService
from launch.dataflow.run import DataflowRunner
from launch.dataflow.workers import Workers
from pipelines.embed import build_pipeline, run_local
from tests.corpus import table_rows, write_mixed
from tests.dataflow_api import problem, run_staged
from tests.discovery import closed, schema
from tests.pipelines.test_embed import names, planned

SCHEMA = schema("dataflow")
IMAGE = "europe-docker.pkg.dev/my-project/images/l3flow:1"


JOB = closed(SCHEMA) | {"$ref": "#/$defs/Job"}


def errors_of(job):
    return [error.message for error in jsonschema.Draft202012Validator(JOB).iter_errors(job)]


def runner(api, temp, *, detach=True, labels=(("team", "birds"),), **workers):
    return DataflowRunner(
        service=DataflowService(api.url, "my-project", "us-central1"),
        temp=temp,
        workers=Workers(**{"image": IMAGE, "gpu": "l4"} | workers),
        labels=labels,
        detach=detach,
    )


def tiny(pipeline):
    _ = pipeline | beam.Create([1])


def submitted(api):
    """The job that was created, with names of enums as the schema has them: clients send numbers."""
    [body] = api.submitted
    job = dataflow.Job.from_json(json.dumps(body))
    return json.loads(json_format.MessageToJson(dataflow.Job.pb(job)))


def test_the_job_has_the_machines_that_were_asked_for(api, temp):
    found = []
    runner(
        api, temp, most=3, mps=True, disk_gb=60, network="n", public_ips=False, service_account="a@b"
    ).run(tiny, name="l3flow-run-1", submitted=found.append)
    job = submitted(api)
    assert found == list(api.jobs)
    assert errors_of(job) == []
    assert job["name"] == "l3flow-run-1"
    assert job["type"] == "JOB_TYPE_BATCH"
    assert job["labels"] == {"team": "birds"}
    environment = job["environment"]
    assert environment["serviceOptions"] == [
        "worker_accelerator=type:nvidia-l4;count:1;install-nvidia-driver;use_nvidia_mps"
    ]
    assert environment["serviceAccountEmail"] == "a@b"
    assert "no_use_multiple_sdk_containers" not in environment["experiments"]
    assert "use_multiple_sdk_containers" in environment["experiments"]
    [pool] = environment["workerPools"]
    assert pool["machineType"] == "g2-standard-8"
    assert pool["numThreadsPerWorker"] == 2
    assert pool["diskSizeGb"] == 60
    assert pool["network"] == "n"
    assert pool["ipConfiguration"] == "WORKER_IP_PRIVATE"
    assert pool["autoscalingSettings"]["maxNumWorkers"] == 3
    [image] = pool["sdkHarnessContainerImages"]
    assert image["containerImage"] == IMAGE == pool["workerHarnessContainerImage"]
    options = environment["sdkPipelineOptions"]["options"]
    assert options["element_processing_timeout_minutes"] == 120
    assert options["save_main_session"] is False
    assert "pipeline.pb" in options["pipelineUrl"]
    assert options["pipelineUrl"].startswith(temp)


def test_a_gpu_has_one_process_and_so_one_model(api, temp):
    runner(api, temp).run(tiny, name="l3flow-run-1")
    environment = submitted(api)["environment"]
    [accelerator] = environment["serviceOptions"]
    assert accelerator == "worker_accelerator=type:nvidia-l4;count:1;install-nvidia-driver"
    assert "no_use_multiple_sdk_containers" in environment["experiments"]
    assert "use_multiple_sdk_containers" not in environment["experiments"]


def test_several_gpus_have_one_process_with_threads_for_each(api, temp):
    runner(api, temp, gpus=4).run(tiny, name="l3flow-run-1")
    environment = submitted(api)["environment"]
    [accelerator] = environment["serviceOptions"]
    assert accelerator == "worker_accelerator=type:nvidia-l4;count:4;install-nvidia-driver"
    assert "no_use_multiple_sdk_containers" in environment["experiments"]
    [pool] = environment["workerPools"]
    assert (pool["machineType"], pool["numThreadsPerWorker"]) == ("g2-standard-48", 8)
    assert pool["diskSizeGb"] == 50


def test_nothing_but_the_pipeline_is_staged(api, temp):
    runner(api, temp).run(tiny, name="l3flow-run-1")
    fs, path = fsspec.core.url_to_fs(temp, use_listings_cache=False)
    assert [name.rpartition("/")[2] for name in fs.find(path)] == ["pipeline.pb"]
    assert not submitted(api)["environment"]["workerPools"][0].get("packages")


def test_further_options_of_beam_are_added(api, temp):
    profiler = "--dataflow_service_options=enable_google_cloud_profiler"
    more = ["--experiments=shuffle_mode=service", profiler]
    runner(api, temp).run(tiny, name="l3flow-run-1", beam_options=more)
    environment = submitted(api)["environment"]
    assert {"shuffle_mode=service", "no_use_multiple_sdk_containers"} <= set(environment["experiments"])
    assert len(environment["serviceOptions"]) == 2


def test_without_a_gpu_nothing_is_attached(api, temp):
    runner(api, temp, gpu=None).run(tiny, name="l3flow-run-1")
    environment = submitted(api)["environment"]
    assert not environment.get("serviceOptions")
    assert environment["workerPools"][0]["machineType"] == "n1-standard-4"


def test_the_schema_refuses_what_it_does_not_know(api, temp):
    runner(api, temp).run(tiny, name="l3flow-run-1")
    job = submitted(api)
    job["environment"]["workerPools"][0]["gpus"] = 1
    assert any("'gpus' was unexpected" in error for error in errors_of(job))


def through_dataflow(api, temp, corpus, table, run_id="run-1", retried=False):
    """A run whose pipeline is staged for Dataflow; what was staged is run by the local runner."""
    run, job = planned(corpus, table, run_id)
    shards = names(run)

    def build(pipeline):
        build_pipeline(pipeline, job, shards * (2 if retried else 1))

    runner(api, temp).run(build, name=f"l3flow-{run_id}")
    run_staged(submitted(api))
    return run


def local(corpus, table):
    run, job = planned(corpus, table)
    run_local(job, names(run))


@pytest.mark.parametrize("retried", [False, True])
def test_what_is_staged_gives_the_same_table(api, temp, tmp_path, retried):
    write_mixed(tmp_path / "corpus")
    local(tmp_path / "corpus", tmp_path / "local")
    run = through_dataflow(api, temp, tmp_path / "corpus", tmp_path / "table", retried=retried)
    assert table_rows(tmp_path / "table") == table_rows(tmp_path / "local")
    assert storage.is_object(run.paths.record("run-1"))


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (
            problem(403, "PERMISSION_DENIED", "(1a): Could not create workflow;\nmissing permission"),
            r"^Dataflow refused the job: .*missing permission \(the account needs roles",
        ),
        (
            problem(429, "RESOURCE_EXHAUSTED", "Quota 'NVIDIA_L4_GPUS' exceeded. Limit: 1.0"),
            r"^Dataflow refused the job: .*'NVIDIA_L4_GPUS' exceeded.* \(a quota of the project",
        ),
        (
            problem(400, "INVALID_ARGUMENT", "Invalid container image 'x y'"),
            r"^Dataflow refused the job: .*Invalid container image 'x y'$",
        ),
        (
            problem(409, "ALREADY_EXISTS", "(2b): There is already an active job named l3flow-run-1"),
            r"^Dataflow refused the job: .*active job named l3flow-run-1 \(a job of this name",
        ),
    ],
)
def test_what_the_service_refuses_is_one_line(api, temp, refusal, words):
    api.refusal = refusal
    with pytest.raises(RunError, match=words) as caught:
        runner(api, temp).run(tiny, name="l3flow-run-1")
    assert "\n" not in str(caught.value)
    assert len(re.findall("POST", "".join(api.log))) == 1


def test_a_job_that_fails_says_why(api, temp):
    def fail(job):
        text = (
            'Traceback (most recent call last):\n  File "x.py", line 1\n'
            "l3core.errors.RunError: it rained [while running 'Embed/EmbedShard-ptransform-17']"
        )
        more = ["Workflow failed. Causes: S01 failed.", "The work item was attempted 4 times"]
        api.add_job(job["id"], job["name"], "JOB_STATE_FAILED", [text, *more])

    api.on_create = fail
    with pytest.raises(RunError, match=r"^it rained$"):
        runner(api, temp, detach=False).run(tiny, name="l3flow-run-1")


def test_a_job_that_is_done_is_no_error(api, temp):
    api.on_create = lambda job: api.jobs[job["id"]].update(currentState="JOB_STATE_DONE")
    runner(api, temp, detach=False).run(tiny, name="l3flow-run-1")


def test_ctrl_c_cancels_what_is_submitted(api, temp):
    def interrupted(job_id):
        raise KeyboardInterrupt

    api.add_job("other", "l3flow-run-10")
    with pytest.raises(KeyboardInterrupt):
        runner(api, temp).run(tiny, name="l3flow-run-1", submitted=interrupted)
    assert [job["currentState"] for job in api.jobs.values()] == [
        "JOB_STATE_RUNNING",
        "JOB_STATE_CANCELLED",
    ]
