"""Runs on a real session cluster of two TaskManagers, and what they come through.

Each ends with the table of an undisturbed run of the local runner, whatever was killed meanwhile.
"""

import os
import re
import signal
import time

import pytest
import requests

from launch.flink.rest import FlinkCluster
from launch.main import main
from tests.corpus import ledger, snapshot, table_rows, write_files
from tests.flink import (
    ALWAYS_FAILS,
    FAILS_ONCE,
    OPTIONS,
    OUT_OF_MEMORY,
    SLOW,
    embed_command,
    finished_shards,
    harnesses,
    jobs,
    l3flow,
    on_cluster,
    receipts,
    running_session,
    started,
    wait_until,
)

CLIPS = 24
TRIES = 1 + int(OPTIONS["restart-strategy.fixed-delay.attempts"])
WHEN = {"embedded_at": None, "run_id": None, "files": None}


@pytest.fixture(scope="module")
def faults(tmp_path_factory):
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def session(tmp_path_factory, faults):
    with running_session(tmp_path_factory.mktemp("flink"), faults, pool=True) as running:
        yield running


@pytest.fixture
def slow(faults):
    """Each batch takes a fifth of a second more: a run is then about ten seconds of work."""
    (faults / SLOW).write_text("0.2")
    yield
    for fault in faults.iterdir():
        fault.unlink()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("corpus"), CLIPS, 6.0)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, corpus):
    table = tmp_path_factory.mktemp("local") / "table"
    assert main([*embed_command(corpus, table), "--quiet"]) == 0
    return table


def assert_is_that_of(table, undisturbed):
    """The same rows and ledger, each once, from one commit; `verify` finds nothing."""
    assert table_rows(table) == table_rows(undisturbed)
    ours, theirs = ledger(table), ledger(undisturbed)
    assert {clip: row | WHEN for clip, row in ours.items()} == {
        clip: row | WHEN for clip, row in theirs.items()
    }
    assert len(receipts(table)) == 1
    assert main(["verify", "--table", str(table), "--quiet"]) == 0


def failures(session, launched=1):
    """Why the last job was started again, once for each time, as Flink says it.

    None as long as the cluster has had fewer than `launched` jobs.
    """
    jobs = requests.get(f"{session.url}/jobs/overview", timeout=10).json()["jobs"]
    if len(jobs) < launched:
        return []
    last = max(jobs, key=lambda job: job["start-time"])["jid"]
    history = requests.get(f"{session.url}/jobs/{last}/exceptions", timeout=10).json()
    return [entry["stacktrace"] for entry in history["exceptionHistory"]["entries"]]


def test_a_lost_launcher_and_a_lost_task_manager(session, slow, corpus, undisturbed, tmp_path):
    table = tmp_path / "table"
    command = embed_command(corpus, table, *on_cluster(session))
    with started(*command, "--quiet") as launcher:
        wait_until(lambda: finished_shards(table) > 2, "some shards are done", of=launcher)
        launcher.kill()
    (lost, *_) = [each for each in session.processes() if each.name == "taskmanager-0"]
    os.kill(lost.pid, signal.SIGKILL)
    assert len(ledger(table)) == 0  # before: nothing is published
    done = l3flow(*embed_command(corpus, table))  # somebody is at work, and it is not the launcher
    assert done.returncode == 1
    assert re.search(r"run \S+ \(job l3flow-\S+ at \S+\) is working on this table", done.stderr)
    session.add_task_manager(0)
    (job,) = [job for job in jobs(session) if job.state not in ("FINISHED", "FAILED", "CANCELED")]
    followed = l3flow("runs", "--table", table, "--job", job.id)
    assert followed.returncode == 0, followed.stderr
    assert f"{CLIPS} ok" in followed.stdout
    assert len(failures(session)) >= 1
    wait_until(lambda: harnesses(session) == [], "no worker is left", 90)
    assert_is_that_of(table, undisturbed)
    done = l3flow(*embed_command(corpus, table))  # after: the next run says so
    assert "nothing to do" in done.stdout


