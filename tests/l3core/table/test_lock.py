"""The lock: one live run at a time, and dead ones do not stand in the way."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from l3core import storage
from l3core.errors import BusyError
from l3core.table import lock
from l3core.table.layout import TablePaths
from l3core.table.lock import LEASE_S, acquire, holding, jobs_of, lost_to, owners, release, renew


@pytest.fixture
def paths(tmp_path):
    return TablePaths(str(tmp_path / "table"))


def owner(paths, spec="s1"):
    return json.loads(storage.read_bytes(paths.lock(spec)))


def held_by(paths, *, pid, host=None, age_s=0.0, run_id="other"):
    """The lock of another run."""
    content = {"run_id": run_id, "host": host or socket.gethostname(), "pid": pid}
    storage.write_bytes(paths.lock("s1"), json.dumps(content).encode())
    when = time.time() - age_s
    os.utime(paths.lock("s1"), (when, when))


def age_s(paths):
    return time.time() - os.stat(paths.lock("s1")).st_mtime


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
    assert [path.name for path in Path(paths.locks).iterdir()] == ["s1.json"]
    release(paths, "s1", "run-1")
    assert not storage.exists(paths.lock("s1"))
    release(paths, "s1", "run-1")  # again is fine


def test_a_living_run_keeps_it(paths, living):
    held_by(paths, pid=living)
    with pytest.raises(BusyError) as caught:
        acquire(paths, "s1", "run-1")
    end = datetime.now(timezone.utc) + timedelta(seconds=LEASE_S)
    minutes = {f"{when:%H:%M} UTC" for when in (end, end - timedelta(seconds=20))}
    assert f"run other (process {living} on {socket.gethostname()})" in str(caught.value)
    assert any(minute in str(caught.value) for minute in minutes)
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
    held_by(paths, pid=1, host="elsewhere", age_s=age)
    if lost:
        acquire(paths, "s1", "run-1")
    else:
        with pytest.raises(BusyError, match="process 1 on elsewhere"):
            acquire(paths, "s1", "run-1")
    assert [path.name for path in Path(paths.locks).iterdir()] == ["s1.json"]
    assert owner(paths)["run_id"] == ("run-1" if lost else "other")


def test_a_lease_ends_for_a_living_process_too(paths, living):
    held_by(paths, pid=living, age_s=LEASE_S + 1)
    acquire(paths, "s1", "run-1")
    assert owner(paths)["run_id"] == "run-1"


def test_the_clock_is_the_stores(paths, monkeypatch):
    """A machine whose clock is hours off neither loses its lock nor takes another's."""
    held_by(paths, pid=1, host="elsewhere", age_s=LEASE_S - 60)
    monkeypatch.setattr(time, "time", lambda: 1e12)
    with pytest.raises(BusyError):
        acquire(paths, "s1", "run-1")


def test_two_runs_of_one_process(paths):
    with holding(paths, "s1", "run-1"):
        with pytest.raises(BusyError, match=f"run run-1 .process {os.getpid()} "):
            acquire(paths, "s1", "run-2")
        assert owners(paths) == {"s1": "run-1"}
    with holding(paths, "s1", "run-2"):
        assert owner(paths)["run_id"] == "run-2"
    assert owners(paths) == {}


def test_it_is_renewed_while_it_is_held(paths, monkeypatch):
    monkeypatch.setattr(lock, "RENEW_EVERY_S", 0.02)
    with holding(paths, "s1", "run-1"):
        os.utime(paths.lock("s1"), (0, 0))
        deadline = time.monotonic() + 30
        while age_s(paths) > 100:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert not storage.exists(paths.lock("s1"))


def test_renewing(paths):
    held_by(paths, pid=7, age_s=500, run_id="run-1")
    renew(paths, "s1", "run-1")
    assert age_s(paths) < 10
    assert owner(paths)["pid"] == 7  # a worker renews for the launcher


def test_the_lock_of_another_run_is_left_alone(paths):
    held_by(paths, pid=7, age_s=500)
    renew(paths, "s1", "run-1")
    release(paths, "s1", "run-1")
    assert owner(paths) == {"run_id": "other", "host": socket.gethostname(), "pid": 7}
    assert age_s(paths) > 400


def test_a_run_knows_that_it_has_lost_its_lock(paths):
    assert lost_to(paths, "s1", "run-1") is None  # nobody has it: the journal decides
    held_by(paths, pid=7, run_id="run-1")
    assert lost_to(paths, "s1", "run-1") is None
    held_by(paths, pid=7)
    assert lost_to(paths, "s1", "run-1") == "other"


def test_renewing_what_is_gone_makes_nothing(paths):
    renew(paths, "s1", "run-1")
    assert not storage.exists(paths.lock("s1"))


JOB = {"runner": "flink", "master": "http://localhost:8081", "name": "l3flow-other"}


def held_by_job(paths, *, pid=1, host="elsewhere", age_s=0.0):
    """The lock of a run whose job does its work."""
    held_by(paths, pid=pid, host=host, run_id="other")
    content = owner(paths) | {"job": JOB}
    storage.write_bytes(paths.lock("s1"), json.dumps(content).encode())
    when = time.time() - age_s
    os.utime(paths.lock("s1"), (when, when))


