"""A real Flink on this machine, and commands that run on it."""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from launch.flink.jars import install
from launch.flink.job_server import free_port
from launch.flink.rest import FlinkCluster
from launch.flink.session import Session
from tests.processes import killed_at_end

REPOSITORY = Path(__file__).parents[1]
# A lost TaskManager is noticed soon; a job that cannot succeed has ended soon.
OPTIONS = {
    "heartbeat.interval": "1000",
    "heartbeat.timeout": "8000",
    "restart-strategy.fixed-delay.delay": "1s",
    "restart-strategy.fixed-delay.attempts": "8",
}
# Names of faults (`tests.flink_faults`), and of the variable that says where they are.
VARIABLE = "L3FLOW_TEST_FAULTS"
SLOW, FAILS_ONCE, OUT_OF_MEMORY, ALWAYS_FAILS = "slow", "fails-once", "out-of-memory", "always-fails"
MODEL = ("--model", "edgel3-sea-64", "--hop", "0.25")


@contextmanager
def running_session(folder, faults, *, task_managers=2, pool=False):
    """A session cluster whose Python workers have the faults of a folder."""
    install(print)
    session = Session(
        folder=folder, port=free_port(), pool=free_port() if pool else None, options=OPTIONS
    )
    before = {name: os.environ.get(name) for name in (VARIABLE, "PYTHONPATH")}
    os.environ |= {VARIABLE: str(faults), "PYTHONPATH": str(REPOSITORY)}
    try:
        session.start(task_managers, print)
        yield session
    finally:
        session.stop()
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def embed_command(corpus, table, *flags):
    return ["embed", "--input", str(corpus), "--output", str(table), *MODEL, *map(str, flags)]


def on_cluster(session, *flags):
    """Flags that run a command on a cluster, with faults."""
    return (
        "--runner=flink",
        f"--flink-master=localhost:{session.port}",
        "--beam_plugin=tests.flink_faults",
        *flags,
    )


def l3flow(*argv, **kwargs):
    """A command in another process, which has ended."""
    with started(*argv) as process:
        out, err = process.communicate(timeout=300)
    return subprocess.CompletedProcess(argv, process.returncode, out, err)


@contextmanager
def started(*argv):
    """A command in another process, which is killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from launch.main import run; run()", *map(str, argv)],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with killed_at_end(process):
        yield process


def jobs(session):
    return FlinkCluster(session.url).jobs()


def finished_shards(table):
    return len(list(Path(table).glob("_l3flow/staging/*/done/*.json")))


def wait_until(true, what, within_s=120.0, of=None):
    """Wait for something that a process `of` ours brings about."""
    until = time.monotonic() + within_s
    while not true():
        assert of is None or of.poll() is None, f"{what}? {of.communicate()}"
        assert time.monotonic() < until, f"not within {within_s} s: {what}"
        time.sleep(0.1)


def processes(*words):
    """(pid, command) of processes whose command has all these words; not those of tests beside these."""
    said = subprocess.run(
        ["ps", "-ww", "-eo", "pid=,command="], capture_output=True, text=True, check=True
    )
    found = (line.strip().partition(" ") for line in said.stdout.splitlines())
    return [
        (int(pid), command)
        for pid, _, command in found
        if all(word in command for word in words) and _is_ours(pid)
    ]


def _is_ours(pid):
    """Whether a process was started by this worker of pytest-xdist, if there are several."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    return worker is None or _has_variable(pid, "PYTEST_XDIST_WORKER", worker)


def harnesses(session):
    """Pids of the Python workers of a cluster."""
    return [pid for pid, _ in processes("sdk_worker_main") if belongs_to(pid, session)]


def belongs_to(pid, session):
    """Whether a process has the environment of a cluster's processes."""
    return _has_variable(pid, VARIABLE, os.environ[VARIABLE])


def _has_variable(pid, name, value):
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # it has just ended
        return False
    return f"{name}={value}".encode() in environment


def receipts(table):
    return [json.loads(path.read_text()) for path in sorted(Path(table).glob("runs/*.json"))]
