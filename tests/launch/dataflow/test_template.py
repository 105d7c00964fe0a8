"""`l3flow template`: built, launched by what Google's launcher does, and run here."""

import json
from contextlib import contextmanager
from threading import Thread

import apache_beam as beam
import pytest
from google.auth.exceptions import RefreshError
from google.cloud import dataflow
from google.protobuf import json_format

from l3core import storage
from l3core.errors import RunError, UsageError
from l3core.table.layout import TablePaths
from l3core.table.lock import acquire, release
from l3core.table.read import read_windows
from launch.dataflow import launcher, rest
from launch.dataflow.run import DataflowRunner, Launch, cause_of_end, how_job_is
from launch.dataflow.workers import Workers
from launch.follow import _find
from launch.main import main
from tests.corpus import FLAGS, upload, write_mixed
from tests.dataflow_api import problem, run_staged
from tests.flex_templates import REQUEST, SCHEMA, SPEC, FlexApi, arguments, errors_of

IMAGE = "europe-docker.pkg.dev/my-project/images/l3flow:1"
SUBNETWORK = "regions/us-central1/subnetworks/s"


@contextmanager
def serving(folder):
    with FlexApi(folder) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.finish()
            server.shutdown()
            thread.join()


@pytest.fixture
def flex(tmp_path, monkeypatch, api):
    """The API; `api` is asked for because it spares Beam the search for credentials."""
    monkeypatch.setattr(rest, "POLL_S", 0.01)
    with serving(tmp_path) as server:
        yield server


@pytest.fixture
def bucket(temp, tmp_path, capsys):
    """URI of a bucket with a corpus and the template."""
    write_mixed(tmp_path / "corpus")
    bucket = temp.removesuffix("/temp")
    upload(tmp_path / "corpus", f"{bucket}/corpus")
    assert main(["template", "build", "--image", IMAGE, "--template", f"{bucket}/l3flow.json"]) == 0
    assert capsys.readouterr().out == f"template: {bucket}/l3flow.json  image={IMAGE}\n"
    return bucket


def options(flex, bucket, *more):
    return [
        *("--input", f"{bucket}/corpus", "--output", f"{bucket}/table", *FLAGS),
        *("--project", "my-project", "--region", "us-central1", "--temp-location", f"{bucket}/temp"),
        *("--sdk-container-image", IMAGE, f"--dataflow_endpoint={flex.url}", *more),
    ]


def launch(flex, bucket, *more, flags=()):
    return main(
        [
            *("template", "run", "--template", f"{bucket}/l3flow.json", *flags),
            *("--", *options(flex, bucket, *more)),
        ]
    )


def work(flex, job_id):
    """The job that was written, as the service reads it."""
    job = dataflow.Job.from_json(json.dumps(flex.work[job_id]))
    return json.loads(json_format.MessageToJson(dataflow.Job.pb(job)))


def rows(table):
    metadata, vectors = read_windows(str(table))
    return [(*row.values(), vector.tobytes()) for row, vector in zip(metadata.to_pylist(), vectors)]


