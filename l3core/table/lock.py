"""One run at a time on a partition: a courtesy that keeps two runs from doing the same work.

What keeps a table right is the journal (`l3core.table.state`): of two runs that commit, the later one
loses. The lock only tells it so before it has computed anything. Its age is that of the object in the
store, told by the store's own clock.
"""

import json
import math
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from shlex import quote
from typing import Any, Literal

from l3core import storage
from l3core.errors import BusyError, UsageError
from l3core.table.layout import TablePaths

# A run renews its lock every half minute; one that has not for so long is dead.
LEASE_S = 600.0
RENEW_EVERY_S = 30.0

# A job that goes on without the process that submitted it, and what its cluster says of it: `absent`
# where it knows no such job, `unknown` where it does not answer.
Job = dict[str, str]
JobState = Literal["running", "ended", "absent", "unknown"]
Ask = Callable[[Job], JobState]

_held: set[str] = set()  # by runs of this process
_renewed: dict[str, float] = {}  # lock -> when this process last renewed it


class Holding:
    """A lock that is held by a block of code."""

    def __init__(self) -> None:
        self.left = False

    def leave(self) -> None:
        """Do not give the lock back at the block's end: the run's job goes on, and its commit will."""
        self.left = True


@contextmanager
def holding(
    paths: TablePaths, fingerprint: str, run_id: str, *, job: Job | None = None, ask: Ask | None = None
) -> Iterator[Holding]:
    """Have the lock while the block runs, taking it over from a run that is dead.

    Args:
        paths: of the table.
        fingerprint: of the spec.
        run_id: of the run.
        job: that will do the run's work elsewhere.
        ask: says how the job of another run is.

    Raises:
        BusyError: another run has it and may be alive.
    """
    done = threading.Event()
    held = Holding()
    try:
        acquire(paths, fingerprint, run_id, job=job, ask=ask)
        beat = threading.Thread(target=_keep, args=(paths, fingerprint, run_id, done), daemon=True)
        beat.start()
        yield held
    finally:
        done.set()
        if held.left:
            _held.discard(run_id)
        else:
            with suppress(OSError):  # what cannot be given back ends with its lease
                release(paths, fingerprint, run_id)


def acquire(
    paths: TablePaths, fingerprint: str, run_id: str, *, job: Job | None = None, ask: Ask | None = None
) -> None:
    """Take the lock, or over from a run that is dead; arguments as of `holding`.

    Raises:
        BusyError: another run has it and may be alive.
    """
    uri = paths.lock(fingerprint)
    content = _content(run_id, job)
    _held.add(run_id)  # before: others may see the lock while its answer is on the way
    try:
        if not storage.create(uri, content):
            refuse_if_busy(paths, fingerprint, run_id, ask)
            storage.write_bytes(uri, content)
    except BaseException:
        _held.discard(run_id)
        raise


def refuse_if_busy(paths: TablePaths, fingerprint: str, run_id: str, ask: Ask | None = None) -> None:
    """Raise BusyError if another run has the lock and may be alive."""
    owner = _read(paths.lock(fingerprint))
    if owner is None or owner["run_id"] == run_id:
        return
    age_s = _age_s(paths, fingerprint, run_id)
    if _may_be_alive(owner, age_s, ask):
        until = datetime.now(timezone.utc) + timedelta(seconds=max(0, LEASE_S - age_s))
        job = owner.get("job")
        process = f"process {owner['pid']} on {owner['host']}"
        where = f"job {job['name']} at {job['master']}" if job else process
        # whatever a lock says, what is printed can be pasted into a shell
        command = f"l3flow runs --table {quote(paths.root)} --job {quote(owner['run_id'])}"
        follow = f" ({command})" if job else ""
        raise BusyError(
            f"run {owner['run_id']} ({where}) is working on this table and spec; wait for it{follow}, "
            f"or until {until:%H:%M} UTC if that {'cluster' if job else 'machine'} is gone"
        )


def owns(paths: TablePaths, fingerprint: str, run_id: str) -> bool:
    """Whether the lock is there, and a run's."""
    owner = _read(paths.lock(fingerprint))
    return owner is not None and owner["run_id"] == run_id


def is_held(paths: TablePaths, fingerprint: str, run_id: str, ask: Ask | None = None) -> bool:
    """Whether a run has the lock and may be alive."""
    owner = _read(paths.lock(fingerprint))
    if owner is None or owner["run_id"] != run_id:
        return False
    return _may_be_alive(owner, _age_s(paths, fingerprint, run_id), ask)


