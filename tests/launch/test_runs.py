"""The list of a table's runs."""

import json

import pytest

from launch.main import main
from tests.corpus import FLAGS, write_files


@pytest.fixture
def table(tmp_path):
    """Three runs: two files, nothing new, two more files."""
    corpus, table = write_files(tmp_path / "corpus", 2), tmp_path / "table"
    command = ["embed", "--input", str(corpus), "--output", str(table), *FLAGS, "--quiet"]
    assert main(command) == 0
    assert main(command) == 0
    write_files(corpus, 2, first=2)
    assert main(command) == 0
    return table


def test_every_run_has_its_line(table, capsys):
    assert main(["runs", "--table", str(table)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert "windows/s" in lines[0]
    assert [("2 ok" in line, "nothing to do" in line) for line in lines[1:]] == [
        (True, False),
        (False, True),
        (True, False),
    ]


def test_the_records_as_json(table, capsys):
    assert main(["runs", "--table", str(table), "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert [record["commit"] for record in records] == [1, 2, 3]
    assert [record["windows"] for record in records] == [10, 0, 10]
    assert main(["runs", "--table", str(table), "--json", "--spec", "s0nothing"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_no_table_is_one_line(tmp_path, capsys):
    assert main(["runs", "--table", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "--table no table at" in error
    assert error.count("\n") == 1
