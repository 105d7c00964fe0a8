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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from typing import Any

from l3core import storage
from l3core.errors import BusyError, UsageError
from l3core.table.layout import TablePaths

# A run renews its lock every half minute; one that has not for so long is dead.
LEASE_S = 600.0
RENEW_EVERY_S = 30.0

_held: set[str] = set()  # by runs of this process
_renewed: dict[str, float] = {}  # lock -> when this process last renewed it


@contextmanager
def holding(paths: TablePaths, fingerprint: str, run_id: str) -> Iterator[None]:
    """Have the lock while the block runs, taking it over from a run that is dead.

    Raises:
        BusyError: another run has it and may be alive.
    """
    done = threading.Event()
    try:
        acquire(paths, fingerprint, run_id)
        beat = threading.Thread(target=_keep, args=(paths, fingerprint, run_id, done), daemon=True)
        beat.start()
        yield
    finally:
        done.set()
        with suppress(OSError):  # what cannot be given back ends with its lease
            release(paths, fingerprint, run_id)


def acquire(paths: TablePaths, fingerprint: str, run_id: str) -> None:
    """Take the lock, or over from a run that is dead.

    Raises:
        BusyError: another run has it and may be alive.
    """
    uri = paths.lock(fingerprint)
    content = _content(run_id)
    _held.add(run_id)  # before: others may see the lock while its answer is on the way
    try:
        if not storage.create(uri, content):
            refuse_if_busy(paths, fingerprint, run_id)
            storage.write_bytes(uri, content)
    except BaseException:
        _held.discard(run_id)
        raise


def refuse_if_busy(paths: TablePaths, fingerprint: str, run_id: str) -> None:
    """Raise BusyError if another run has the lock and may be alive."""
    owner = _read(paths.lock(fingerprint))
    if owner is None or owner["run_id"] == run_id:
        return
    age_s = _age_s(paths, fingerprint, run_id)
    if _may_be_alive(owner, age_s):
        until = datetime.now(timezone.utc) + timedelta(seconds=LEASE_S - age_s)
        raise BusyError(
            f"run {owner['run_id']} (process {owner['pid']} on {owner['host']}) is working on this "
            f"table and spec; wait for it, or until {until:%H:%M} UTC if that machine is gone"
        )


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
    """A lock's content; None if there is none, or it is just being written."""
    try:
        return json.loads(storage.read_bytes(uri))
    except (FileNotFoundError, ValueError):
        return None


def _content(run_id: str) -> bytes:
    owner = {"run_id": run_id, "host": socket.gethostname(), "pid": os.getpid()}
    return json.dumps(owner).encode()


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


def _may_be_alive(owner: dict[str, Any], age_s: float) -> bool:
    if owner["run_id"] in _held:
        return True
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