def test_a_worker_that_fails_runs_out_of_memory_and_is_killed(
    session, slow, faults, corpus, undisturbed, tmp_path
):
    table = tmp_path / "table"
    (faults / FAILS_ONCE).touch()
    launched = len(jobs(session)) + 1
    with started(*embed_command(corpus, table, *on_cluster(session)), "--quiet") as launcher:
        wait_until(lambda: len(failures(session, launched)) > 0, "the step has failed", of=launcher)
        (faults / OUT_OF_MEMORY).touch()
        wait_until(lambda: len(failures(session, launched)) > 1, "the memory was used up", of=launcher)
        so_far = finished_shards(table)
        wait_until(lambda: finished_shards(table) > so_far, "it goes on", of=launcher)
        for pid in harnesses(session):
            os.kill(pid, signal.SIGKILL)
        _, err = launcher.communicate(timeout=200)
    assert (launcher.returncode, err) == (0, "")
    assert "the model fails once" in "".join(failures(session))
    assert len(failures(session)) >= 3
    assert_is_that_of(table, undisturbed)


def test_a_lost_worker_pool(session, slow, corpus, undisturbed, tmp_path):
    table = tmp_path / "table"
    flags = on_cluster(
        session,
        "--flink-environment=external",
        f"--environment_config=localhost:{session.pool}",
        "--quiet",
    )
    with started(*embed_command(corpus, table, *flags)) as launcher:
        wait_until(lambda: finished_shards(table) > 2, "some shards are done", of=launcher)
        (pool,) = [each.pid for each in session.processes() if each.name == "pool"]
        for pid in (pool, *harnesses(session)):
            os.kill(pid, signal.SIGKILL)
        time.sleep(5)
        session.start_pool()
        _, err = launcher.communicate(timeout=200)
    assert (launcher.returncode, err) == (0, "")
    assert len(failures(session)) >= 1
    assert_is_that_of(table, undisturbed)


def test_a_job_that_cannot_succeed_ends_soon(session, slow, faults, corpus, tmp_path):
    table = tmp_path / "table"
    (faults / ALWAYS_FAILS).touch()
    done = l3flow(*embed_command(corpus, table, *on_cluster(session)), "--quiet")
    assert done.returncode == 1
    assert done.stderr == (
        "l3flow: the run failed, the table is as it was: ValueError: the model is broken for good\n"
    )
    assert len(failures(session)) == TRIES
    assert snapshot(table) == {}


def test_ctrl_c_stops_the_job(session, slow, faults, corpus, undisturbed, tmp_path):
    table = tmp_path / "table"
    (faults / SLOW).write_text("1")
    before = set(harnesses(session))  # a pool that was killed may have left some that nobody waits for
    command = embed_command(corpus, table, *on_cluster(session))
    with started(*command, "--quiet") as launcher:
        wait_until(lambda: finished_shards(table) > 0, "a shard is done", of=launcher)
        launcher.send_signal(signal.SIGINT)
        _, err = launcher.communicate(timeout=60)
    assert launcher.returncode == 130
    assert err.startswith("l3flow: interrupted; the table is as it was")
    states = {job.state for job in FlinkCluster(session.url).jobs()}
    assert states <= {"FINISHED", "FAILED", "CANCELED"}
    wait_until(lambda: set(harnesses(session)) <= before, "the workers have ended", 30)
    assert snapshot(table) == {}
    (faults / SLOW).unlink()
    # detached, and taking over what is done
    done = l3flow(*embed_command(corpus, table, *on_cluster(session)), "--detach", "--quiet")
    assert done.returncode == 0, done.stderr
    followed = l3flow("runs", "--table", table, "--job", done.stdout.strip(), "--json")
    assert followed.returncode == 0, followed.stderr
    assert_is_that_of(table, undisturbed)


def test_no_slot_is_free(session, corpus, tmp_path):
    done = l3flow(*embed_command(corpus, tmp_path / "t", *on_cluster(session)), "--workers", "3")
    assert done.returncode == 1
    assert "has 2 free slots of 2 (2 TaskManagers), 3 are wanted" in done.stderr
    assert snapshot(tmp_path / "t") == {}
