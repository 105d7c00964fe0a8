"""Following a run that goes on without the process that submitted it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from l3core import storage
from l3core.errors import UsageError
from l3core.table.commit import commit_run
from l3core.table.lock import holding
from launch.flink.job_server import free_port
from launch.follow import follow_job
from launch.main import main
from tests.corpus import PlainRun, write_files
from tests.flink_rest import flink_rest

REPOSITORY = Path(__file__).parents[2]
JID = "3f5bb0f1f6a1b0f4c8a9f0e1d2c3b4a5"
TRACEBACK = """java.lang.RuntimeException: Error received: Traceback (most recent call last):
  File "embed.py", line 1, in process
l3core.errors.RunError: it rained [while running 'EmbedShards']

\tat org.apache.beam.Something(Something.java:1)
"""


@pytest.fixture
def flink():
    with flink_rest() as server:
        yield server


@pytest.fixture
def table(tmp_path):
    return tmp_path / "table"


def submitted(table, flink, run_id="run-1", *, url=None):
    """A planned run whose job is on a cluster, and whose lock was left to it."""
    corpus = table.parent / "corpus"
    write_files(corpus, 2, first=len(list(corpus.glob("*"))))
    run = PlainRun(corpus, table, run_id).make_plan()
    job = {"runner": "flink", "master": url or flink.url, "name": f"l3flow-{run_id}"}
    with holding(run.paths, run.plan.fingerprint, run_id, job=job) as held:
        held.leave()
    run.job = job
    return run


def finish(run):
    """What the job's last step does; the lock stays."""
    run.embed()
    return commit_run(run.paths, run.run_id, info={"command": "embed", "job": run.job})


@pytest.mark.parametrize("name", ["run-1", "l3flow-run-1", JID])
def test_a_run_is_found_and_followed_to_its_end(table, flink, name):
    run = submitted(table, flink)
    flink.add_job("f0", "other")
    flink.add_job(JID, "l3flow-run-1")
    found = []
    thread = threading.Thread(target=lambda: found.append(follow_job(run.paths, name, quiet=True)))
    thread.start()
    thread.join(1)
    assert thread.is_alive()
    record = finish(run)
    thread.join(1)
    assert thread.is_alive()  # until the job has given its slots back
    flink.jobs[JID][1] = "FINISHED"
    thread.join(30)
    assert found == [json.loads(json.dumps(record))]
    assert found[0]["run_id"] == "run-1"


def test_a_run_that_takes_long_is_asked_for_less_and_less_often(table, flink, monkeypatch):
    run = submitted(table, flink)
    flink.add_job(JID, "l3flow-run-1")
    pauses = []

    def sleep(seconds):
        pauses.append(seconds)
        if len(pauses) == 40:
            finish(run)
            flink.jobs[JID][1] = "FINISHED"

    monkeypatch.setattr("launch.follow.time", SimpleNamespace(**vars(time) | {"sleep": sleep}))
    assert follow_job(run.paths, "run-1", quiet=True)["run_id"] == "run-1"
    assert (pauses[0], pauses[-1]) == (0.5, 5.0)
    assert pauses == sorted(pauses)
    assert sum(pauses[:8]) < 6  # a run of seconds is not waited for