def test_launched_twice_the_second_has_nothing_to_do(flex, bucket, tmp_path, capsys):
    corpus, table = str(tmp_path / "corpus"), str(tmp_path / "table")
    assert main(["embed", "--input", corpus, "--output", table, *FLAGS, "--quiet"]) == 0
    # as a scheduler does: the same name each time
    more = ("--gpu", "l4", "--label", "team=birds", "--workers", "3", "--no-public-ips", "--prune")
    assert launch(flex, bucket, *more, flags=["--job-name", "nightly"]) == 0
    [job_id] = flex.jobs
    assert f"launched: Dataflow job {job_id}" in capsys.readouterr().out
    flex.finish()
    assert flex.launches[job_id].returncode == 0, flex.launches[job_id].stderr
    job = work(flex, job_id)
    assert job["name"] == "nightly"
    assert job["labels"] == {"team": "birds"}
    [pool] = job["environment"]["workerPools"]
    assert pool["machineType"] == "g2-standard-8"
    assert pool["autoscalingSettings"]["maxNumWorkers"] == 3
    assert pool["ipConfiguration"] == "WORKER_IP_PRIVATE"
    # launched again under another name while it runs
    assert launch(flex, bucket) == 0
    flex.finish()
    [_, second] = flex.jobs
    said = flex.launches[second]
    assert said.returncode == 1
    [line] = said.stderr.splitlines()
    assert f"(job nightly at {flex.master()}) is working on this table" in line
    assert flex.jobs[second]["currentState"] == "JOB_STATE_FAILED"
    # and with if_running skip, which is no failure
    assert launch(flex, bucket, "--if-running", "skip") == 0
    flex.finish()
    third = list(flex.jobs)[-1]
    assert "skipped: run " in flex.launches[third].stdout
    run_staged(work(flex, third))
    capsys.readouterr()

    run_staged(job)
    flex.jobs[job_id]["currentState"] = "JOB_STATE_DONE"
    assert rows(f"{bucket}/table") == rows(table)
    assert main(["runs", "--table", f"{bucket}/table", "--job", job_id, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["job"] == {
        "runner": "dataflow",
        "master": flex.master(),
        "name": "nightly",
        "id": job_id,
    }

    assert launch(flex, bucket, *more, flags=["--job-name", "nightly", "--json"]) == 0
    last = json.loads(capsys.readouterr().out)["job"]
    flex.finish()
    assert flex.launches[last].returncode == 0, flex.launches[last].stderr
    assert "nothing to do" in flex.launches[last].stdout
    idle = work(flex, last)
    [pool] = idle["environment"]["workerPools"]
    assert (pool["machineType"], pool["autoscalingSettings"]["maxNumWorkers"]) == ("n1-standard-4", 1)
    assert not idle["environment"].get("serviceOptions")
    run_staged(idle)
    assert rows(f"{bucket}/table") == rows(table)


def test_a_plan_that_fails_is_one_line_of_the_launchers_log(flex, bucket, capsys):
    assert launch(flex, bucket, "--input", f"{bucket}/nothing-here") == 0
    flex.finish()
    [(job_id, ended)] = flex.launches.items()
    assert ended.returncode == 2
    [line] = ended.stderr.splitlines()
    assert line.startswith("l3flow: --input")
    assert flex.jobs[job_id]["currentState"] == "JOB_STATE_FAILED"


def test_so_is_a_parameter_that_the_command_refuses(flex, capsys):
    """Those whose metadata has no regex come as far as the launcher."""
    parameters = {"input": "gs://birds/corpus", "output": "gs://birds/table", "hop": "often"}
    environment = {"tempLocation": "gs://birds/temp", "stagingLocation": "gs://birds/temp"}
    body = {"jobName": "j", "parameters": parameters, "environment": environment}
    assert launcher.main(arguments(body, "my-project", "us-central1", "1")) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "--hop: needs a number, got 'often'" in line


def test_the_jobs_of_a_schedule_have_one_name_and_are_told_apart_by_their_ids(api):
    job = {"runner": "dataflow", "master": api.master(), "name": "nightly", "id": "1"}
    api.add_job("1", "nightly", "JOB_STATE_FAILED", ["it rained"])
    api.add_job("2", "nightly", "JOB_STATE_RUNNING")
    assert how_job_is(job) == "ended"
    assert cause_of_end(job) == "it rained"
    assert how_job_is(job | {"id": "2"}) == "running"
    assert how_job_is(job | {"id": "3"}) == "absent"


def test_a_launch_that_fails_leaves_its_lock_to_nobody(api):
    """Its job is active, since this process is its launcher, and ends with it."""
    folder = "gs://birds/temp/template_launches/2026-11-26_00_00_00-17"
    runner = DataflowRunner(
        service=rest.DataflowService(api.url, "my-project", "us-central1"),
        temp="gs://birds/temp",
        workers=Workers(image=IMAGE),
        launch=Launch(job_name="nightly", template=f"{folder}/job_object"),
    )
    api.add_job("2026-11-26_00_00_00-17", "nightly", "JOB_STATE_QUEUED")
    assert how_job_is(runner.job("run-1")) == "running"
    assert not runner.may_go_on("run-1")


def runner_of_a_launch(api, temp, **launch):
    folder = f"{temp}/template_launches/2026-11-26_00_00_00-17"
    return DataflowRunner(
        service=rest.DataflowService(api.url, "my-project", "us-central1"),
        temp=temp,
        workers=Workers(image=IMAGE),
        detach=True,
        launch=Launch(job_name="nightly", template=f"{folder}/job_object", **launch),
    )


def test_with_nothing_to_do_whatever_libraries_raise_is_one_line(api, temp, monkeypatch):
    def fails(pipeline):
        raise RefreshError("Reauthentication is needed.\nRun gcloud auth")

    monkeypatch.setattr(beam.Pipeline, "run", fails)
    with pytest.raises(RunError, match=r"^nothing to do, and no job that says so: Run gcloud auth$"):
        runner_of_a_launch(api, temp).idle()


def test_a_launch_tries_the_folder_that_it_stages_in(api, temp, gcs):
    place = temp.replace("/temp", "/staging")
    gcs.fault(r"staging/.*\.probe", status=403)
    with pytest.raises(RunError, match=f": the launch's staging location {place}: cannot write there"):
        runner_of_a_launch(api, temp, staging=place).idle()
    gcs.clear()
    gcs.fault(r"temp/.*\.probe", status=403)
    runner_of_a_launch(api, temp, staging=place).idle()
    gcs.clear()


def test_a_run_is_found_by_the_id_of_its_own_job(api, tmp_path):
    """Not by the id of another job that has the same name."""
    paths = TablePaths(str(tmp_path))
    own = {"runner": "dataflow", "master": api.master(), "name": "nightly", "id": "2"}
    acquire(paths, "s0", "run-2", job=own)
    for job_id in ("1", "2"):
        api.add_job(job_id, "nightly", "JOB_STATE_FAILED")
    assert _find(paths, "2") == _find(paths, "nightly") == ("run-2", own)
    with pytest.raises(UsageError, match="no run of this table has such a job"):
        _find(paths, "1")
    release(paths, "s0", "run-2")


def test_a_launch_is_sent_as_the_api_has_it(flex, bucket, capsys):
    more = (
        "--gpu",
        "l4",
        "--machine-type",
        "g2-standard-16",
        "--disk-size",
        "60",
        "--subnetwork",
        SUBNETWORK,
    )
    beam = (
        "--worker_zone",
        "us-central1-a",
        "--experiments=a,b",
        "--element_processing_timeout_minutes=9",
    )
    flags = ["--validate-only", "--launcher-machine-type", "e2-standard-4", "--job-name", "nightly"]
    service = ("--service-account", "w@p.iam.gserviceaccount.com")
    assert launch(flex, bucket, *more, *beam, *service, flags=flags) == 0
    assert capsys.readouterr().out == "valid: the service would launch it\n"
    [request] = flex.requests
    assert errors_of(request, REQUEST) == []
    assert errors_of(request | {"launchParameters": {}}, REQUEST) != []
    assert request == {
        "validateOnly": True,
        "launchParameter": {
            "jobName": "nightly",
            "containerSpecGcsPath": f"{bucket}/l3flow.json",
            "parameters": {
                "input": f"{bucket}/corpus",
                "output": f"{bucket}/table",
                "model": "fake",
                "engine": "fake",
                "weights": "random:0",
                "sdk_container_image": IMAGE,
                "gpu": "l4",
            },
            "environment": {
                "tempLocation": f"{bucket}/temp",
                "stagingLocation": f"{bucket}/temp",
                "machineType": "g2-standard-16",
                "maxWorkers": 4,
                "diskSizeGb": 60,
                "subnetwork": SUBNETWORK,
                "serviceAccountEmail": "w@p.iam.gserviceaccount.com",
                "launcherMachineType": "e2-standard-4",
                "workerZone": "us-central1-a",
                "additionalExperiments": ["a", "b"],
                "additionalPipelineOptions": [
                    f"dataflow_endpoint={flex.url}",
                    "element_processing_timeout_minutes=9",
                ],
            },
        },
    }
    address = SCHEMA["address"]
    path = address["path"].format(projectId="my-project", location="us-central1")
    assert f"{address['method']} /{path}" in flex.log


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--gpu", "l5"], "--gpu must be one of"),
        (["--sdk-container-image", ""], "--sdk-container-image needs the name of an image"),
        (["--sdk-container-image", "x:1:2"], "--sdk-container-image needs the name of an image"),
        (["--hopp", "1"], "unknown option --hopp, did you mean --hop?"),
        (["--runner", "flink"], "--project needs --runner dataflow"),
        (["--dry-run"], "--dry-run has no place in a template"),
        (["--notify", "https://x.example"], "--notify has no place in a template"),
        (["--weights", "my.h5"], "--weights my.h5 is a path of this machine"),
        (["--root", "corpus"], "--root corpus: a path of this machine"),
        (["--input", "@list.txt"], "--input @list.txt: a path of this machine"),
        (["--output", "table"], "--output table is a path of this machine"),
        (["--temp-location", "temp"], "--temp-location needs a folder as gs://"),
        (["--region", "moon"], "--region needs a region"),
        (["--job_name=x"], "--job_name of Beam is what l3flow sets itself"),
    ],
)
def test_what_the_command_would_refuse_is_never_sent(flex, capsys, more, says):
    assert launch(flex, "gs://birds", *more) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert says in line
    assert flex.log == []