def renew(paths: TablePaths, fingerprint: str, run_id: str) -> None:
    """Say that the run is alive; does nothing if the lock is another's by now."""
    uri = paths.lock(fingerprint)
    _renewed[uri] = time.monotonic()
    owner = _read(uri)
    if owner is not None and owner["run_id"] == run_id:
        storage.write_bytes(uri, json.dumps(owner).encode())


def keep_renewed(paths: TablePaths, fingerprint: str, run_id: str) -> None:
    """`renew`, but not more often than `RENEW_EVERY_S`: for what is done many times a minute."""
    if time.monotonic() - _renewed.get(paths.lock(fingerprint), -math.inf) >= RENEW_EVERY_S:
        renew(paths, fingerprint, run_id)


def release(paths: TablePaths, fingerprint: str, run_id: str) -> None:
    """Give the lock back; does nothing if it is another's by now."""
    _held.discard(run_id)
    owner = _read(paths.lock(fingerprint))
    if owner is not None and owner["run_id"] == run_id:
        storage.remove(paths.lock(fingerprint))


def lost_to(paths: TablePaths, fingerprint: str, run_id: str) -> str | None:
    """The run that has taken the lock over from this one; None if none has."""
    owner = _read(paths.lock(fingerprint))
    return None if owner is None or owner["run_id"] == run_id else owner["run_id"]


def jobs_of(paths: TablePaths) -> list[tuple[str, Job]]:
    """(run, its job) of each lock whose run has one."""
    found = []
    for name in storage.names_below(paths.locks, suffix=".json"):
        owner = _read(storage.join(paths.locks, name))
        if owner is not None and "job" in owner:
            found.append((owner["run_id"], owner["job"]))
    return found


def owners(paths: TablePaths) -> dict[str, str]:
    """Fingerprint -> the run that has its lock, dead or alive."""
    found = {}
    for name in storage.names_below(paths.locks, suffix=".json"):
        owner = _read(storage.join(paths.locks, name))
        if owner is not None:
            found[name.removesuffix(".json")] = owner["run_id"]
    return found


def _keep(paths: TablePaths, fingerprint: str, run_id: str, done: threading.Event) -> None:
    while not done.wait(RENEW_EVERY_S):
        try:
            renew(paths, fingerprint, run_id)
        except (OSError, UsageError):  # what may pass; the lease is many beats long
            continue


def _read(uri: str) -> dict[str, Any] | None:
    """A lock's content; None if there is none, it is just being written, or it is none of ours."""
    try:
        owner = json.loads(storage.read_bytes(uri))
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    return owner if isinstance(owner, dict) and _is_lock(owner) else None


def _is_lock(owner: dict[str, Any]) -> bool:
    texts = [owner.get("run_id"), owner.get("host")]
    if "job" in owner:
        job = owner["job"] if isinstance(owner["job"], dict) else {}
        texts += [job.get("name"), job.get("master")]
    pid = owner.get("pid")
    return all(isinstance(text, str) for text in texts) and type(pid) is int and 0 < pid < 2**31


def _content(run_id: str, job: Job | None) -> bytes:
    owner: dict[str, Any] = {"run_id": run_id, "host": socket.gethostname(), "pid": os.getpid()}
    return json.dumps(owner | ({"job": job} if job else {})).encode()


def _age_s(paths: TablePaths, fingerprint: str, run_id: str) -> float:
    """Seconds since the lock was renewed, by the clock of the store."""
    probe = storage.join(paths.locks, f"{fingerprint}.{run_id}.probe")
    storage.write_bytes(probe, b"")
    try:
        return storage.modified_s(probe) - storage.modified_s(paths.lock(fingerprint))
    except FileNotFoundError:  # given back in this moment
        return LEASE_S + 1
    finally:
        storage.remove(probe)


def _may_be_alive(owner: dict[str, Any], age_s: float, ask: Ask | None) -> bool:
    if owner["run_id"] in _held:
        return True
    if job := owner.get("job"):
        state = ask(job) if ask else "unknown"
        if state in ("running", "ended"):
            return state == "running"
        if state == "unknown":  # its workers keep the lock young
            return age_s <= LEASE_S
    if age_s > LEASE_S:
        return False
    if owner["host"] != socket.gethostname():
        return True
    if owner["pid"] == os.getpid():  # in a container every run may be process 1
        return False
    try:
        os.kill(owner["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's process
        return True
    return True
