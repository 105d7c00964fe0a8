"""One run at a time on a partition: a courtesy that keeps two runs from doing the same work.

What keeps a table right is the journal (`l3core.table.state`): of two runs that commit, the later one
loses. The lock only tells it so before it has computed anything.
"""

import json
import os
import socket
import time
from datetime import datetime, timezone
from typing import Any

from l3core import storage
from l3core.errors import RunError
from l3core.table.layout import TablePaths

# A run renews its lock with every shard that it finishes, and a shard is about ten minutes of work.
LEASE_S = 3600.0


def acquire(paths: TablePaths, fingerprint: str, run_id: str) -> None:
    """Take the lock, or over from a run that is dead.

    Raises:
        RunError: another run has it and may be alive.
    """
    uri = paths.lock(fingerprint)
    content = _content(run_id)
    if storage.create(uri, content):
        return
    try:
        owner = json.loads(storage.read_bytes(uri))
    except FileNotFoundError:  # it ended in this moment
        owner = None
    if owner is not None and _may_be_alive(owner):
        until = datetime.fromtimestamp(owner["renewed"] + LEASE_S, timezone.utc)
        raise RunError(
            f"run {owner['run_id']} (process {owner['pid']} on {owner['host']}) is working on this "
            f"table and spec; wait for it, or until {until:%H:%M} UTC if that machine is gone"
        )
    storage.write_bytes(uri, content)


def renew(paths: TablePaths, fingerprint: str, run_id: str) -> None:
    """Say that the run is alive; does nothing if the lock is another's by now."""
    if owner := _own(paths, fingerprint, run_id):
        content = json.dumps(owner | {"renewed": time.time()}).encode()
        storage.write_bytes(paths.lock(fingerprint), content)


def release(paths: TablePaths, fingerprint: str, run_id: str) -> None:
    """Give the lock back; does nothing if it is another's by now."""
    if _own(paths, fingerprint, run_id):
        storage.remove(paths.lock(fingerprint))


def _own(paths: TablePaths, fingerprint: str, run_id: str) -> dict[str, Any] | None:
    """The lock's content if this run has it."""
    try:
        owner = json.loads(storage.read_bytes(paths.lock(fingerprint)))
    except FileNotFoundError:
        return None
    return owner if owner["run_id"] == run_id else None


def _content(run_id: str) -> bytes:
    owner = {"run_id": run_id, "host": socket.gethostname(), "pid": os.getpid(), "renewed": time.time()}
    return json.dumps(owner).encode()


def _may_be_alive(owner: dict) -> bool:
    if time.time() > owner["renewed"] + LEASE_S:
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
