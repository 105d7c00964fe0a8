"""What docs/template.md says of commands, fields, roles and variables is so."""

import base64
import json
import re
import shlex
from pathlib import Path

import pytest

from launch.dataflow.parameters import OF_THE_LAUNCH, WITHOUT, actions, flags_of
from launch.dataflow.template import launching
from launch.main import main
from tests.flex_templates import REQUEST, SCHEMA, errors_of
from tests.launch.dataflow.test_terraform import ROLES, blocks

REPO = Path(__file__).parents[2]
PAGE = (REPO / "docs/template.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(command.replace("\\\n", ""))
    for command in re.findall(r"^(?: {4})?(l3flow (?:.*\\\n)*.*)$", PAGE, re.MULTILINE)
]


def command(*words):
    [found] = [each for each in COMMANDS if each[1 : 1 + len(words)] == list(words)]
    return found[1:]


def test_the_template_is_built(capsys):
    argv = command("template", "build")
    assert main([*argv, "--template", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["image"] in argv


def test_the_launch_is_one_that_google_takes():
    argv = command("template", "run")
    options = [*argv[argv.index("--") + 1 :], "--runner", "dataflow"]
    found = launching(options, template=argv[argv.index("--template") + 1], job_name="nightly")
    assert errors_of(found.request, REQUEST) == []


def test_the_schedule_is_written_as_terraform_wants_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(command("schedule")) == 0
    values = dict(re.findall(r'^(\w+) += (".*"|\{.*\})$', PAGE, re.MULTILINE))
    known = blocks("variable")
    assert set(values) == {name for name, each in known.items() if "default" not in each}
    written = json.loads((tmp_path / json.loads(values["scheduler_job"])).read_text())
    launch = json.loads(base64.b64decode(written["httpTarget"]["body"]))["launchParameter"]
    assert launch["parameters"]["sdk_container_image"] == json.loads(values["image"])
    assert launch["containerSpecGcsPath"] == f"gs://{json.loads(values['bucket'])}/templates/l3flow.json"
    project = json.loads(values["project"])
    assert launch["environment"]["serviceAccountEmail"].startswith(f"l3flow-work@{project}.")
    assert f"`temp_days` ({known['temp_days']['default']})" in PAGE


def test_what_gcloud_is_given_are_parameters():
    [given] = re.findall(r"--parameters '\^~\^(.*)'", PAGE)
    parameters = dict(each.split("=", 1) for each in given.split("~"))
    assert set(parameters) <= set(actions())
    assert flags_of(parameters)


ROWS = re.findall(r"^\| (.*) \| (.*) \| .* \|$", PAGE, re.MULTILINE)


def test_each_field_of_a_launch_is_shown():
    fields = {
        flag: re.findall(r"`(\w+)`", cell)
        for flags, cell in ROWS
        for flag in re.findall(r"`(--[\w-]+)`", flags)
    }
    assert {flag for flag in fields if flag in OF_THE_LAUNCH} == set(OF_THE_LAUNCH) - {
        "--project",  # of the address
        "--region",
    }
    known = SCHEMA["$defs"]["FlexTemplateRuntimeEnvironment"]["properties"]
    assert {name for names in fields.values() for name in names} <= set(known)


@pytest.mark.parametrize("flag", ["--dry-run", "--log-file", "--notify", "--on-failure"])
def test_what_has_no_place_is_named(flag):
    assert f"`{flag}`" in PAGE
    assert flag in WITHOUT


def test_each_role_is_shown():
    table = PAGE[PAGE.index("| account |") :]
    shown = set(re.findall(r"`([a-z]+\.[A-Za-z]+)`", table[: table.index("\n\n")]))
    assert {f"roles/{role}" for role in shown} == {role for _, _, role in ROLES}
