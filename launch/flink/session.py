"""A session cluster on this machine: a JobManager, TaskManagers and a worker pool, plain processes.

All that belongs to it lies in one folder: configuration, logs, and a file for each process. The job
server's jars are a whole Flink, so nothing else is needed.
"""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

from l3core.errors import RunError, UsageError
from l3core.machine import usable_cores
from launch.flink.configuration import CONFIGURATION, heap_of
from launch.flink.jars import class_path
from launch.flink.java import ADD_OPENS, find_java
from launch.flink.job_server import free_port
from launch.flink.rest import POLL_S, FlinkCluster
from launch.flink.run import HARNESS, script_here
from launch.runners import NoAnswerError

STARTS_WITHIN_S = 90.0
STOPS_WITHIN_S = 10.0
JOB_MANAGER = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
TASK_MANAGER = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
TASK_MANAGER_PREFIX = "taskmanager-"
POOL = "l3flow-pool"
JVM = ["-XX:MaxMetaspaceSize=256m", "-XX:+UseSerialGC"]
# One line for each event, with its time, level, class and stack trace.
LOG_FORMAT = "-Djava.util.logging.SimpleFormatter.format=%1$tF %1$tT %4$s %3$s: %5$s%6$s%n"

_started: list["subprocess.Popen[bytes]"] = []  # by this process, which has to take note of their end


class Process(NamedTuple):
    """A process of the cluster: its name, its number, and whether it runs."""

    name: str
    pid: int
    alive: bool


