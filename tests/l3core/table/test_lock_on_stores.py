"""The lock on object stores: what one machine sees of another is what the store says, by its clock."""

import json
import threading
import time
from functools import partial

import pytest

from l3core import storage
from l3core.errors import BusyError
from l3core.table import lock
from l3core.table.layout import TablePaths
from l3core.table.lock import acquire, holding, lost_to, owners, release, renew
from tests.changes import processes_that_acquire

RUNS = [f"run-{number}" for number in range(6)]


@pytest.fixture
def paths(bucket):
    return TablePaths(f"{bucket}/table")


def owner(paths):
    return json.loads(storage.read_bytes(paths.lock("s1")))["run_id"]


def held_elsewhere(paths, run_id="other"):
    content = {"run_id": run_id, "host": "elsewhere", "pid": 1}
    storage.write_bytes(paths.lock("s1"), json.dumps(content).encode())


def at_once(actions):
    """Call functions by threads that begin together; what each returned or raised."""
    start, results = threading.Barrier(len(actions)), [None] * len(actions)

    def call(place, action):
        start.wait()
        try:
            results[place] = action()
        except BusyError as error:
            results[place] = error

    threads = [threading.Thread(target=call, args=each) for each in enumerate(actions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def acquired(results):
    return [run_id for run_id, result in zip(RUNS, results) if result is None]


def test_of_several_threads_at_once_one_wins(paths):
    for _ in range(3):
        (winner,) = acquired(at_once([partial(acquire, paths, "s1", run_id) for run_id in RUNS]))
        assert owners(paths) == {"s1": winner}
        release(paths, "s1", winner)
        assert owners(paths) == {}


def test_a_run_is_alive_while_the_answer_is_on_its_way(store):
    emulator, bucket = store
    paths = TablePaths(bucket)
    emulator.fault("^(POST|PUT)", times=1, then=partial(time.sleep, 0.5))
    (winner,) = acquired(at_once([partial(acquire, paths, "s1", run_id) for run_id in RUNS]))
    assert owners(paths) == {"s1": winner}
    release(paths, "s1", winner)


def test_of_several_processes_at_once_one_wins(paths):
    (winner,) = processes_that_acquire(paths, "s1", RUNS)
    assert owner(paths) == winner
    with holding(paths, "s1", "run-9"):  # it has ended since
        assert owner(paths) == "run-9"


def test_of_several_that_take_over_all_but_one_learn_that_they_lost(paths, monkeypatch):
    """Nobody can take over in one step with looking: whoever wrote last has it, and the others know."""
    held_elsewhere(paths)
    monkeypatch.setattr(lock, "LEASE_S", -1.0)
    winners = acquired(at_once([partial(acquire, paths, "s1", run_id) for run_id in RUNS]))
    assert owner(paths) in winners
    for run_id in RUNS:
        has_it = run_id == owner(paths)
        assert lost_to(paths, "s1", run_id) == (None if has_it else owner(paths))
        if not has_it:
            release(paths, "s1", run_id)  # and leave it alone
    release(paths, "s1", owner(paths))
    assert owners(paths) == {}


def test_a_lease_is_timed_by_the_clock_of_the_store(gcs, s3, monkeypatch):
    tables = [TablePaths(emulator.make_bucket("lease")) for emulator in (gcs, s3)]
    monkeypatch.setattr(lock, "LEASE_S", 2.0)  # S3 tells whole seconds
    for paths in tables:
        held_elsewhere(paths)
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda: 1e12)
            with pytest.raises(BusyError, match="process 1 on elsewhere"):
                acquire(paths, "s1", "run-1")
    time.sleep(3.1)
    for paths in tables:
        renew(paths, "s1", "other")
        with pytest.raises(BusyError):
            acquire(paths, "s1", "run-1")
    time.sleep(3.1)
    for paths in tables:
        acquire(paths, "s1", "run-1")
        renew(paths, "s1", "other")
        release(paths, "s1", "other")
        assert owner(paths) == "run-1"
        assert storage.names_below(paths.locks, suffix="") == ["s1.json"]
    release(tables[0], "s1", "run-1")


@pytest.mark.usefixtures("impatient")
def test_a_lost_answer_is_no_other_run(store):
    emulator, bucket = store
    paths = TablePaths(bucket)
    lost = emulator.fault("^(POST|PUT|DELETE)", each=True, times=1, lost=True)
    with holding(paths, "s1", "run-1"):
        assert owner(paths) == "run-1"
    assert owners(paths) == {}
    assert lost.hits >= 2  # created, seen to be its own and written again, removed
