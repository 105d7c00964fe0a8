"""A worker process ends when its run is over, and not before."""

import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import pytest

from l3core.table.commit import commit_run
from l3core.table.lock import acquire, release
from pipelines.ending import STARTED_BY_RUNNER
from pipelines.job import EmbedJob
from tests.corpus import PlainRun, write_files

WORKER = """
import pickle, sys, time
from pipelines import ending
from pipelines.workers import table_of
ending.LOOK_EVERY_S = 0.1
job = pickle.loads(bytes.fromhex(sys.argv[1]))
table_of(job)
table_of(job)
print("at work", flush=True)
time.sleep(60)
"""


@pytest.fixture
def run(tmp_path):
    """A planned run that has its lock."""
    run = PlainRun(write_files(tmp_path / "corpus", 2), tmp_path / "table", "run-1").make_plan()
    acquire(run.paths, run.plan.fingerprint, "run-1")
    return run


@pytest.fixture
def worker(run, request):
    """A process that has begun to work for the run."""
    job = EmbedJob(
        table=run.paths.root,
        run_id="run-1",
        fingerprint=run.plan.fingerprint,
        spec=run.plan.spec,
        weights="none",
    )
    started = {STARTED_BY_RUNNER: "1"} if getattr(request, "param", True) else {}
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, pickle.dumps(job).hex()],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])} | started,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "at work\n"
    yield process
    process.kill()
    process.communicate()


def test_it_goes_on_while_its_run_does(run, worker):
    time.sleep(2)
    assert worker.poll() is None


def test_it_ends_when_the_run_was_stopped(run, worker):
    release(run.paths, run.plan.fingerprint, "run-1")
    assert worker.wait(20) == 0


def test_it_ends_when_the_run_has_committed(run, worker):
    run.embed()
    commit_run(run.paths, "run-1", info={})
    acquire(run.paths, run.plan.fingerprint, "run-1")  # whatever is left of the lock
    assert worker.wait(20) == 0


@pytest.mark.parametrize("worker", [False], indirect=True)
def test_a_process_that_no_runner_started_goes_on(run, worker):
    release(run.paths, run.plan.fingerprint, "run-1")
    time.sleep(2)
    assert worker.poll() is None
