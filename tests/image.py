"""The Dockerfile of workers, read and followed as far as that goes without docker.

`python -m tests.image FOLDER` makes the image's Python environment in a folder, by the very lines that
install it in the image: `make tests` does.
"""

import fcntl
import hashlib
import io
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from dockerfile_parse import DockerfileParser

REPOSITORY = Path(__file__).parents[1]
DOCKERFILE = REPOSITORY / "launch/docker/Dockerfile"
HOME = "/opt/l3flow"  # of the environment in the image
LOCKS = {
    "/opt/locks/requirements.lock": "requirements.lock",
    "/opt/locks/cuda.lock": "launch/docker/cuda.lock",
}


def instructions(text):
    """(instruction, value) of a Dockerfile, lines joined, without its comments."""
    parsed = DockerfileParser(fileobj=io.BytesIO(text.encode())).structure
    return [(each["instruction"], each["value"]) for each in parsed if each["instruction"] != "COMMENT"]


def stages(text):
    """Name of a stage, or what it is from -> what stands in it."""
    found = {}
    for instruction, value in instructions(text):
        if instruction == "FROM":
            current = found.setdefault(value.partition(" AS ")[2] or value, [])
        elif found:
            current.append((instruction, value))
    return found


STAGES = stages(DOCKERFILE.read_text(encoding="utf-8"))
LAST = STAGES["${DEVICE}"]


def lines(stage, *, with_pip=True):
    """The commands that a stage runs, one after the other."""
    found = [command for name, value in stage if name == "RUN" for command in value.split("&&")]
    return [line for line in map(" ".join, map(str.split, found)) if ("/bin/pip " in line) is with_pip]


def environment(*names):
    """The variables that stages set."""
    found = {}
    for name in names:
        for instruction, value in STAGES[name]:
            if instruction == "ENV":
                found |= dict(each.split("=", 1) for each in shlex.split(value))
    return found


def here(line, folder):
    """A line of the Dockerfile for an environment in another folder."""
    for there, path in LOCKS.items():
        line = line.replace(there, shlex.quote(str(REPOSITORY / path)))
    return line.replace(HOME, shlex.quote(str(folder)))


def follow(commands, folder, **options):
    """Run lines as a Dockerfile's are."""
    for line in commands:
        subprocess.run(["/bin/sh", "-c", here(line, folder)], check=True, **options)


def python():
    """A Python as the lock is made for, if there is one."""
    if sys.version_info[:2] == (3, 11):
        return sys.executable
    return shutil.which("python3.11") or sys.executable


def make(folder):
    """The environment without l3flow; and whether what a GPU needs besides can be had."""
    (created,) = [line for line in lines(STAGES["dependencies"], with_pip=False) if " -m venv " in line]
    shutil.rmtree(folder, ignore_errors=True)
    follow([created.replace("python", shlex.quote(python()), 1)], folder)
    follow(lines(STAGES["dependencies"]), folder)
    # 2.7 GB that nothing here could use: asked for, and left where they are
    install, _ = lines(STAGES["gpu"])
    words = shlex.split(here(install, folder))
    uv = [f"{sys.prefix}/bin/uv", "pip", "install", "--dry-run", "--python", f"{folder}/bin/python"]
    known = ["--no-deps", "--only-binary=:all:", "--require-hashes"]
    subprocess.run([*uv, *known, "-r", words[-1]], check=True)


def sources(folder):
    """What a build would see of the project, copied to a folder as the Dockerfile copies it."""
    for instruction, value in STAGES["wheel"]:
        if instruction == "COPY":
            *names, target = value.split()
            for name in names:
                at = folder / target if target != "./" else folder / name
                if (REPOSITORY / name).is_dir():
                    shutil.copytree(REPOSITORY / name, at, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(REPOSITORY / name, at)


def install_l3flow(folder, scratch):
    """Build the wheel and install it, by the image's lines; once for what the sources are."""
    source, wheels = scratch / "source", scratch / "wheels"
    source.mkdir(parents=True)
    sources(source)
    made_of, stamp = digest(source), folder / ".l3flow"
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == made_of:
            return
        stamp.unlink(missing_ok=True)
        (built,) = lines(STAGES["wheel"])
        follow([built.replace("/wheels", str(wheels))], folder, cwd=source)
        installed = [line.replace("/opt/wheels", str(wheels)) for line in lines(LAST)]
        installed[0] = installed[0].replace(" install ", " install --force-reinstall ")
        follow(installed, folder)
        stamp.write_text(made_of)


def digest(folder):
    """Of all files below a folder, and their names."""
    found = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        found.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return found.hexdigest()


def open_to_others(folder, *, writable=False):
    """Let other users get to a folder of a test, and perhaps write there."""
    folder.chmod(0o777 if writable else 0o755)
    for parent in folder.parents:
        if parent.stat().st_uid == os.geteuid() and parent != Path(tempfile.gettempdir()):
            parent.chmod(parent.stat().st_mode | 0o011)
        else:
            break


if __name__ == "__main__":
    make(Path(sys.argv[1]).absolute())
