"""The lock: one live run at a time, and dead ones do not stand in the way."""

import json
import os
import socket
import subprocess
import sys
import time
from datetime import datetime, timezone

import pytest

from l3core import storage
from l3core.errors import RunError
from l3core.table.layout import TablePaths
from l3core.table.lock import LEASE_S, acquire, release, renew


@pytest.fixture
def paths(tmp_path):
    return TablePaths(str(tmp_path / "table"))


def owner(paths, spec="s1"):
    return json.loads(storage.read_bytes(paths.lock(spec)))


def held_by(paths, *, pid, host=None, renewed=None, run_id="other"):
    """The lock of another run."""
    content = {
        "run_id": run_id,
        "host": host or socket.gethostname(),
        "pid": pid,
        "renewed": time.time() if renewed is None else renewed,
    }
    storage.write_bytes(paths.lock("s1"), json.dumps(content).encode())


@pytest.fixture
def living():
    """The id of another process that is alive."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process.pid
    process.communicate(b"\n")


@pytest.fixture
def dead():
    """The id of a process that is not alive any more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_taking_and_giving_back(paths):
    acquire(paths, "s1", "run-1")
    held = owner(paths)
    assert (held["run_id"], held["pid"], held["host"]) == ("run-1", os.getpid(), socket.gethostname())
    assert abs(held["renewed"] - time.time()) < 10
    release(paths, "s1", "run-1")
    assert not storage.exists(paths.lock("s1"))
    release(paths, "s1", "run-1")  # again is fine


def test_a_living_run_keeps_it(paths, living):
    held_by(paths, pid=living)
    with pytest.raises(RunError) as caught:
        acquire(paths, "s1", "run-1")
    until = datetime.fromtimestamp(owner(paths)["renewed"] + LEASE_S, timezone.utc)
    assert f"run other (process {living} on {socket.gethostname()})" in str(caught.value)
    assert f"{until:%H:%M} UTC" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert owner(paths)["run_id"] == "other"


def test_locks_of_other_specs_do_not_matter(paths, living):
    held_by(paths, pid=living)
    acquire(paths, "s2", "run-1")
    assert owner(paths, "s2")["run_id"] == "run-1"


def test_a_dead_run_of_this_machine_loses_it_at_once(paths, dead):
    held_by(paths, pid=dead)
    acquire(paths, "s1", "run-1")
    assert owner(paths)["run_id"] == "run-1"


def test_a_run_that_had_the_same_process_id_is_dead(paths):
    held_by(paths, pid=os.getpid())  # in a container every run is process 1
    acquire(paths, "s1", "run-1")
    assert owner(paths)["run_id"] == "run-1"


@pytest.mark.parametrize(("age", "lost"), [(0, False), (LEASE_S - 60, False), (LEASE_S + 1, True)])
def test_a_run_of_another_machine_loses_it_with_its_lease(paths, age, lost):
    held_by(paths, pid=1, host="elsewhere", renewed=time.time() - age)
    if lost:
        acquire(paths, "s1", "run-1")
    else:
        with pytest.raises(RunError, match="process 1 on elsewhere"):
            acquire(paths, "s1", "run-1")
    assert owner(paths)["run_id"] == ("run-1" if lost else "other")


def test_a_lease_ends_for_a_living_process_too(paths, living):
    held_by(paths, pid=living, renewed=time.time() - LEASE_S - 1)
    acquire(paths, "s1", "run-1")
    assert owner(paths)["run_id"] == "run-1"


def test_renewing(paths):
    held_by(paths, pid=7, renewed=1.0, run_id="run-1")
    renew(paths, "s1", "run-1")
    assert owner(paths)["renewed"] == pytest.approx(time.time(), abs=10)
    assert owner(paths)["pid"] == 7  # a worker renews for the launcher


def test_the_lock_of_another_run_is_left_alone(paths):
    held_by(paths, pid=7, renewed=1.0)
    renew(paths, "s1", "run-1")
    release(paths, "s1", "run-1")
    assert owner(paths) == {"run_id": "other", "host": socket.gethostname(), "pid": 7, "renewed": 1.0}


def test_renewing_what_is_gone_makes_nothing(paths):
    renew(paths, "s1", "run-1")
    assert not storage.exists(paths.lock("s1"))
