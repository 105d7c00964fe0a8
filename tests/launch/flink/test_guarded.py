"""A command that lives no longer than whoever started it."""

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.processes import alive, wait_for_end, wait_until

REPOSITORY = Path(__file__).parents[3]
GUARDED = [sys.executable, "-I", str(REPOSITORY / "launch/flink/guarded.py")]
# leaves its process id in a file, and works on
SAYS_ITS_ID = "import os, sys; open(sys.argv[1], 'w').write(str(os.getpid()) + ' '); "
WORKS = SAYS_ITS_ID + "import time; time.sleep(100)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + WORKS


def guarded(*command):
    return subprocess.Popen(
        [*GUARDED, *command], cwd=REPOSITORY, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def id_in(file):
    """The process id that a command has left."""
    wait_until(lambda: file.exists() and file.read_text().endswith(" "))
    return int(file.read_text())


@pytest.mark.parametrize("code", [0, 3, 255])
def test_the_exit_code_is_the_commands(code):
    process = guarded(sys.executable, "-c", f"import sys; sys.exit({code})")
    assert process.wait(30) == code
    process.communicate()


def test_it_ends_when_its_input_does(tmp_path):
    process = guarded(sys.executable, "-c", WORKS, str(tmp_path / "id"))
    command = id_in(tmp_path / "id")
    process.stdin.write("whatever comes is no end\n")
    process.stdin.flush()
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)
    assert alive(command)
    process.communicate(timeout=5)
    wait_for_end([command], within_s=5)
    assert process.returncode != 0


def test_a_command_that_ignores_it_is_killed(tmp_path):
    process = guarded(sys.executable, "-c", STUBBORN, str(tmp_path / "id"))
    command = id_in(tmp_path / "id")
    process.communicate(timeout=20)
    wait_for_end([command], within_s=1)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_with_whoever_started_it(tmp_path, number):
    code = f"""
        import subprocess, time
        subprocess.Popen({[*GUARDED, sys.executable, "-c", WORKS, str(tmp_path / "id")]!r},
            stdin=subprocess.PIPE, start_new_session=True)
        time.sleep(100)
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], cwd=REPOSITORY)
    try:
        command = id_in(tmp_path / "id")
    finally:
        parent.send_signal(number)
        parent.wait(30)
    wait_for_end([command], within_s=10)


def test_ctrl_c_is_for_whoever_started_it(tmp_path):
    process = guarded(sys.executable, "-c", WORKS, str(tmp_path / "id"))
    command = id_in(tmp_path / "id")
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)
    assert alive(command)
    process.communicate(timeout=10)


def test_the_command_reads_nothing(tmp_path):
    """Or it would take away the end that is waited for."""
    code = f"import sys; open({str(tmp_path / 'read')!r}, 'w').write(repr(sys.stdin.read()))"
    process = guarded(sys.executable, "-c", code)
    assert process.wait(30) == 0
    assert (tmp_path / "read").read_text() == "''"
    process.communicate()