def told(state):
    """What asks for a job and is told so; holds that it is asked for the right one."""

    def ask(job):
        assert job == JOB
        return state

    return ask


def test_a_job_is_told_with_its_run(paths):
    with holding(paths, "s1", "run-1", job=JOB):
        assert owner(paths)["job"] == JOB
        assert jobs_of(paths) == [("run-1", JOB)]
        renew(paths, "s1", "run-1")
        assert jobs_of(paths) == [("run-1", JOB)]
    assert jobs_of(paths) == []


def test_runs_without_a_job_have_none(paths):
    acquire(paths, "s1", "run-1")
    acquire(paths, "s2", "run-2", job=JOB)
    assert "job" not in owner(paths)
    assert jobs_of(paths) == [("run-2", JOB)]


@pytest.mark.parametrize("age", [0, LEASE_S + 1800])
def test_a_job_that_runs_keeps_the_lock(paths, dead, age):
    """However old: it may be waiting for a slot, and nothing renews it."""
    held_by_job(paths, pid=dead, host=socket.gethostname(), age_s=age)
    earliest = f"{datetime.now(timezone.utc):%H:%M}"
    with pytest.raises(
        BusyError, match=r"run other \(job l3flow-other at http://localhost:8081\)"
    ) as caught:
        acquire(paths, "s1", "run-1", ask=told("running"))
    until = re.search(r"or until (..:..) UTC if that cluster is gone", str(caught.value))[1]
    assert until >= earliest or until < "00:12"  # not before now, midnight aside
    assert owner(paths)["run_id"] == "other"


def test_a_job_that_has_ended_loses_it_at_once(paths, living):
    """A process that follows it says nothing: the job was the run."""
    held_by_job(paths, pid=living, host=socket.gethostname())
    acquire(paths, "s1", "run-1", ask=told("ended"))
    assert owner(paths)["run_id"] == "run-1"


@pytest.mark.parametrize("ask", [told("unknown"), None])
@pytest.mark.parametrize(("age", "lost"), [(0, False), (LEASE_S - 60, False), (LEASE_S + 1, True)])
def test_a_job_that_nobody_can_ask_for_loses_it_with_its_lease(paths, dead, ask, age, lost):
    """Though the process that submitted it is dead: its workers keep the lock young."""
    held_by_job(paths, pid=dead, host=socket.gethostname(), age_s=age)
    if lost:
        acquire(paths, "s1", "run-1", ask=ask)
    else:
        with pytest.raises(BusyError, match="job l3flow-other"):
            acquire(paths, "s1", "run-1", ask=ask)
    assert owner(paths)["run_id"] == ("run-1" if lost else "other")


def test_a_job_that_is_not_there_yet_is_its_process(paths, living):
    """It is planned, and not submitted."""
    held_by_job(paths, pid=living, host=socket.gethostname())
    with pytest.raises(BusyError):
        acquire(paths, "s1", "run-1", ask=told("absent"))


def test_a_job_that_will_never_be_there(paths, dead):
    held_by_job(paths, pid=dead, host=socket.gethostname())
    acquire(paths, "s1", "run-1", ask=told("absent"))
    assert owner(paths)["run_id"] == "run-1"


def test_an_absent_job_of_another_machine_has_its_lease(paths):
    held_by_job(paths, age_s=LEASE_S - 60)
    with pytest.raises(BusyError):
        acquire(paths, "s1", "run-1", ask=told("absent"))
    held_by_job(paths, age_s=LEASE_S + 1)
    acquire(paths, "s1", "run-1", ask=told("absent"))


def test_runs_without_a_job_are_not_asked_for(paths, living):
    held_by(paths, pid=living)
    with pytest.raises(BusyError):
        acquire(paths, "s1", "run-1", ask=told("ended"))


def test_a_lock_that_is_left_is_the_jobs(paths):
    with holding(paths, "s1", "run-1", job=JOB) as held:
        held.leave()
    assert jobs_of(paths) == [("run-1", JOB)]
    # this process is no run any more: what it has submitted says how it is
    with pytest.raises(BusyError):
        acquire(paths, "s1", "run-2", ask=told("running"))
    acquire(paths, "s1", "run-2", ask=told("ended"))
    assert owners(paths) == {"s1": "run-2"}


def test_a_lock_that_is_left_is_not_renewed_from_here(paths, monkeypatch):
    monkeypatch.setattr(lock, "RENEW_EVERY_S", 0.02)
    with holding(paths, "s1", "run-1", job=JOB) as held:
        held.leave()
    time.sleep(0.1)  # a beat that had begun
    os.utime(paths.lock("s1"), (0, 0))
    time.sleep(0.3)
    assert age_s(paths) > 100


def test_a_block_that_fails_gives_a_jobs_lock_back(paths):
    with pytest.raises(KeyError), holding(paths, "s1", "run-1", job=JOB):
        raise KeyError
    assert not storage.exists(paths.lock("s1"))
