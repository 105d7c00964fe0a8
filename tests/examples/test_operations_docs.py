"""What docs/operations.md and docs/dataflow-first-run.md say is so: commands, events, filters."""

import ast
import json
import logging
import re
import shlex
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from l3core.table.plan import SHARD_CLIPS
from launch.dataflow.dashboard import JOBS, PLATFORM, log_filter, metric_names
from launch.dataflow.workers import ELEMENT_WITHIN_MIN
from launch.embed import build_parser, check
from launch.main import COMMANDS, main
from pipelines.embed import build_pipeline
from pipelines.telling import MOST_CLIPS
from tests.corpus import write_mixed
from tests.pipelines.test_embed import in_process, names, planned

REPO = Path(__file__).parents[2]
OPERATIONS, FIRST_RUN = (
    (REPO / f"docs/{name}.md").read_text(encoding="utf-8")
    for name in ("operations", "dataflow-first-run")
)
FENCED = re.findall(r"^```\n(.*?)^```$", OPERATIONS + FIRST_RUN, re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"(?:^ {4}|^|`)(l3flow (?:[^\n`#]*\\\n)*[^\n`#]*)", re.MULTILINE)


def events():
    """Event -> level, of all calls of `say`."""
    found = {}
    for room in ("l3core", "pipelines"):
        for path in (REPO / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and ast.unparse(node).startswith("say(_LOGGER, "):
                    given = {each.arg: each.value for each in node.keywords}
                    level = given["level"].attr if "level" in given else "INFO"
                    found[node.args[1].value] = level
    return found


def test_all_events_are_told_of_with_their_level():
    rows = re.findall(r"^\| `(\w+)` \| (INFO|WARNING|ERROR) \|", OPERATIONS, re.MULTILINE)
    assert len(rows) > 5
    assert dict(rows) == events()


def test_filters_begin_as_the_dashboards_do():
    filters = [block for block in FENCED if block.startswith("resource.type")]
    assert len(filters) == 3
    assert all(block.startswith(log_filter() + "\n") for block in filters)
    assert log_filter("severity>=WARNING") + "\n" in filters


def holds(line, level, message):
    """Whether a line of a filter holds of a log entry; `:` is a part of the text, in any case."""
    if found := re.fullmatch(r'jsonPayload\.message:(".*")', line):
        return json.loads(found[1]).lower() in message.lower()
    if found := re.fullmatch(r"severity>=(\w+)", line):
        return logging.getLevelName(level) >= logging.getLevelName(found[1])
    assert line in log_filter().splitlines()
    return True


def test_filters_find_what_workers_say(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    run, job = planned(write_mixed(tmp_path / "corpus"), tmp_path / "table")
    with in_process() as pipeline:
        build_pipeline(pipeline, job, names(run))
    said = [(each.levelname, each.getMessage()) for each in caplog.records if each.name == "pipelines"]
    said.append(("INFO", "Python sdk harness starting."))
    texts = [block for block in FENCED if block.startswith("resource.type")]
    serious, clips, one_run = (
        [
            message
            for level, message in said
            if all(holds(line, level, message) for line in text.strip().splitlines())
        ]
        for text in (each.replace("20261127T002114Z-a5ddb3", "run-1") for each in texts)
    )
    assert serious == [message for level, message in said if level in ("WARNING", "ERROR")]
    assert clips == [message for _, message in said if message.startswith('{"event": "clip"')] != []
    assert one_run == [message for _, message in said[:-1]]


def test_alerts_name_metrics_that_there_are():
    alerts = [block for block in FENCED if "__name__" in block]
    assert len(alerts) == 2
    for block in alerts:
        assert set(re.findall(r'"dataflow\.googleapis\.com/([^"]+)"', block)) <= set(PLATFORM)
        for name in re.findall(r'"metric_name"=~?"([^"]+)"', block):
            assert any(re.fullmatch(name, each) for each in metric_names())
        assert set(re.findall(r'"job_name"=~"([^"]+)"', block)) == {JOBS}


@pytest.mark.parametrize("command", COMMAND.findall(OPERATIONS + FIRST_RUN), ids=lambda text: text[:40])
def test_commands_are_ones(command, capsys):
    _, name, *arguments = shlex.split(command.replace("\\\n", ""))
    assert name in COMMANDS
    with suppress(SystemExit):
        main([name, "--help"])
    flags = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    own, _, options = " ".join(arguments).partition(" -- ")
    assert {each for each in own.split() if each.startswith("--")} <= flags
    if "--input" in arguments:
        found = (options or own).replace("$", "a-").split()
        check(
            found if name == "embed" else [*found, "--runner", "dataflow"], build_parser("l3flow embed")
        )


def exported(name):
    """A variable of the first run, with others in it."""
    value = re.search(rf"\b{name}=(\S+)", FIRST_RUN)[1]
    return re.sub(r"\$(\w+)", lambda found: exported(found[1]), value)


def test_the_first_run_takes_the_images_that_cloud_build_pushes():
    build = yaml.safe_load((REPO / "launch/docker/cloudbuild.yaml").read_text(encoding="utf-8"))
    values = build["substitutions"] | {"PROJECT_ID": exported("PROJECT")}
    pushed = {re.sub(r"\$\{(\w+)\}", lambda found: values[found[1]], each) for each in build["images"]}
    pushed = {re.sub(r"\$\{(\w+)\}", lambda found: values[found[1]], each) for each in pushed}
    taken = re.findall(r"image \$IMAGE(-\w+)", FIRST_RUN)
    assert {exported("IMAGE") + each for each in taken} == {
        each for each in pushed if ":cache-" not in each
    }
    assert f"repositories create {values['_REPOSITORY']} " in FIRST_RUN


def test_the_first_run_gives_the_roles_and_apis_that_terraform_gives():
    terraform = REPO / "launch/dataflow/terraform"
    accounts = (terraform / "accounts.tf").read_text(encoding="utf-8")
    needed = {
        role
        for name, role in re.findall(r'"(work_\w+)" \{.*?"roles/([\w.]+)"', accounts, re.DOTALL)
        if name != "work_reads"  # of audio in other buckets
    }
    third = FIRST_RUN.partition("**Step 3.**")[2].partition("**Step 4.**")[0]
    words = third.replace("\\\n", "")
    given = set(re.findall(r"serviceAccount:\$WORK --role roles/([\w.]+)", words))
    for loop in re.findall(r"for ROLE in ([^;]*);", words):
        given |= set(loop.split())
    assert given == needed
    services = re.findall(
        r'"(\w+\.googleapis\.com)"', (terraform / "main.tf").read_text(encoding="utf-8")
    )
    enabled = set(re.findall(r"\w+\.googleapis\.com", FIRST_RUN.partition("**Step 2**")[0]))
    assert {*services} - {"cloudscheduler.googleapis.com"} <= enabled


def test_numbers_are_those_of_the_code():
    for words in (
        f"after {MOST_CLIPS} of those in a shard",
        f"at most {MOST_CLIPS + 4} lines, of ten minutes of work or {SHARD_CLIPS:,} files",
    ):
        assert words in OPERATIONS
    assert ELEMENT_WITHIN_MIN == 120
    assert "over two hours is ended" in OPERATIONS
