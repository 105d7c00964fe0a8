"""Beam's job server for Flink as a process of this run."""

import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import grpc

from l3core.errors import RunError
from launch.flink import guarded
from launch.flink.jars import JobServerJar
from launch.flink.java import ADD_OPENS, find_java

_LOGGER = logging.getLogger(__name__)

STARTS_WITHIN_S = 60.0
STOPS_WITHIN_S = 10.0
ENDS_WITHIN_S = 1.0
LINES = 3  # of its log that an error shows
LOCAL = "[local]"  # Flink's name for a mini cluster inside the job server
HEAP = "-Xmx512m"


@contextmanager
def job_server(jar: JobServerJar, master: str) -> Iterator[str]:
    """Run a job server while the block does; it ends with this process, however that ends.

    Args:
        jar: of the job server.
        master: URL of a cluster's REST interface, or `LOCAL`.

    Yields:
        Its endpoint, as host:port.

    Raises:
        RunError: it does not start.
    """
    with tempfile.TemporaryDirectory(prefix="l3flow-flink-") as folder:
        log = Path(folder) / "job-server.log"
        port = free_port()
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-I", guarded.__file__, *_command(jar, master, port, folder)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us: the job is stopped first
            )
        try:
            _wait_for(process, port, log)
            yield f"localhost:{port}"
        except grpc.RpcError as error:  # of Beam, in many lines
            with suppress(subprocess.TimeoutExpired):  # its guard ends a moment after it
                process.wait(ENDS_WITHIN_S)
            if process.poll() is not None:
                raise RunError(f"the job server ended: {_said(log)}") from error
            raise RunError(f"the job server: {' '.join(error.details().split())}") from error
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(STOPS_WITHIN_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # the guard, and Java
                process.wait()
            _LOGGER.info("what the job server said:\n%s", log.read_text(errors="replace"))


def free_port() -> int:
    """A port of this machine that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port: int = probe.getsockname()[1]
        return port


def _command(jar: JobServerJar, master: str, port: int, folder: str) -> list[str]:
    java = [find_java(), HEAP, *ADD_OPENS, f"-Djava.io.tmpdir={folder}", "-jar", str(jar.path)]
    return [
        *java,
        f"--flink-master={master}",
        f"--artifacts-dir={folder}/artifacts",
        f"--job-port={port}",
        "--artifact-port=0",
        "--expansion-port=0",
    ]


def _wait_for(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    until = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RunError(f"the job server ended: {_said(log)}")
        with socket.socket() as probe:
            if probe.connect_ex(("localhost", port)) == 0:
                return
        time.sleep(0.1)
    raise RunError(f"the job server did not start within {STARTS_WITHIN_S:.0f} s: {_said(log)}")


def _said(log: Path) -> str:
    """The end of what it said; --log-file has all of it."""
    lines = log.read_text(errors="replace").strip().splitlines()
    return " | ".join(lines[-LINES:]) if lines else "without a word"
