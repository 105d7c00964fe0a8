"""A command is watched with all that it starts."""

import os
import sys
from pathlib import Path

import pytest

from launch.benchmarks import watched
from launch.benchmarks.watched import Tree, watch
from tests.processes import alive, wait_until

MB = 1_000_000


def run(tmp_path, code, **more):
    return watch([sys.executable, "-c", code, str(tmp_path)], tmp_path, ".npz", env=os.environ, **more)


def test_time_memory_and_the_first_result_are_those_of_all_processes(tmp_path):
    code = f"""
import os, sys, time
from pathlib import Path
held = bytearray(b"1") * {200 * MB}
if not os.fork():  # shares what is held, and holds as much again
    own = bytearray(b"2") * {100 * MB}
    until = time.process_time() + 1
    while time.process_time() < until:
        pass
    time.sleep(0.5)
    os._exit(0)
(Path(sys.argv[1]) / "a.npz.tmp").write_text("no result yet")
time.sleep(0.5)
(Path(sys.argv[1]) / "a.npz").write_text("a result")
os.wait()
print("done")
"""
    seen = run(tmp_path, code)
    assert seen.code == 0
    assert seen.lines == ["done"]
    assert seen.cpu_s > 0.8
    assert 0.5 < seen.first_s < seen.wall_s
    assert 290 < seen.peak_mb < 400  # 500 if what they share was counted twice


def test_nothing_is_left_of_a_command(tmp_path, monkeypatch):
    """A daemon in a session of its own, whose parent has ended, is of it, too."""
    monkeypatch.setattr(watched, "LET_END_S", 0.5)
    code = """
import subprocess, sys, time
from pathlib import Path
daemon = subprocess.Popen(["sleep", "600"], start_new_session=True)
(Path(sys.argv[1]) / "daemon").write_text(str(daemon.pid))
time.sleep(2)
sys.exit("no more")
"""
    seen = run(tmp_path, code)
    assert (seen.code, seen.lines, seen.first_s) == (1, ["no more"], None)
    daemon = int((tmp_path / "daemon").read_text())
    wait_until(lambda: not alive(daemon), 10)


def test_what_takes_too_long_is_killed(tmp_path):
    seen = run(tmp_path, "import time; time.sleep(600)", limit_s=1)
    assert seen.code == -9
    assert 1 <= seen.wall_s < 60


def test_a_file_without_content_is_no_result(tmp_path):
    seen = run(tmp_path, "import sys; open(sys.argv[1] + '/a.npz', 'w')")
    assert (seen.code, seen.first_s) == (0, None)
    assert seen.peak_mb == pytest.approx(10, abs=10)


def test_a_process_that_ends_while_others_are_looked_for_is_left_out(monkeypatch):
    """As the system says it: of a process that was there a moment ago, `No such process`."""
    read, exists = Path.read_text, Path.exists

    def gone(path):
        if path.name == "stat" and path.parent.name == "1":
            raise ProcessLookupError(3, "No such process", str(path))

    monkeypatch.setattr(Path, "read_text", lambda path, **how: gone(path) or read(path, **how))
    monkeypatch.setattr(Path, "exists", lambda path: gone(path) or exists(path))
    tree = Tree(os.getpid())
    tree.look()
    assert tree.cpu_s > 0
