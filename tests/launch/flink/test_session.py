"""A cluster's processes and files, without one: fakes of `java` that end at once or wait."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from l3core.errors import RunError, UsageError
from launch.flink.configuration import CONFIGURATION
from launch.flink.job_server import free_port
from launch.flink.session import Session, default_folder, known_session
from tests.processes import alive, wait_for_end

# says its version; as a cluster's process, says what it was asked for, and ends a moment later
JAVA = """#!/bin/sh
if [ "$1" = -version ]; then echo 'openjdk version "17.0.15"' >&2; exit; fi
echo started
echo "$TF_NUM_INTRAOP_THREADS $PATH" > {folder}/variables
for argument; do echo "$argument"; done > {folder}/arguments
sleep 2
echo 'Exception in thread "main" java.lang.Error: no' >&2
exit 1
"""


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def java(tmp_path, monkeypatch):
    """A `java` that ends, and jars that are installed; the folder with what it was started with."""
    home = tmp_path / "home"
    (home / "bin").mkdir(parents=True)
    (home / "bin/java").write_text(JAVA.format(folder=tmp_path))
    (home / "bin/java").chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(home))
    monkeypatch.setattr("launch.flink.session.class_path", lambda: "/jars/lib/*")
    return tmp_path


@pytest.fixture
def of_the_cluster(folder):
    """A process that names the folder, as all of a cluster do."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)", str(folder)])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def stranger():
    """A process of somebody else's."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    yield process
    process.kill()
    process.wait()


def note(folder, name, pid):
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.pid").write_text(str(pid))


@pytest.mark.parametrize("state", [None, ""])
def test_where_its_files_are(tmp_path, monkeypatch, state):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    if state is not None:
        monkeypatch.setenv("XDG_STATE_HOME", state)
    assert default_folder() == tmp_path / ".local/state/l3flow/flink"
    monkeypatch.setenv("XDG_STATE_HOME", "/elsewhere")
    assert default_folder() == Path("/elsewhere/l3flow/flink")


def test_where_there_never_was_one(folder):
    assert known_session(folder) is None
    session = Session(folder=folder)
    assert session.processes() == []
    assert session.stop() == []
    assert not folder.exists()


def test_processes_are_told_apart(folder, tmp_path, of_the_cluster, stranger):
    """A number that the system has given to somebody else is not the cluster's, and is let live."""
    ended = subprocess.Popen([sys.executable, "-c", "", str(folder)])
    ended.wait()
    script = tmp_path / "l3flow-pool"  # a name that `ps` tells of what has ended, too
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    zombie = subprocess.Popen([script])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    note(folder, "jobmanager", of_the_cluster.pid)
    note(folder, "taskmanager-0", stranger.pid)
    note(folder, "taskmanager-1", ended.pid)
    note(folder, "pool", zombie.pid)
    session = Session(folder=folder)
    assert [(process.name, process.alive) for process in session.processes()] == [
        ("jobmanager", True),
        ("pool", False),
        ("taskmanager-0", False),
        ("taskmanager-1", False),
    ]
    zombie.wait()
    assert session.stop() == ["jobmanager"]
    wait_for_end([of_the_cluster.pid], within_s=1)
    assert alive(stranger.pid)
    assert session.processes() == []


def test_a_narrow_terminal_hides_no_process(folder, of_the_cluster, monkeypatch):
    """`ps` cuts its lines to COLUMNS."""
    monkeypatch.setenv("COLUMNS", "20")
    note(folder, "jobmanager", of_the_cluster.pid)
    assert Session(folder=folder).processes()[0].alive


