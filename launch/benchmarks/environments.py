"""Python environments for other packages, made once and kept in the user's cache."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from l3core.errors import RunError

MADE = "l3flow-made"  # is there when all is installed: without it, an installation was interrupted
Say = Callable[[str], None]


class NoEnvironmentError(RunError):
    """An environment could not be made; the message says why."""


def environments_folder() -> Path:
    """Where they are kept: `$XDG_CACHE_HOME/l3flow/bench`, by default below ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "l3flow" / "bench"


def find_python(versions: Sequence[str]) -> str:
    """A Python of one of these versions, as "3.11": this one, or the first on the PATH that runs.

    Raises:
        NoEnvironmentError: there is none.
    """
    for version in versions:
        if version == f"{sys.version_info.major}.{sys.version_info.minor}":
            return sys.executable
    for version in versions:
        found = shutil.which(f"python{version}")
        # it may be a shim of a version that is not installed
        if found and _run([found, "-c", "import ensurepip, venv"], None, lambda line: None) is None:
            return found
    raise NoEnvironmentError(f"it needs Python {' or '.join(versions)}, which is not on the PATH")


def environment(name: str, requirements: Path, *, versions: Sequence[str], say: Say) -> Path:
    """The Python of an environment with these requirements; made if it is not there yet.

    What is there whole is taken as it is. Two that ask at once make it once.

    Args:
        name: of the environment.
        requirements: a file as pip reads it; its content is part of the environment's name.
        versions: of Python that will do, the best first.
        say: told what goes on.

    Raises:
        NoEnvironmentError: no such Python, or pip could not install it.
    """
    base = find_python(versions)
    digest = hashlib.sha256(requirements.read_bytes() + base.encode()).hexdigest()[:12]
    folder = environments_folder() / f"{name}-{digest}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder.with_suffix(".lock"), say) as lock:
        if not (folder / MADE).is_file():
            _make(base, folder, requirements, lock, say)
    return folder / "bin" / "python"


def _make(base: str, folder: Path, requirements: Path, lock: int, say: Say) -> None:
    python = str(folder / "bin" / "python")
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--progress-bar", "off"]
    steps = (
        [base, "-m", "venv", "--clear", str(folder)],
        [*pip, "pip>=23.1"],  # which knows options of single requirements
        [*pip, "--requirement", str(requirements)],
    )
    for step in steps:
        if problem := _run(step, lock, say):
            shutil.rmtree(folder, ignore_errors=True)
            raise NoEnvironmentError(f"cannot install {requirements.name}: {problem}")
    (folder / MADE).touch()


def _run(command: Sequence[str], lock: int | None, say: Say) -> str | None:
    """Run a step and tell its lines; what went wrong, or None."""
    lines: deque[str] = deque(maxlen=1)
    problem = None
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        # the lock is held as long as pip runs, should this process be killed
        pass_fds=() if lock is None else (lock,),
    ) as process:
        assert process.stdout is not None
        for line in filter(None, map(str.strip, process.stdout)):
            lines.append(line)
            if line.startswith("ERROR: ") and problem is None:
                problem = line.removeprefix("ERROR: ")
            say(line)
    if not process.returncode:
        return None
    return problem or (lines[0] if lines else f"exit code {process.returncode}")


@contextmanager
def _locked(path: Path, say: Say) -> Iterator[int]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process is making it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()
