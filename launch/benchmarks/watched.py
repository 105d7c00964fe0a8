"""A command watched from outside: its time, the memory of all its processes, its first result."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

POLL_S = 0.2
LET_END_S = 10.0  # daemons end a moment after who started them


class Watched(NamedTuple):
    """What one command did.

    Attributes:
        code: its exit code; negative: the signal that ended it.
        wall_s: seconds from its start to its end.
        cpu_s: of all its processes; None where the system does not tell.
        peak_mb: most memory of all its processes at once, what they share counted once; None likewise.
        first_s: seconds to the first file of a result; None: there was none.
        lines: what it printed, both streams.
    """

    code: int
    wall_s: float
    cpu_s: float | None
    peak_mb: float | None
    first_s: float | None
    lines: list[str]


class Tree:
    """A process and all that it has started, on Linux: also what has outlived who started it."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._cpu: dict[tuple[int, str], float] = {}  # by process id and start: ids are used again
        self._tick_s = 1 / os.sysconf("SC_CLK_TCK")
        self.peak_mb: float | None = None

    @property
    def cpu_s(self) -> float | None:
        """CPU time of all that was seen."""
        return sum(self._cpu.values()) or None

    def look(self) -> list[int]:
        """Find new processes and measure; those that live, but the first."""
        parents: dict[int, tuple[int, tuple[int, str], float]] = {}
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has ended
                fields = (process / "stat").read_text(errors="replace").rpartition(")")[2].split()
                pid = int(process.name)
                if fields[0] != "Z":
                    cpu_s = (int(fields[11]) + int(fields[12])) * self._tick_s
                    parents[pid] = int(fields[1]), (pid, fields[19]), cpu_s
        mine = {pid for pid, (_, key, _) in parents.items() if key in self._cpu or pid == self._root}
        while more := {pid for pid, found in parents.items() if found[0] in mine} - mine:
            mine |= more
        for pid in mine:
            _, key, cpu_s = parents[pid]
            self._cpu[key] = cpu_s
        if mine:
            self.peak_mb = max(self.peak_mb or 0.0, sum(map(_memory_mb, mine)))
        return sorted(mine - {self._root})


def _memory_mb(pid: int) -> float:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def watch(
    command: Sequence[str],
    results: Path,
    suffix: str,
    *,
    env: Mapping[str, str],
    limit_s: float | None = None,
) -> Watched:
    """Run a command to its end; nothing of it is left when this returns.

    Args:
        command: what to run.
        results: folder that it writes to.
        suffix: of the files there that are results.
        env: its environment.
        limit_s: it is killed after that; None: never.
    """
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, env=env
        )
        tree = Tree(process.pid)
        first_s = None
        try:
            while process.poll() is None:
                wall_s = time.perf_counter() - start
                tree.look()
                if first_s is None and _has(results, suffix):
                    first_s = wall_s
                if limit_s is not None and wall_s > limit_s:
                    process.kill()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(POLL_S)
            wall_s = time.perf_counter() - start
        finally:
            process.kill()
            process.wait()
            _end(tree)
        if first_s is None and _has(results, suffix):
            first_s = wall_s
        said.seek(0)
        lines = [line.rstrip() for line in said if line.strip()]
    return Watched(process.returncode, wall_s, tree.cpu_s, tree.peak_mb, first_s, lines)


def _has(folder: Path, suffix: str) -> bool:
    with suppress(FileNotFoundError):  # a folder that is renamed meanwhile
        return any(path.stat().st_size for path in folder.rglob(f"*{suffix}"))
    return False


def _end(tree: Tree) -> None:
    """Let what is left of the processes end, and kill what does not."""
    deadline = time.monotonic() + LET_END_S
    while (left := tree.look()) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