def test_what_does_not_stop_is_killed(folder, monkeypatch):
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True)"
    command = [sys.executable, "-c", f"{code}; time.sleep(100)", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    process.stdout.readline()
    note(folder, "jobmanager", process.pid)
    monkeypatch.setattr("launch.flink.session.STOPS_WITHIN_S", 0.2)
    assert Session(folder=folder).stop() == ["jobmanager"]
    assert process.wait(5) == -9
    process.communicate()


@pytest.mark.parametrize("greeting", [b"", b"SSH-2.0-OpenSSH_9.2\r\n"])
def test_a_port_that_is_taken(folder, java, greeting):
    """By whatever, a web server or not."""
    with socket.create_server(("localhost", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"^--port {port}: something listens there already$"):
            Session(folder=folder, port=port).start(1, lambda text: None)
    assert not folder.exists()


def test_one_that_runs_is_not_started_again(folder, java, of_the_cluster):
    note(folder, "jobmanager", of_the_cluster.pid)
    with pytest.raises(UsageError) as caught:
        Session(folder=folder, port=free_port()).start(1, lambda text: None)
    assert str(caught.value) == f"a cluster runs already in {folder}: l3flow flink down stops it"


def started(folder, java, **options):
    """A session of which each process ends; the error's text."""
    session = Session(folder=folder, port=free_port(), **options)
    with pytest.raises(RunError) as caught:
        session.start(1, lambda text: None)
    assert not any(process.alive for process in session.processes())
    return session, str(caught.value)


def test_a_process_that_ends_says_why(folder, java):
    note(folder, "taskmanager-7", 2**22 + 1)  # of a cluster of last week
    _, why = started(folder, java)
    assert re.fullmatch(
        rf"(jobmanager|taskmanager-0) ended, its log {folder}/\1\.log ends with: "
        'Exception in thread "main" java.lang.Error: no',
        why,
    )


def test_what_flink_is_told(folder, java):
    session, _ = started(
        folder, java, slots=3, options={"rest.idleness-timeout": "1", "io.tmp.dirs": "/x"}
    )
    lines = (folder / "flink-conf.yaml").read_text().splitlines()
    told = dict(line.split(": ", 1) for line in lines)
    assert told["rest.port"] == told["rest.bind-port"] == str(session.port)
    assert told["taskmanager.numberOfTaskSlots"] == "3"
    assert (told["rest.idleness-timeout"], told["io.tmp.dirs"]) == ("1", "/x")
    assert told.items() >= CONFIGURATION.items()
    arguments = (java / "arguments").read_text().splitlines()
    assert arguments[arguments.index("-cp") + 1] == "/jars/lib/*"
    assert arguments[arguments.index("--configDir") + 1] == str(folder)
    path = (java / "variables").read_text().split()[-1]
    assert (Path(path.partition(os.pathsep)[0]) / "l3flow-harness").is_file()


def test_it_is_known_again(folder, java):
    session, _ = started(folder, java, slots=2, options={"a": "b"})
    assert known_session(folder) == session
    known = json.loads((folder / "session.json").read_text())
    assert known["jars"] == "/jars/lib/*"


def test_an_option_that_cannot_be_leaves_nothing_running(folder, java):
    session = Session(
        folder=folder, port=free_port(), options={"taskmanager.memory.task.heap.size": "much"}
    )
    with pytest.raises(UsageError, match="--flink-option needs a heap in megabytes"):
        session.start(1, lambda text: None)
    assert session.processes() == []
    assert running_in(folder) == []


def test_ctrl_c_while_it_starts_leaves_nothing_running(folder, java, monkeypatch):
    def interrupted(seconds):
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr("launch.flink.session.FlinkCluster.slots", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Session(folder=folder, port=free_port()).start(1, lambda text: None)
    assert running_in(folder) == []


def running_in(folder):
    said = subprocess.run(["ps", "-wweo", "command="], capture_output=True, text=True, check=True)
    return [line for line in said.stdout.splitlines() if f"--configDir {folder}" in line]


def test_its_configuration_is_for_no_other_user(folder, java):
    """Options may be a store's keys."""
    started(folder, java, options={"s3.secret-key": "secret"})
    assert folder.stat().st_mode & 0o077 == 0
