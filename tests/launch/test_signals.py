"""Ctrl-C at the beginning and the end of a command."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
# A command whose modules are told to stop while they are being loaded.
COMMAND = """\
import os, signal

os.kill(os.getpid(), signal.SIGINT)
for _ in range(1000):  # handlers are called between two of these
    pass
print("loaded", flush=True)


def build_parser(prog):
    import time

    for _ in range(600):  # as long as it takes a slow machine
        time.sleep(0.1)
"""
RUN = """\
import signal, sys
from launch.main import COMMANDS, Command, run
COMMANDS["slow"] = Command("slow_to_load", "")
"""


def started(tmp_path, code):
    (tmp_path / "slow_to_load.py").write_text(COMMAND)
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.append({str(tmp_path)!r})\n{RUN}{code}"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_ctrl_c_waits_for_what_is_being_loaded(tmp_path):
    result = started(tmp_path, "sys.argv[1:] = ['slow']; run()")
    told = "l3flow: interrupted\n"
    assert (result.returncode, result.stdout, result.stderr) == (130, "loaded\n", told)


def test_ctrl_c_does_not_wait_for_ever(tmp_path):
    code = "import launch.signals; launch.signals.LOADING_S = 0\nsys.argv[1:] = ['slow']; run()"
    result = started(tmp_path, code)
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "l3flow: interrupted\n")


def test_who_has_ctrl_c_ignored_keeps_it_so(tmp_path):
    """A shell does this to what it runs in the background."""
    code = (
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "import launch.weights\n"
        "launch.weights.run = lambda argv, parser: signal.raise_signal(signal.SIGINT) or 0\n"
        "sys.argv[1:] = ['weights']; run()"
    )
    assert started(tmp_path, code).returncode == 0


@pytest.mark.parametrize("when", ["import atexit; atexit.register", "main.plain_output = "])
def test_ctrl_c_when_all_is_done_or_nothing_begun_is_no_traceback(tmp_path, when):
    """Python runs what is registered after the command has ended."""
    code = f"import launch.main as main\n{when}(lambda: signal.raise_signal(signal.SIGINT))\nrun()"
    result = started(tmp_path, code)
    assert result.returncode in (130, -signal.SIGINT)
    assert "Traceback" not in result.stderr


def test_what_takes_long_to_load_is_loaded_where_ctrl_c_is_handled():
    code = "import sys, launch.main; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    loaded = {*result.stdout.split()}
    assert "launch.main" in loaded
    assert loaded & {"argparse", "numpy", "importlib.metadata", "launch.options"} == set()
