"""The job server's process, with fakes of `java`: one ends, one is silent, one listens."""

import os
import signal
import sys

import grpc
import pytest
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc

from l3core.errors import RunError
from launch.flink import job_server as module
from launch.flink.jars import JobServerJar
from launch.flink.job_server import LOCAL, job_server
from tests.processes import listens, wait_for_end, wait_until

JAR = JobServerJar("/no/job-server.jar", "1.19", "given")
VERSION = """#!/bin/sh
if [ "$1" = -version ]; then echo 'openjdk version "17.0.15"' >&2; exit; fi
"""
LISTENS = """
import pathlib, os, socket, sys, time
options = dict(text.partition("=")[::2] for text in sys.argv[2:])
server = socket.create_server(("localhost", int(options["--job-port"])))
pathlib.Path(sys.argv[1]).write_text("\\n".join([str(os.getpid()), *sys.argv[2:]]))
time.sleep(100)
"""


@pytest.fixture
def java(tmp_path, monkeypatch):
    """Makes a `java` of a shell script."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))

    def make(script):
        (tmp_path / "bin/java").write_text(VERSION + script)
        (tmp_path / "bin/java").chmod(0o755)

    return make


def refused():
    with pytest.raises(RunError) as caught, job_server(JAR, LOCAL):
        raise AssertionError("it has not started")
    return str(caught.value)


def test_one_that_ends_says_why(java):
    java("echo 'Error: Unable to access jarfile'; echo again >&2; exit 1")
    assert refused() == "the job server ended: Error: Unable to access jarfile | again"


def test_one_that_ends_without_a_word(java):
    java("exit 1")
    assert refused() == "the job server ended: without a word"


def test_one_that_does_not_begin_to_listen(java, monkeypatch):
    monkeypatch.setattr(module, "STARTS_WITHIN_S", 2.0)
    java("echo hello; exec sleep 100")
    assert refused() == "the job server did not start within 2 s: hello"


def test_it_lives_as_long_as_the_block(java, tmp_path):
    (tmp_path / "listens.py").write_text(LISTENS)
    java(f'exec {sys.executable} {tmp_path}/listens.py {tmp_path}/said "$@"')
    with job_server(JAR, "http://localhost:8081") as endpoint:
        port = int(endpoint.removeprefix("localhost:"))
        wait_until((tmp_path / "said").exists)
        pid, *arguments = (tmp_path / "said").read_text().splitlines()
    assert not listens(port)
    wait_for_end([int(pid)], within_s=1)
    assert arguments[arguments.index("-jar") + 1] == "/no/job-server.jar"
    assert "--flink-master=http://localhost:8081" in arguments


def ask(endpoint):
    with grpc.insecure_channel(endpoint) as channel:
        stub = beam_job_api_pb2_grpc.JobServiceStub(channel)
        stub.GetState(beam_job_api_pb2.GetJobStateRequest(job_id="x"), timeout=5)


def ask_one_that_is_killed(said):
    with job_server(JAR, LOCAL) as endpoint:
        wait_until(said.exists)
        os.kill(int(said.read_text().split()[0]), signal.SIGKILL)
        wait_until(lambda: not listens(int(endpoint.removeprefix("localhost:"))))
        ask(endpoint)


def test_one_that_ends_in_the_middle_is_a_line(java, tmp_path):
    (tmp_path / "listens.py").write_text(LISTENS)
    lines = "for n in 1 2 3 4; do echo line $n; done"
    java(f'{lines}; {sys.executable} {tmp_path}/listens.py {tmp_path}/said "$@"')
    with pytest.raises(RunError, match=r"^the job server ended: line [23] .*line 4.*$"):
        ask_one_that_is_killed(tmp_path / "said")


def test_one_that_does_not_answer_as_beam_expects_is_a_line(java, tmp_path):
    (tmp_path / "listens.py").write_text(LISTENS)
    java(f'exec {sys.executable} {tmp_path}/listens.py {tmp_path}/said "$@"')
    with (
        pytest.raises(RunError, match=r"^the job server: [^\n>]*[Dd]eadline[^\n]*$"),
        job_server(JAR, LOCAL) as endpoint,
    ):
        ask(endpoint)
