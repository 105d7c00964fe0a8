"""`l3flow-pool PORT`: starts Python workers for TaskManagers that ask for them (EXTERNAL environments).

Beam's own pool knows its workers by the id that a TaskManager gives them, and two TaskManagers give the
same ones: where they share a pool, the first that has finished ends the other's worker, and the job
starts again without end (measured with Beam 2.77). Here a worker ends when its TaskManager closes its
control stream, or with the pool.
"""

import signal
import socket
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from apache_beam.portability.api import beam_fn_api_pb2 as fn_api
from apache_beam.portability.api import beam_fn_api_pb2_grpc as fn_api_grpc

HARNESS = "l3flow-harness"
ENDS_WITHIN_S = 5.0
MOST_PORT = 65535


class WorkerPool(fn_api_grpc.BeamFnExternalWorkerPoolServicer):
    """Starts a process for each worker.

    Args:
        harness: path of the boot program (`pipelines.harness`).
    """

    def __init__(self, harness: str) -> None:
        self._harness = harness
        self._workers: list[subprocess.Popen[bytes]] = []
        self._closed = False
        self._lock = threading.Lock()

    def StartWorker(self, request: Any, context: Any) -> Any:  # noqa: N802 (Beam's name)
        """Start a worker that serves the TaskManager which asks."""
        command = [
            self._harness,
            f"--id={request.worker_id}",
            f"--control_endpoint={request.control_endpoint.url}",
            f"--logging_endpoint={request.logging_endpoint.url}",
            f"--provision_endpoint={request.provision_endpoint.url}",
        ]
        with self._lock:
            if self._closed:
                return fn_api.StartWorkerResponse(error="the worker pool is being stopped")
            try:
                worker = subprocess.Popen(command, stdin=subprocess.DEVNULL)
            except OSError as error:
                return fn_api.StartWorkerResponse(error=f"{self._harness} cannot be started: {error}")
            self._workers = [each for each in self._workers if each.poll() is None] + [worker]
        return fn_api.StartWorkerResponse()

    def StopWorker(self, request: Any, context: Any) -> Any:  # noqa: N802 (Beam's name)
        """Nothing: the worker ends by itself, and its id may be another's, too."""
        return fn_api.StopWorkerResponse()

    def close(self) -> None:
        """End all workers, and start no more."""
        with self._lock:
            self._closed = True
            for worker in self._workers:
                worker.terminate()
            for worker in self._workers:
                try:
                    worker.wait(ENDS_WITHIN_S)
                except subprocess.TimeoutExpired:
                    worker.kill()


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    given = sys.argv[1:] if argv is None else argv
    if len(given) != 1 or not given[0].isdecimal() or not 0 < int(given[0]) <= MOST_PORT:
        sys.exit("l3flow-pool: needs the port to listen at, as l3flow-pool 50000")
    serve(WorkerPool(str(Path(sysconfig.get_path("scripts")) / HARNESS)), int(given[0]))


def serve(pool: WorkerPool, port: int) -> None:
    """Serve at a port of this machine until SIGTERM or Ctrl-C, which end the workers, too.

    Who reaches a pool has it run what he likes: it is for TaskManagers of its own machine, or pod.
    """
    _refuse_taken(port)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    server = grpc.server(ThreadPoolExecutor(), options=[("grpc.so_reuseport", 0)])
    fn_api_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
    server.add_insecure_port(f"localhost:{port}")
    server.start()
    stop.wait()
    server.stop(grace=None)
    pool.close()


def _refuse_taken(port: int) -> None:
    """Say in a line what gRPC would say in five."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("localhost", port))
        except OSError as error:
            sys.exit(f"l3flow-pool: cannot listen at port {port}: {error.strerror}")
