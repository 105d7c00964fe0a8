"""What a build is sent: what the Dockerfiles copy, and nothing else."""

import re
import subprocess
from pathlib import Path

import pathspec
import pytest
from docker.utils.build import exclude_paths

from tests import image

REPOSITORY = image.REPOSITORY
RULES = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
TRACKED = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
FILES = TRACKED.stdout.split()
TOP = {"README.md", "l3core", "launch", "pipelines", "pyproject.toml", "requirements.lock", "setup.py"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A checkout as it lies about: with caches, an environment, results and credentials."""
    root = tmp_path_factory.mktemp("checkout")
    mess = [
        ".git/config",
        ".venv/bin/python",
        "l3core/__pycache__/a.pyc",
        "launch/flink/__pycache__/b.pyc",
    ]
    mess += ["demo-table/x.parquet", "key.json", "build/lib/l3core/audio.py", "tests/image.py"]
    for path in [*FILES, *mess]:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x" * (REPOSITORY / path).stat().st_size if path in FILES else b"x")
    return root


def sent(root, rules):
    patterns = [line for line in rules if line and not line.startswith("#")]
    return {path for path in exclude_paths(str(root), patterns) if (root / path).is_file()}


def wanted():
    return {path for path in FILES if path.split("/")[0] in TOP}


def test_docker_is_sent_what_is_copied(tree):
    assert sent(tree, RULES) == wanted() | {".dockerignore"}  # which always is


def test_gcloud_sends_the_same(tree):
    lines = (REPOSITORY / ".gcloudignore").read_text(encoding="utf-8").splitlines()
    assert lines[-1] == "#!include:.dockerignore"
    assert all(line.startswith("#") for line in lines)
    spec = pathspec.GitIgnoreSpec.from_lines(RULES)
    here = [path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file()]
    assert {path for path in here if not spec.match_file(path)} == wanted()


def test_it_is_small(tree):
    assert sum((tree / path).stat().st_size for path in sent(tree, RULES)) < 10 * 10**6


@pytest.mark.parametrize("line", ["/*", "!/l3core", "**/__pycache__"])
def test_a_rule_that_is_lost_is_noticed(tree, line):
    assert sent(tree, [each for each in RULES if each != line]) != sent(tree, RULES)


@pytest.mark.parametrize("path", ["launch/docker/Dockerfile", "launch/flink/Dockerfile"])
def test_what_a_dockerfile_copies_is_sent(path):
    copied = set()
    for name, value in image.instructions((REPOSITORY / path).read_text(encoding="utf-8")):
        if name == "COPY" and "--from=" not in value:
            *names, _ = [word for word in value.split() if not word.startswith("--")]
            copied |= set(names)
    assert {"setup.py", "l3core"} <= copied
    assert {Path(name).parts[0] for name in copied} <= TOP
    assert all((REPOSITORY / name).exists() for name in copied)


def test_what_is_wanted_is_what_is_let_through():
    assert {match[1] for line in RULES if (match := re.fullmatch(r"!/(.+)", line))} == TOP
