"""Waiting for what other processes do, and whether they are there."""

import socket
import subprocess
import time
from contextlib import contextmanager


def wait_until(condition, within_s=30.0):
    """Wait for a condition and return what it gave; too late is an error."""
    until = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < until, f"still not so after {within_s} s"
        time.sleep(0.05)
    return found


def listens(port):
    """Whether somebody listens at a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("localhost", port)) == 0


def alive(pid):
    """Whether a process runs."""
    said = subprocess.run(["ps", "-o", "state=", "-p", str(pid)], capture_output=True, text=True)
    return said.stdout.strip()[:1] not in ("", "Z")


def wait_for_end(pids, within_s=20.0):
    """Wait until none of some processes runs."""
    wait_until(lambda: not any(map(alive, pids)), within_s)


@contextmanager
def killed_at_end(process):
    """A process whose output is piped, which is killed when the block ends."""
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
