"""The Dockerfiles: clean, of one version with the rest, and workers that start as they should."""

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests import image

REPOSITORY = image.REPOSITORY
TRACKED = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
DOCKERFILES = [path for path in TRACKED.stdout.split() if Path(path).name.startswith("Dockerfile")]
SCRIPTS = [path for path in TRACKED.stdout.split() if path.endswith(".sh") or path == ".ci/run"]
TEXT = image.DOCKERFILE.read_text(encoding="utf-8")
LOCK = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8")
CLEAN = "FROM debian:12\nRUN useradd --uid 10001 somebody\nUSER 10001\n"


def complaints(program, *arguments, given=None):
    """What a checker says of files, each on a line; the program itself comes with a package."""
    command = [f"{sys.prefix}/bin/{program}", *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, input=given, capture_output=True, text=True)
    assert done.stderr == ""
    assert (done.returncode == 0) is (done.stdout == "")
    return done.stdout.splitlines()


def test_there_are_dockerfiles_and_scripts():
    assert {"launch/docker/Dockerfile", "launch/flink/Dockerfile"} <= set(DOCKERFILES)
    assert {"launch/docker/entrypoint.sh", ".ci/run"} <= set(SCRIPTS)


@pytest.mark.parametrize("path", DOCKERFILES)
def test_hadolint_has_nothing_to_say(path):
    assert complaints("hadolint", "--no-color", path) == []


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        (CLEAN, None),
        (CLEAN.replace("debian:12", "debian:latest"), "DL3007"),
        (CLEAN + "USER 0\n", "DL3002"),
        (CLEAN + "RUN pip install numpy==2.0\n", "DL3042"),
        (CLEAN + "ADD x /x\n", "DL3020"),
        (CLEAN + "RUN rm $HOME/x\n", "SC2086"),
        (CLEAN + "MAINTAINER me\n", "DL4000"),
    ],
)
def test_hadolint_finds_faults(changed, code):
    found = complaints("hadolint", "--no-color", "-", given=changed)
    assert {re.search(r"\b(DL|SC)\d{4}\b", line)[0] for line in found} == ({code} if code else set())


@pytest.mark.parametrize("path", SCRIPTS)
def test_shellcheck_has_nothing_to_say(path):
    assert complaints("shellcheck", path) == []


def test_shellcheck_finds_faults():
    assert "SC2086" in "".join(complaints("shellcheck", "-", given="#!/bin/bash\nrm $1\n"))


def test_beam_and_python_are_those_of_the_lock_and_of_the_tests():
    beam = re.search(r"^apache-beam==(\S+)", LOCK, re.MULTILINE)[1]
    python = re.search(r"for Python (\d\.\d+) on Linux", LOCK)[1]
    froms = [value for name, value in image.instructions(TEXT) if name == "FROM"]
    assert f"apache/beam_python{python}_sdk:{beam} AS dependencies" in froms
    launcher = f"dataflow-templates-base/python{python.replace('.', '')}-template-launcher-base:"
    assert launcher in froms[0]
    assert (
        f"lib/python{python}/site-packages/"
        in image.environment("${DEVICE}")["FLEX_TEMPLATE_PYTHON_PY_FILE"]
    )
    assert beam == version("apache-beam")


def test_tensorflow_is_that_of_the_tests():
    assert re.search(r"^tensorflow==(\S+)", LOCK, re.MULTILINE)[1] == version("tensorflow")


def test_what_is_installed_has_hashes_and_nothing_is_resolved():
    installs = [each for name in ("dependencies", "gpu") for each in image.lines(image.STAGES[name])]
    installs = [line for line in installs if " install " in line]
    assert len(installs) == 2
    for line in installs:
        assert {"--require-hashes", "--no-deps", "--only-binary=:all:"} <= set(line.split())
    own = image.lines(image.STAGES["wheel"]) + image.lines(image.LAST)
    assert all({"--no-index", "--no-deps"} <= set(line.split()) for line in own if " check" not in line)


def test_gpu_and_cpu_differ_by_cuda_alone():
    assert image.STAGES["cpu"] == []
    assert image.environment("gpu")["LD_LIBRARY_PATH"].endswith("/usr/local/nvidia/lib64")
    assert [value.split()[0] for name, value in image.STAGES["gpu"] if name == "COPY"] == [
        "launch/docker/cuda.lock"
    ]


def test_layers_that_change_often_come_last():
    """A line of code changed must not make 3 GB of libraries anew."""
    assert [value for name, value in image.STAGES["dependencies"] if name == "COPY"] == [
        "requirements.lock /opt/locks/"
    ]


def test_the_wheel_is_made_of_what_the_package_is_made_of():
    packages = set(
        re.findall(r'^        "(\w+)[".]', (REPOSITORY / "setup.py").read_text(), re.MULTILINE)
    )
    copied = {value.split()[0] for name, value in image.STAGES["wheel"] if name == "COPY"}
    folders = packages & {path.name for path in REPOSITORY.iterdir() if path.is_dir()}
    assert copied == folders | {"setup.py"}
    assert len(folders) == 3


def test_workers_run_in_the_environment_as_it_is():
    """Beam's boot program would make another one in a folder that only root can write to."""
    found = image.environment("${DEVICE}")
    assert found["RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT"] == "1"
    assert found["PATH"].split(":")[0] == f"{image.HOME}/bin"


def test_it_starts_with_the_script_and_holds_no_secret():
    assert ("ENTRYPOINT", f'["{image.HOME}/entrypoint"]') == image.LAST[-1]
    assert ("COPY", f"--chmod=755 launch/docker/entrypoint.sh {image.HOME}/entrypoint") in image.LAST
    faults = r"^ADD |https?://|chmod.*777|sudo|(ARG|ENV) .*(TOKEN|KEY|SECRET|PASSWORD)"
    assert not re.search(faults, TEXT, re.MULTILINE)
