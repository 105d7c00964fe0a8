"""What docs/flink.md shows is so, as far as that needs no cluster: its errors, commands and settings.

Not run here is what needs Flink (`up`, `status`, `embed`, `--detach`, Ctrl-C): it takes up to a minute
each, and the tests of launch/flink do the same. Nor are docker and kubectl, which need more.
"""

import ast
import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

from launch.beam_options import parse_with_beam
from launch.flink.configuration import CONFIGURATION
from launch.flink.jars import INSTALLED_MINOR, POM
from launch.flink.job_server import free_port
from launch.main import COMMANDS, main

REPO = Path(__file__).parents[2]
TEXT = (REPO / "docs/flink.md").read_text(encoding="utf-8")
README = (REPO / "README.md").read_text(encoding="utf-8")
WITHOUT, WITH = (
    found
    for block in re.findall(r"```\n(\$ .*?)```", TEXT, re.DOTALL)
    if (found := re.findall(r"\$ (l3flow .*)\n(l3flow: .*\n)", block))
)
COMMAND = re.compile(r"^(?:    |\$ )(l3flow (?:.*\\\n)*.*)$", re.MULTILINE)
TRAINING = "\n".join(
    (REPO / f"docs/{name}.md").read_text(encoding="utf-8")
    for name in ("pairs", "training", "training-corpus")
)
SHOWN = sorted(set(COMMAND.findall(TEXT + README + TRAINING)) | {"l3flow flink down"})
REFUSED = "--parallelism=3"  # shown with its error
SAID = re.findall(r"^\| `(.+?)` \| ", TEXT.split("| it says |")[1], re.MULTILINE)
CODE = [REPO / "launch/follow.py", REPO / "l3core/table/lock.py", *(REPO / "launch/flink").glob("*.py")]


def texts(path):
    """The texts of a module, with ... for what is filled in."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "..." for part in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize(("command", "error"), WITHOUT)
def test_an_error_without_java_and_maven(command, error, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    assert main(shlex.split(command)[1:]) == 2
    assert capsys.readouterr().err == error


@pytest.mark.parametrize(("command", "error"), WITH)
def test_an_error_with_both(command, error, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for port in ("8081", "50000"):  # where something may well run
        free = str(free_port())
        command, error = command.replace(f":{port}", f":{free}"), error.replace(f":{port}", f":{free}")
    assert main(shlex.split(command)[1:]) == 2
    assert capsys.readouterr().err == error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", SHOWN)
def test_a_command_has_options_that_there_are(command):
    name, *options = shlex.split(command.replace("\\\n", " "), comments=True)[1:]
    module = COMMANDS[name].module
    if name == "avc":
        action = options.pop(0)
        module, name = f"launch.avc.{action}", f"avc {action}"
    parser = import_module(module).build_parser(f"l3flow {name}")
    if name in ("embed", "crossval", "avc sample"):
        parse_with_beam(parser, [each for each in options if each != REFUSED])
    else:
        parser.parse(options[: options.index("--")] if "--" in options else options)  # of schedule


def test_the_errors_of_the_table_are_those_of_the_code():
    known = [text for path in CODE for text in texts(path)]
    assert len(SAID) > 20
    assert [said for said in SAID if not any(said.strip(".") in text for text in known)] == []


def test_the_restart_strategy_is_that_of_the_cluster():
    shown = dict(re.findall(r"^    (restart-strategy\S*): (\S+)$", TEXT, re.MULTILINE))
    ours = {key: text for key, text in CONFIGURATION.items() if key.startswith("restart")}
    assert shown == ours != {}


def test_versions_are_those_of_the_pom():
    pom = POM.read_text(encoding="utf-8")
    tested = TEXT.split("## What is tested")[1]
    for name, jars in (("beam", "flink-1.19"), ("beam.jobservice", "java-job-service")):
        version = re.search(rf"<{name}\.version>(.*)</", pom)[1]
        assert f"beam-runners-{jars} {version}" in tested
    assert f"Flink {INSTALLED_MINOR}." in tested


def test_headings_that_it_points_at_are_there():
    headings = re.findall(r"^## (.*)$", TEXT, re.MULTILINE)
    there = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    named = set(re.findall(r"\]\(#([^)]+)\)", TEXT))
    assert named
    assert named <= there
