"""What a run on Flink knows of its cluster before and beside its job."""

import threading
from contextlib import contextmanager

import pytest

from l3core.errors import RunError, UsageError
from launch.flink import rest
from launch.flink.jars import JobServerJar
from launch.flink.job_server import LOCAL, free_port
from launch.flink.rest import FlinkCluster
from launch.flink.run import FlinkRunner, follow, how_job_is, script_here
from tests.flink_rest import flink_rest


@pytest.fixture
def flink():
    with flink_rest() as server:
        yield server


def job(master, name="l3flow-run-1"):
    return {"runner": "flink", "master": master, "name": name}


def runner(flink, slots):
    return FlinkRunner(
        cluster=FlinkCluster(flink.url),
        environment="process",
        pool="localhost:50000",
        jar=JobServerJar(None, None, "given"),
        slots=slots,
    )


@pytest.mark.parametrize(
    ("states", "how"),
    [
        ([], "absent"),
        (["RUNNING"], "running"),
        (["CREATED"], "running"),
        (["RESTARTING"], "running"),
        (["CANCELLING"], "running"),
        (["FINISHED"], "ended"),
        (["FAILED"], "ended"),
        (["CANCELED"], "ended"),
        (["FAILED", "RUNNING"], "running"),  # submitted twice
    ],
)
def test_how_a_job_is(flink, states, how):
    flink.add_job("other", "l3flow-run-10")
    for number, state in enumerate(states):
        flink.add_job(f"id-{number}", "l3flow-run-1", state)
    assert how_job_is(job(flink.url)) == how


def test_nobody_knows_of_a_cluster_that_does_not_answer():
    assert how_job_is(job(f"http://localhost:{free_port()}")) == "unknown"


@pytest.mark.parametrize(("status", "content"), [(503, {}), (200, b"<html>log in</html>")])
def test_nor_of_one_that_answers_otherwise(flink, status, content):
    flink.say("/jobs/overview", content, status=status)
    assert how_job_is(job(flink.url)) == "unknown"


def test_a_job_of_a_local_cluster_lives_and_dies_with_its_process():
    assert how_job_is(job(LOCAL)) == "absent"


def test_what_locks_say_of_a_job(flink):
    assert runner(flink, None).job("run-1") == job(flink.url)


@pytest.mark.parametrize(("asked", "slots"), [(None, 3), (1, 1), (3, 3)])
def test_slots(flink, asked, slots):
    assert runner(flink, asked).with_slots().slots == slots


def test_more_slots_than_are_free(flink):
    with pytest.raises(RunError) as caught:
        runner(flink, 4).with_slots()
    assert str(caught.value) == (
        f"the cluster at {flink.url} has 3 free slots of 4 (2 TaskManagers), 4 are wanted: wait for its "
        "jobs, or add TaskManagers"
    )


def test_no_slot_at_all(flink):
    flink.say("/overview", {"taskmanagers": 0, "slots-total": 0, "slots-available": 0})
    with pytest.raises(RunError, match=r"0 free slots of 0 \(0 TaskManagers\), one at least is needed"):
        runner(flink, None).with_slots()


@pytest.mark.parametrize(
    ("state", "why"),
    [("FAILED", "^it rained$"), ("CANCELED", "^Flink job a1 was cancelled$"), ("FINISHED", None)],
)
def test_a_job_is_followed_to_its_end(flink, state, why, monkeypatch):
    monkeypatch.setattr("launch.flink.run.POLL_S", 0.01)
    flink.add_job("a1", "l3flow-run-1", state, why="Caused by: it rained\n")
    states = iter(["CREATED", "RUNNING", "RESTARTING"])
    flink.answers["/jobs/a1"] = lambda: (200, {"state": next(states, state)})
    if why is None:
        follow(FlinkCluster(flink.url), "a1")
    else:
        with pytest.raises(RunError, match=why):
            follow(FlinkCluster(flink.url), "a1")
    assert flink.log.count("GET /jobs/a1") == 4


def test_ctrl_c_stops_the_job(flink, monkeypatch):
    def interrupted(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr("launch.flink.run.time.sleep", interrupted)
    monkeypatch.setattr(rest, "POLL_S", 0.01)
    flink.add_job("a1", "l3flow-run-1")
    with pytest.raises(KeyboardInterrupt):
        follow(FlinkCluster(flink.url), "a1")
    assert flink.jobs["a1"][1] == "CANCELED"


def test_programs_of_this_installation(tmp_path, monkeypatch):
    assert script_here("l3flow-harness").endswith("/l3flow-harness")
    with pytest.raises(UsageError, match=r"there is no .*/l3flow-nothing: install l3flow again"):
        script_here("l3flow-nothing")
    (tmp_path / "l3flow-nothing").write_text("#!/bin/sh\n")
    (tmp_path / "l3flow-nothing").chmod(0o755)
    monkeypatch.chdir(tmp_path.parent)
    monkeypatch.setenv("PATH", tmp_path.name)
    assert script_here("l3flow-nothing") == str(tmp_path / "l3flow-nothing")


@pytest.fixture
def interrupted(monkeypatch):
    """Runs a pipeline that is interrupted while its job server has it; `arrive` is called then."""

    def run(flink, arrive):
        @contextmanager
        def job_server(jar, master):
            try:
                yield "localhost:1"
            finally:
                arrive()

        def submit(self, *args):
            raise KeyboardInterrupt

        monkeypatch.setattr("launch.flink.run.job_server", job_server)
        monkeypatch.setattr(FlinkRunner, "_submit", submit)
        monkeypatch.setattr("launch.flink.run.POLL_S", 0.01)
        with pytest.raises(KeyboardInterrupt):
            runner(flink, 1).run(lambda pipeline: None, name="l3flow-run-1")

    return run


def test_ctrl_c_stops_a_job_that_its_cluster_knows_a_moment_later(flink, interrupted):
    arrives = threading.Timer(0.5, flink.add_job, ("a1", "l3flow-run-1"))
    interrupted(flink, arrives.start)
    arrives.join()
    assert flink.jobs["a1"][1] == "CANCELED"


def test_ctrl_c_before_anything_arrives(flink, interrupted, monkeypatch):
    monkeypatch.setattr("launch.flink.run.ARRIVES_WITHIN_S", 0.1)
    flink.add_job("b2", "of somebody else")
    interrupted(flink, lambda: None)
    assert not any("PATCH" in line for line in flink.log)