def test_the_image_plans_itself_and_may_have_another_python(flex, bucket):
    image = "us-docker.pkg.dev/p/images/l3flow-py38-beam2.1:1"
    flags = ["--validate-only"]
    assert launch(flex, bucket, "--sdk-container-image", image, flags=flags) == 0
    [request] = flex.requests
    assert request["launchParameter"]["parameters"]["sdk_container_image"] == image


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["run", "--template", "gs://b/t.json"], "needs -- and the options of l3flow embed"),
        (
            ["run", "--template", "gs://b/t.json", "--image", "i", "--"],
            "--image is for l3flow template b",
        ),
        (["build", "--template", "gs://b/t.json"], "--image needs the name of an image"),
        (["build", "--template", "-", "--image", "a b"], "--image needs the name of an image"),
        (["build", "--template", "-", "--image", "x:1:2"], "--image needs the name of an image"),
        (["build", "--template", "-", "--image", "i", "--job-name", "j"], "--job-name is for"),
        (["build", "--template", "-", "--image", "i", "--", "--gpu", "l4"], "no options behind --"),
        (["launch", "--template", "gs://b/t.json"], "invalid choice: 'launch'"),
    ],
)
def test_its_own_options_are_checked(capsys, argv, says):
    assert main(["template", *argv]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert says in line


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--job-name", "Nightly"], "a job's name has small letters"),
        (["--template", "table.json"], "--template needs the spec as gs://"),
        (["--launcher-machine-type", "e2 4"], "--launcher-machine-type needs a machine type, as n1-s"),
        (["--launcher-machine-type", ""], "--launcher-machine-type needs a machine type, as n1-s"),
    ],
)
def test_so_is_how_the_job_is_called(flex, capsys, flags, says):
    assert launch(flex, "gs://b", flags=flags) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("refusal", "says"),
    [
        (problem(403, "PERMISSION_DENIED", "no"), "Dataflow refused the job: no (the account needs"),
        (
            problem(409, "ALREADY_EXISTS", "There is\nanother"),
            "the job: There is another (a job of this",
        ),
        ((502, "gone"), "Dataflow refused the job: Bad Gateway"),
    ],
)
def test_what_the_service_refuses_to_launch_is_one_line(flex, bucket, capsys, refusal, says):
    flex.refusal = refusal
    assert launch(flex, bucket) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert says in line


def test_a_parameter_that_the_template_does_not_have_is_refused_by_the_service(flex, bucket, capsys):
    """As when the template is older than the command that launches it."""
    uri = f"{bucket}/l3flow.json"
    spec = json.loads(storage.read_bytes(uri))
    parameters = spec["metadata"]["parameters"]
    spec["metadata"]["parameters"] = [each for each in parameters if each["name"] != "prune"]
    storage.write_bytes(uri, json.dumps(spec).encode())
    assert launch(flex, bucket, "--prune") == 1
    assert "prune: Unrecognized parameter" in capsys.readouterr().err
    assert flex.jobs == {}


def test_the_spec_is_printed_or_written(tmp_path, capsys):
    assert main(["template", "build", "--image", IMAGE, "--template", "-"]) == 0
    printed = capsys.readouterr().out
    file = tmp_path / "t.json"
    assert main(["template", "build", "--image", IMAGE, "--template", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"template": str(file), "image": IMAGE}
    assert file.read_text() == printed
    assert errors_of(json.loads(printed), SPEC) == []
    assert json.loads(printed)["image"] == IMAGE
