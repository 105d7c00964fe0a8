"""The worker pool as a process: what it starts for TaskManagers, and that nothing is left behind."""

import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from apache_beam.portability.api import beam_fn_api_pb2 as fn_api
from apache_beam.portability.api import beam_fn_api_pb2_grpc as fn_api_grpc
from apache_beam.portability.api import endpoints_pb2

from launch.flink.job_server import free_port
from pipelines.pool import WorkerPool, main
from tests.processes import alive, listens, wait_for_end, wait_until

REPOSITORY = Path(__file__).parents[2]
# stands for l3flow-harness: says what it was started with, and works on
HARNESS = """#!/bin/sh
echo "$@" > {folder}/$$.tmp
mv {folder}/$$.tmp {folder}/$$.started
exec sleep 60
"""
SERVE = """
import sys
from pipelines.pool import WorkerPool, serve
serve(WorkerPool(sys.argv[1]), int(sys.argv[2]))
"""


@pytest.fixture
def folder(tmp_path):
    """With a harness that leaves a file `PID.started` here."""
    script = tmp_path / "harness"
    script.write_text(HARNESS.format(folder=tmp_path))
    script.chmod(0o755)
    return tmp_path


@contextmanager
def pool_of(harness):
    """(process of a pool, its stub)."""
    port = free_port()
    command = [sys.executable, "-c", SERVE, str(harness), str(port)]
    process = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)
    try:
        with grpc.insecure_channel(f"localhost:{port}") as channel:
            wait_until(lambda: listens(port) or process.poll() is not None)
            assert process.poll() is None, process.stderr.read()
            yield process, fn_api_grpc.BeamFnExternalWorkerPoolStub(channel)
    finally:
        process.terminate()
        process.communicate(timeout=30)


def asked(worker_id, task_manager):
    """A TaskManager's request; each has its own services, and its own count of workers."""

    def service(name):
        return endpoints_pb2.ApiServiceDescriptor(url=f"{task_manager}:{name}")

    return fn_api.StartWorkerRequest(
        worker_id=worker_id,
        control_endpoint=service("control"),
        logging_endpoint=service("logging"),
        provision_endpoint=service("provision"),
    )


def started(folder, count):
    """pid -> arguments of each worker, as soon as there are so many."""
    wait_until(lambda: len(list(folder.glob("*.started"))) >= count)
    return {int(file.stem): file.read_text() for file in folder.glob("*.started")}


def test_a_worker_is_told_whom_it_serves(folder):
    with pool_of(folder / "harness") as (_, stub):
        assert stub.StartWorker(asked("1-1", "tm"), timeout=30).error == ""
        (arguments,) = started(folder, 1).values()
    assert arguments.split() == [
        "--id=1-1",
        "--control_endpoint=tm:control",
        "--logging_endpoint=tm:logging",
        "--provision_endpoint=tm:provision",
    ]


def test_a_task_manager_does_not_end_the_worker_of_another(folder):
    """Both count from 1: in Beam's own pool one that stops its worker stops the other's."""
    with pool_of(folder / "harness") as (_, stub):
        for task_manager in ("tm-a", "tm-b"):
            assert stub.StartWorker(asked("1-1", task_manager), timeout=30).error == ""
        workers = started(folder, 2)
        assert sorted(re.findall("tm-.:control", " ".join(workers.values()))) == [
            "tm-a:control",
            "tm-b:control",
        ]
        assert stub.StopWorker(fn_api.StopWorkerRequest(worker_id="1-1"), timeout=30).error == ""
        time.sleep(1)
        assert all(map(alive, workers))
    wait_for_end(workers)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_its_workers_with_itself(folder, number):
    with pool_of(folder / "harness") as (process, stub):
        for worker in ("1-1", "1-2", "1-3"):
            stub.StartWorker(asked(worker, "tm"), timeout=30)
        workers = started(folder, 3)
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
        assert (process.returncode, own_lines(said)) == (0, [])
        wait_for_end(workers, within_s=1)


def test_it_ends_workers_that_do_not_want_to(folder):
    (folder / "harness").write_text(
        f"#!{sys.executable}\nimport os, pathlib, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"pathlib.Path({str(folder)!r}, f'{{os.getpid()}}.started').touch()\ntime.sleep(60)\n"
    )
    with pool_of(folder / "harness") as (process, stub):
        stub.StartWorker(asked("1-1", "tm"), timeout=30)
        workers = started(folder, 1)
        process.terminate()
        process.communicate(timeout=30)
        wait_for_end(workers, within_s=1)


def test_a_harness_that_is_not_there_is_told_to_the_task_manager(tmp_path):
    with pool_of(tmp_path / "none") as (process, stub):
        answer = stub.StartWorker(asked("1-1", "tm"), timeout=30)
        assert f"{tmp_path}/none cannot be started: " in answer.error
        assert "No such file" in answer.error
        assert process.poll() is None


def test_a_pool_that_ends_starts_no_more(folder):
    pool = WorkerPool(str(folder / "harness"))
    pool.close()
    assert pool.StartWorker(asked("1-1", "tm"), None).error == "the worker pool is being stopped"
    time.sleep(0.5)
    assert not list(folder.glob("*.started"))


def own_lines(said):
    """What was said on standard error, without a word of Beam's on packages that it does not find."""
    return [line for line in said.splitlines() if not line.startswith("WARNING:root:")]


@pytest.mark.parametrize(
    "arguments", [(), ("50000", "50001"), ("--help",), ("-1",), ("0",), ("65536",), ("localhost:50000",)]
)
def test_wrong_arguments_are_one_line(arguments):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == "l3flow-pool: needs the port to listen at, as l3flow-pool 50000"


@pytest.mark.parametrize("address", ["localhost", ""])
def test_a_port_that_is_taken_is_one_line(address):
    with socket.create_server((address, 0)) as taken:
        port = taken.getsockname()[1]
        code = f"from pipelines.pool import main; main(['{port}'])"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=60
        )
    assert done.returncode == 1
    assert own_lines(done.stderr) == [
        f"l3flow-pool: cannot listen at port {port}: Address already in use"
    ]
