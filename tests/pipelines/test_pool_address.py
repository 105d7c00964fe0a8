"""Who can reach `l3flow-pool`: it runs whatever those ask for who can."""

import socket
import subprocess
import sys
import time

import pytest

from launch.flink.job_server import free_port


def reaches(host, port):
    with socket.socket() as probe:
        probe.settimeout(5)
        return probe.connect_ex((host, port)) == 0


@pytest.fixture
def pool():
    """The port of a worker pool that serves."""
    port = free_port()
    command = "from pipelines.pool import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", command, str(port)], stderr=subprocess.DEVNULL
    )
    until = time.monotonic() + 60
    while not reaches("localhost", port):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.1)
    yield port
    process.terminate()
    assert process.wait(20) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere 127.0.0.2 is no address of the machine")
def test_a_pool_serves_its_own_machine_only(pool):
    """127.0.0.2 stands for any other address of the machine."""
    with socket.socket() as everywhere:
        everywhere.bind(("0.0.0.0", 0))
        everywhere.listen()
        assert reaches("127.0.0.2", everywhere.getsockname()[1])
    assert not reaches("127.0.0.2", pool)