@dataclass(frozen=True, kw_only=True)
class Session:
    """A cluster of this machine.

    Attributes:
        folder: with all that belongs to it.
        port: of its REST interface.
        slots: of each TaskManager.
        pool: port of its worker pool; None: it has none.
        options: of Flink, besides ours.
    """

    folder: Path
    port: int = 8081
    slots: int = 1
    pool: int | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Of the REST interface."""
        return f"http://localhost:{self.port}"

    def start(self, task_managers: int, say: Callable[[str], None]) -> None:
        """Start everything, and wait until the TaskManagers have registered.

        Args:
            task_managers: how many.
            say: told what goes on.

        Raises:
            UsageError: it runs already, or the port is somebody else's.
            RunError: a process ended, or it took too long.
        """
        if any(process.alive for process in self.processes()):
            raise UsageError(f"a cluster runs already in {self.folder}: l3flow flink down stops it")
        java, jars = find_java(), class_path()
        self._refuse_taken_port()
        self._forget_processes()
        self._write(java, jars)
        threads = max(1, usable_cores() // task_managers)
        plural = "s" if task_managers > 1 else ""
        say(f"starting a JobManager and {task_managers} TaskManager{plural}")
        try:
            self._spawn("jobmanager", [JOB_MANAGER], heap="384m")
            for number in range(task_managers):
                self.add_task_manager(number, threads=threads)
            if self.pool:
                self.start_pool()
            self._wait(task_managers)
        except BaseException:  # Ctrl-C among them: a cluster is there or not
            self.stop()
            raise

    def add_task_manager(self, number: int, *, threads: int | None = None) -> int:
        """Start one more; returns its pid.

        Args:
            number: of it; one that ended may be started again.
            threads: of a model in it; None: by its number of cores.
        """
        name = f"{TASK_MANAGER_PREFIX}{number}"
        extra = [TASK_MANAGER, "-D", f"taskmanager.resource-id={name}"]
        variables = {} if threads is None else {"TF_NUM_INTRAOP_THREADS": str(threads)}
        return self._spawn(name, extra, heap=heap_of(self.options), variables=variables)

    def start_again(self, say: Callable[[str], None]) -> list[str]:
        """Start TaskManagers and the pool again that have ended while the JobManager runs.

        Args:
            say: told what goes on.

        Returns:
            Their names; none if the JobManager does not run, or nothing has ended.
        """
        processes = self.processes()
        if not any(process.name == "jobmanager" and process.alive for process in processes):
            return []
        managers = [each for each in processes if each.name.startswith(TASK_MANAGER_PREFIX)]
        threads = max(1, usable_cores() // max(1, len(managers)))
        ended = [process.name for process in processes if not process.alive]
        for name in ended:
            say(f"starting {name} again")
            if name == "pool":
                self.start_pool()
            else:
                self.add_task_manager(int(name.removeprefix(TASK_MANAGER_PREFIX)), threads=threads)
        return ended

    def start_pool(self) -> int:
        """Start the worker pool; returns its pid."""
        return self._start("pool", [script_here(POOL), str(self.pool)], {})

    def stop(self) -> list[str]:
        """Stop everything; returns the names of what ran."""
        running = [process for process in self.processes() if process.alive]
        for process in running:
            _kill(process.pid, signal.SIGTERM)
        until = time.monotonic() + STOPS_WITHIN_S
        while any(self._is_ours(process.pid) for process in running):
            if time.monotonic() > until:
                for process in running:
                    _kill(process.pid, signal.SIGKILL)
                break
            time.sleep(0.1)
        self._forget_processes()
        return [process.name for process in running]

    def processes(self) -> list[Process]:
        """Of this cluster, running or not."""
        found = []
        for file in sorted(self.folder.glob("*.pid")):
            pid = int(file.read_text())
            found.append(Process(file.stem, pid, self._is_ours(pid)))
        return found

    def _is_ours(self, pid: int) -> bool:
        """Whether a process runs and is of the cluster, not another one that has got its number."""
        _started[:] = [each for each in _started if each.poll() is None]
        if any(each.pid == pid for each in _started):  # ps may see it before it has its arguments
            return True
        said = subprocess.run(
            ["ps", "-ww", "-o", "state=,command=", "-p", str(pid)],
            capture_output=True,
            text=True,
            check=False,
        )
        state, _, command = said.stdout.strip().partition(" ")
        if not state or state[0] == "Z":
            return False
        return any(sign in command for sign in (str(self.folder), f"{POOL} {self.pool}"))

    def _forget_processes(self) -> None:
        for file in self.folder.glob("*.pid"):
            file.unlink()

    def _write(self, java: str, jars: str) -> None:
        # options may be a store's keys
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.folder / "tmp").mkdir(exist_ok=True)
        configuration = CONFIGURATION | {
            "jobmanager.rpc.port": str(free_port()),
            "rest.port": str(self.port),
            "rest.bind-port": str(self.port),
            "taskmanager.numberOfTaskSlots": str(self.slots),
            "io.tmp.dirs": str(self.folder / "tmp"),
            "blob.storage.directory": str(self.folder / "tmp"),
        }
        configuration.update(self.options)
        text = "".join(f"{key}: {value}\n" for key, value in sorted(configuration.items()))
        (self.folder / "flink-conf.yaml").write_text(text)
        known = asdict(self) | {"folder": str(self.folder), "java": java, "jars": jars}
        (self.folder / "session.json").write_text(json.dumps(known))

    def _spawn(
        self, name: str, main: list[str], *, heap: str, variables: Mapping[str, str] | None = None
    ) -> int:
        known = json.loads((self.folder / "session.json").read_text())
        command = [
            known["java"],
            f"-Xmx{heap}",
            *JVM,
            *ADD_OPENS,
            LOG_FORMAT,
            f"-Djava.io.tmpdir={self.folder}/tmp",
            "-cp",
            known["jars"],
            *main[:1],
            "--configDir",
            str(self.folder),
            *main[1:],
        ]
        return self._start(name, command, variables or {})

    def _start(self, name: str, command: list[str], variables: Mapping[str, str]) -> int:
        # TaskManagers find the boot program of Python workers by its name
        path = os.pathsep.join(
            [os.path.dirname(script_here(HARNESS)), os.environ.get("PATH", os.defpath)]
        )
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=os.environ | {"PATH": path} | dict(variables),
            )
        _started.append(process)
        (self.folder / f"{name}.pid").write_text(str(process.pid))
        return process.pid

    def _refuse_taken_port(self) -> None:
        with socket.socket() as probe:
            if probe.connect_ex(("localhost", self.port)) == 0:
                raise UsageError(f"--port {self.port}: something listens there already")

    def _wait(self, task_managers: int) -> None:
        cluster = FlinkCluster(self.url)
        until = time.monotonic() + STARTS_WITHIN_S
        while time.monotonic() < until:
            for process in self.processes():
                if not process.alive:
                    raise self._failed(process.name, "ended")
            try:
                if cluster.slots().task_managers >= task_managers:
                    return
            except NoAnswerError:  # it is starting
                pass
            time.sleep(POLL_S)
        raise self._failed("taskmanager-0", f"did not register within {STARTS_WITHIN_S:.0f} s")

    def _failed(self, name: str, how: str) -> RunError:
        log = self.folder / f"{name}.log"
        lines = log.read_text(errors="replace").strip().splitlines()
        return RunError(f"{name} {how}, its log {log} ends with: {lines[-1] if lines else ''}")


def default_folder() -> Path:
    """Where a cluster's files are kept: below `$XDG_STATE_HOME`, by default ~/.local/state."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "l3flow" / "flink"


def known_session(folder: Path) -> Session | None:
    """The cluster of a folder, running or not; None if there never was one."""
    try:
        known = json.loads((folder / "session.json").read_text())
    except FileNotFoundError:
        return None
    return Session(
        folder=folder,
        port=known["port"],
        slots=known["slots"],
        pool=known["pool"],
        options=known["options"],
    )


def _kill(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
