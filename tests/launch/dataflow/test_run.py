"""What a run on Dataflow knows of its job before and beside it."""

import pytest

from l3core.errors import RunError
from launch.dataflow import rest
from launch.dataflow.causes import cause_of, refusal
from launch.dataflow.rest import ENDPOINT, DataflowService
from launch.dataflow.run import cause_of_end, follow, how_job_is, name_of
from launch.flink.job_server import free_port
from launch.runners import NoAnswerError, jobs_like
from tests.dataflow_api import problem


def job(master, name="l3flow-run-1"):
    return {"runner": "dataflow", "master": master, "name": name}


@pytest.mark.parametrize(
    ("states", "how"),
    [
        ([], "absent"),
        (["PENDING"], "running"),
        (["QUEUED"], "running"),
        (["RUNNING"], "running"),
        (["CANCELLING"], "running"),
        (["RESOURCE_CLEANING_UP"], "running"),
        (["DONE"], "ended"),
        (["FAILED"], "ended"),
        (["CANCELLED"], "ended"),
        (["FAILED", "RUNNING"], "running"),
    ],
)
def test_how_a_job_is(api, states, how):
    api.add_job("other", "l3flow-run-10")
    for number, state in enumerate(states):
        api.add_job(f"id-{number}", "l3flow-run-1", f"JOB_STATE_{state}")
    assert how_job_is(job(api.master())) == how
    assert jobs_like(job(api.master())).how_job_is(job(api.master())) == how


def test_nobody_knows_of_a_service_that_does_not_answer():
    assert how_job_is(job(f"http://localhost:{free_port()}/v1b3/projects/p/locations/r-1")) == "unknown"


def test_nor_of_one_that_refuses(api):
    assert how_job_is(job(api.master("p/x"))) == "unknown"


@pytest.mark.parametrize(
    "master",
    [
        "https://evil.example/v1b3/projects/p/locations/r",
        "https://dataflow.googleapis.com@evil.example/v1b3/projects/p/locations/r",
        "https://dataflow.googleapis.com.evil.example/v1b3/projects/p/locations/r",
        "http://user@localhost/v1b3/projects/p/locations/r",
        "https://dataflow.googleapis.com/v1b3/projects/p/locations/r/../../../..",
        "http://localhost:99999999/v1b3/projects/p/locations/r",
        "http://[::1/v1b3/projects/p/locations/r",
        "localhost:8081",
        "",
    ],
)
def test_what_a_lock_says_has_nobody_asked_but_google(master, monkeypatch):
    def asked(*args, **kwargs):
        raise AssertionError("somebody was asked")

    monkeypatch.setattr(rest, "_authorized", asked)
    monkeypatch.setattr(rest.requests.Session, "request", asked)
    assert how_job_is(job(master)) == "unknown"
    with pytest.raises(NoAnswerError):
        name_of(master, "a1")


def test_without_credentials_nobody_knows(nobody, monkeypatch):
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    assert how_job_is(job(f"{ENDPOINT}/v1b3/projects/p/locations/us-central1")) == "unknown"


def test_the_name_of_a_job_is_one_request_however_many_there_are(api):
    for number in range(30):
        api.add_job(f"{number}", f"other-{number}", "JOB_STATE_DONE")
    api.add_job("a1", "l3flow-run-1")
    assert name_of(api.master(), "a1") == "l3flow-run-1"
    assert len(api.log) == 1
    assert name_of(api.master(), "a/2 ?") is None
    assert api.log[1].endswith("/jobs/a%2F2%20%3F")


def test_no_name_is_known_of_a_service_that_refuses(api):
    api.answer = lambda *request: problem(403, "PERMISSION_DENIED", "no")
    with pytest.raises(NoAnswerError, match=r"does not answer: HTTP 403$"):
        name_of(api.master(), "a1")


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ("FAILED", "it rained"),
        ("CANCELLED", "its job was cancelled"),
        ("DONE", "its job finished without a commit"),
    ],
)
def test_why_a_job_has_ended(api, state, why):
    api.add_job("a1", "l3flow-run-1", f"JOB_STATE_{state}", ["it rained"])
    assert cause_of_end(job(api.master())) == why


@pytest.mark.parametrize(
    ("state", "why"),
    [("FAILED", "^it rained$"), ("CANCELLED", "^Dataflow job a1 was cancelled$"), ("DONE", None)],
)
def test_a_job_is_followed_to_its_end(api, state, why):
    found = api.add_job("a1", "l3flow-run-1", "JOB_STATE_PENDING", ["it rained", "Workflow failed."])
    service = DataflowService(api.url, "my-project", "us-central1")
    states = iter(["JOB_STATE_PENDING", "JOB_STATE_RUNNING", "JOB_STATE_RUNNING"])
    answer = api.answer

    def later(*request):
        found["currentState"] = next(states, f"JOB_STATE_{state}")
        return answer(*request)

    api.answer = later
    if why is None:
        follow(service, "a1")
    else:
        with pytest.raises(RunError, match=why):
            follow(service, "a1")
    assert sum(line.endswith("/jobs/a1") for line in api.log) == 4


def test_a_service_that_is_away_for_a_moment_is_waited_for(api, monkeypatch):
    service = DataflowService(f"http://localhost:{free_port()}", "my-project", "us-central1")
    assert service.state("a1") is None
    monkeypatch.setattr(rest, "AWAY_AT_MOST_S", -1.0)
    with pytest.raises(NoAnswerError, match=r"does not answer any more: Connection refused$"):
        service.state("a1")


def test_a_job_that_cannot_be_stopped_is_said(api):
    service = DataflowService(api.url, "my-project", "us-central1")
    with pytest.raises(RunError, match=r"^Dataflow job a1 could not be stopped: HTTP 404$"):
        service.cancel("a1")


TRACEBACK = (
    "Error message from worker: generic::unknown: Traceback (most recent call last):\n"
    '  File "a.py", line 1\n'
    "l3core.errors.RunError: it rained [while running 'Embed/EmbedShard-ptransform-17']\n\n"
    "passed through:\n==>\n    dist_proc/dax/workflow/worker/fnapi_service_impl.cc:1335"
)


@pytest.mark.parametrize(
    ("messages", "cause"),
    [
        (
            [TRACEBACK, "Workflow failed. Causes: S01:Embed failed.", "work item was attempted 4"],
            "it rained",
        ),
        (["Startup of the worker pool failed: ZONE_RESOURCE_POOL_EXHAUSTED", "Workflow failed."], None),
        (["Workflow failed.\nCauses: quota"], "Workflow failed. Causes: quota"),
        ([], "the job failed, and the service does not say why"),
    ],
)
def test_causes(messages, cause):
    assert cause_of(messages) == (cause or messages[0])


def test_refusals_are_one_line():
    assert refusal(400, "a\n b") == "Dataflow refused the job: a b"
    sent = "POST https://dataflow.googleapis.com/v1b3/projects/p/jobs?%24alt=json: "
    assert refusal(400, f"{sent}no: such") == "Dataflow refused the job: no: such"
    assert refusal(None, "") == "Dataflow refused the job: without a word"
    assert refusal(401, "x").endswith("(log in: gcloud auth application-default login)")
