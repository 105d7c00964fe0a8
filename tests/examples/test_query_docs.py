"""docs/query.md and map.md show what is printed, of the table of `make demo`; SQL and Python run."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from l3core.crossval.results import SCHEMAS
from l3core.sql.views import RUN_COLUMNS, SPEC_COLUMNS
from l3core.table.layout import LEDGER_SCHEMA, windows_schema
from launch.main import main

REPO = Path(__file__).parents[2]
TEXT = (REPO / "docs/query.md").read_text(encoding="utf-8")
MAP = (REPO / "docs/map.md").read_text(encoding="utf-8")
SHOWN = [
    shown
    for block in re.findall(r"```\n(\$ .*?)```", TEXT + MAP, re.DOTALL)
    for shown in re.findall(r"\$ (l3flow .*)\n((?:(?!\$ ).*\n)*)", block)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where `demo-table` is, and the SQL that the page shows."""
    folder = tmp_path_factory.mktemp("query-docs")
    command = ["embed", "--input", str(REPO / "examples/data/audio"), "--output", f"{folder}/demo-table"]
    assert main([*command, "--model", "edgel3-sea-64", "--hop", "0.5", "--quiet"]) == 0
    (folder / "examples").symlink_to(REPO / "examples")
    for sql in re.findall(r"```sql\n(.*?)```", TEXT, re.DOTALL):
        (folder / re.match(r"-- (\S+)", sql)[1]).write_text(sql, encoding="utf-8")
    return folder


def words(text):
    """Words and numbers, the latter to be compared as numbers: vectors differ a little by machine."""
    found = re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?|[^\s\d]+", text)
    return [word for word in found if not _is_number(word)], [float(w) for w in found if _is_number(w)]


def _is_number(word):
    return word.lstrip("-")[:1].isdigit()


def test_the_page_shows_answers_and_errors():
    assert len(SHOWN) >= 8
    assert sum(shown.startswith("l3flow: ") for _, shown in SHOWN) >= 2


@pytest.mark.parametrize(("command", "shown"), SHOWN, ids=lambda text: text[:60])
def test_a_command_prints_what_is_shown(folder, monkeypatch, capsys, command, shown):
    monkeypatch.chdir(folder)
    code = main(shlex.split(command)[1:])
    said = capsys.readouterr()
    printed = said.out + said.err
    assert (code != 0) == shown.startswith("l3flow: ")
    assert len(printed.splitlines()) == len(shown.splitlines())
    (expected, numbers), (got, other) = words(shown), words(printed)
    assert got == expected
    assert other == pytest.approx(numbers, rel=2e-3, abs=2e-3)


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL))
def test_a_block_of_python_runs(folder, block):
    environment = os.environ | {"PYTHONPATH": str(REPO)}
    run = [sys.executable, "-c", block]
    done = subprocess.run(run, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    assert "1095" in done.stdout


def test_every_column_of_the_views_is_described():
    page = (REPO / "docs/tables.md").read_text(encoding="utf-8").partition("## Views")[2]
    described = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", page, re.MULTILINE))
    columns = {
        "windows": windows_schema(1).names,
        "clips": LEDGER_SCHEMA.names,
        "runs": list(RUN_COLUMNS),
        "specs": list(SPEC_COLUMNS),
        **{name: schema.names for name, schema in SCHEMAS.items()},
    }
    assert set(described) == set(columns)
    for view, names in columns.items():
        named = re.findall(r"`(\w+)`", described[view])
        assert [name for name in names if name not in named] == [], view


def test_the_readme_names_the_page():
    assert "docs/query.md" in (REPO / "README.md").read_text(encoding="utf-8")
