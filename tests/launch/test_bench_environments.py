"""Environments for peers: made once by pip, made again if need be, and refused in a line."""

import fcntl
import os
import subprocess
import sys
import threading
import zipfile

import pytest

from launch.benchmarks.environments import MADE, NoEnvironmentError, environment, find_python
from tests.processes import wait_until

HERE = (f"{sys.version_info.major}.{sys.version_info.minor}",)


def write_wheel(folder):
    """A package of one line, as an installer reads it; the requirements that ask for it."""
    facts = "tiny-1.0.dist-info"
    with zipfile.ZipFile(folder / "tiny-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny.py", "ANSWER = 42\n")
        wheel.writestr(f"{facts}/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        wheel.writestr(
            f"{facts}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{facts}/RECORD", "")
    requirements = folder / "tiny.txt"
    requirements.write_text(f"--no-index\n--find-links {folder}\ntiny==1.0\n")
    return requirements


def answer_of(python):
    command = [str(python), "-c", "import tiny; print(tiny.ANSWER)"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_an_environment_is_made_once_and_again_if_it_was_interrupted(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    requirements = write_wheel(tmp_path)
    said = []

    def ask():
        said.clear()
        return environment("tiny", requirements, versions=HERE, say=said.append)

    python = ask()
    assert python.is_relative_to(tmp_path / "cache/l3flow/bench")
    assert answer_of(python) == "42"
    assert any("tiny" in line for line in said)
    assert ask() == python
    assert said == []
    # as if it had been stopped before the end: what is there is not trusted
    (python.parents[1] / MADE).unlink()
    next(python.parents[1].rglob("tiny.py")).write_text("half a fi")
    assert ask() == python
    assert answer_of(python) == "42"
    # somebody else is at it
    with open(f"{python.parents[1]}.lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = threading.Thread(target=ask)
        waiting.start()
        wait_until(lambda: said == ["another process is making it"])
        assert waiting.is_alive()
    waiting.join(60)
    assert not waiting.is_alive()
    # other requirements are another environment
    requirements.write_text(requirements.read_text() + "no-such-package-anywhere\n")
    with pytest.raises(
        NoEnvironmentError, match=r"cannot install tiny\.txt: Could not find a version"
    ) as no:
        ask()
    assert "\n" not in str(no.value)
    assert [path.name for path in python.parents[2].iterdir() if path.is_dir()] == [
        python.parents[1].name
    ]


def test_a_python_that_does_not_run_is_none(tmp_path, monkeypatch):
    """As a shim of a version that is not installed."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin")
    (tmp_path / "python3.4").write_text("#!/bin/sh\necho not installed\nexit 127\n")
    (tmp_path / "python3.4").chmod(0o755)
    with pytest.raises(NoEnvironmentError, match=r"needs Python 3\.4 or 3\.3, which is not on the PATH"):
        find_python(("3.4", "3.3"))
    (tmp_path / "python3.3").symlink_to(sys.executable)
    assert find_python(("3.4", "3.3")) == str(tmp_path / "python3.3")
    assert find_python(("3.4", *HERE)) == sys.executable