@pytest.mark.parametrize("name", ["run-1", "l3flow-run-1", JID])
def test_a_run_that_has_committed_is_found_by_its_record(table, flink, name, capsys):
    run = submitted(table, flink)
    flink.add_job(JID, "l3flow-run-1", "FINISHED")
    finish(run)
    storage.remove(run.paths.lock(run.plan.fingerprint))
    assert main(["runs", "--table", str(table), "--job", name, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run_id"] == "run-1"


def test_the_right_one_of_several(table, flink):
    first = submitted(table, flink, "run-1")
    finish(first)
    storage.remove(first.paths.lock(first.plan.fingerprint))
    second = submitted(table, flink, "run-2")
    finish(second)
    flink.add_job("a1", "l3flow-run-1", "FINISHED")
    flink.add_job("b2", "l3flow-run-2", "FINISHED")
    for name, run_id in (("a1", "run-1"), ("b2", "run-2"), ("run-1", "run-1"), ("run-2", "run-2")):
        assert follow_job(first.paths, name, quiet=True)["run_id"] == run_id


def said_by(capsys, table, name, code=1):
    assert main(["runs", "--table", str(table), "--job", name, "--quiet"]) == code
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_a_job_that_failed_says_why(table, flink, capsys):
    submitted(table, flink)
    flink.add_job(JID, "l3flow-run-1", "FAILED", why=TRACEBACK)
    assert said_by(capsys, table, JID) == ("l3flow: the run failed, the table is as it was: it rained")


def test_a_job_that_was_cancelled(table, flink, capsys):
    submitted(table, flink)
    flink.add_job(JID, "l3flow-run-1", "CANCELED")
    assert said_by(capsys, table, JID) == (
        "l3flow: the run failed, the table is as it was: its job was cancelled"
    )


def test_a_job_that_finished_without_a_commit(table, flink, capsys):
    submitted(table, flink)
    flink.add_job(JID, "l3flow-run-1", "FINISHED")
    assert said_by(capsys, table, JID) == (
        "l3flow: the run failed, the table is as it was: its job finished without a commit"
    )


def test_a_job_that_is_gone(table, flink, capsys):
    """The cluster was restarted."""
    submitted(table, flink)
    assert said_by(capsys, table, "run-1") == (
        "l3flow: the run failed, the table is as it was: its job is gone"
    )


def test_a_job_that_is_just_being_submitted_is_waited_for(table, flink, capsys):
    run = submitted(table, flink)
    with holding(run.paths, run.plan.fingerprint, "run-1", job=run.job):
        found = []
        thread = threading.Thread(
            target=lambda: found.append(follow_job(run.paths, "run-1", quiet=True)["run_id"])
        )
        thread.start()
        thread.join(1)
        assert thread.is_alive()
        finish(run)
        thread.join(30)
    assert found == ["run-1"]


@pytest.mark.parametrize("name", ["run-9", JID, "l3flow-run"])
def test_a_name_that_no_run_has(table, flink, capsys, name):
    submitted(table, flink)
    flink.add_job(JID, "of-another-table")
    line = said_by(capsys, table, name, code=2)
    assert line.startswith(f"l3flow: --job {name}: no run of this table has such a job (see ")


def test_a_table_without_jobs_or_none_at_all(table, tmp_path):
    run = PlainRun(write_files(tmp_path / "corpus", 1), table, "run-1").all()
    with pytest.raises(UsageError, match="no run of this table has such a job"):
        follow_job(run.paths, "run-1", quiet=True)
    assert main(["runs", "--table", str(tmp_path / "none"), "--job", "x", "--quiet"]) == 2


def test_a_cluster_that_is_gone_does_not_hide_another(table, flink):
    gone = f"http://localhost:{free_port()}"
    first = submitted(table, flink, "run-1")
    finish(first)
    storage.remove(first.paths.lock(first.plan.fingerprint))
    finish(submitted(table, flink, "run-2", url=gone))  # is asked first
    flink.add_job(JID, "l3flow-run-1", "FINISHED")
    assert follow_job(first.paths, JID, quiet=True)["run_id"] == "run-1"


def test_a_run_of_a_local_cluster_had_a_job_too(table, flink):
    run = submitted(table, flink, url="[local]")
    finish(run)
    assert follow_job(run.paths, "l3flow-run-1", quiet=True)["run_id"] == "run-1"
    with pytest.raises(UsageError, match=r"no run of this table has such a job$"):
        follow_job(run.paths, JID, quiet=True)


def test_ctrl_c_leaves_the_job_alone(table, flink):
    submitted(table, flink)
    flink.add_job(JID, "l3flow-run-1")
    process = subprocess.Popen(
        [sys.executable, "-m", "launch.main", "runs", "--table", str(table), "--job", JID, "--quiet"],
        cwd=REPOSITORY,
        env=os.environ,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until = time.monotonic() + 60
        while flink.log.count("GET /jobs/overview") < 3:  # it is waiting
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < until
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130
    assert said == f"l3flow: the job goes on: l3flow-run-1 at {flink.url}\n"
    assert not any("PATCH" in line for line in flink.log)
