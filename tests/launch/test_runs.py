"""The list of a table's runs."""

import json
import re
from xml.etree import ElementTree

import pytest

from l3core.reports.runs import runs_page
from launch.main import main
from launch.runs import table_of_runs
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
    for line, held in zip(
        lines[1:], ("2 ok +2.0 s +10 ", "nothing to do +0.0 s +0 ", "2 ok +2.0 s +10 ")
    ):
        assert re.search(held, line)


def test_the_records_as_json(table, capsys):
    assert main(["runs", "--table", str(table), "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert [record["commit"] for record in records] == [1, 1, 2]  # the second had nothing to do
    assert [record["windows"] for record in records] == [10, 0, 10]
    spec = records[0]["fingerprint"]
    assert main(["runs", "--table", str(table), "--json", "--spec", spec[:5]]) == 0
    assert json.loads(capsys.readouterr().out) == records


def test_a_spec_that_no_run_had_is_said(table, capsys):
    spec = json.loads(next((table / "runs").iterdir()).read_bytes())["fingerprint"]
    assert main(["runs", "--table", str(table), "--spec", "s0nothing"]) == 2
    said = capsys.readouterr().err
    assert f"--spec s0nothing is none of the specs in {table}: {spec} (see l3flow runs --help)" in said


def test_one_run_is_no_runs(tmp_path, capsys):
    corpus = write_files(tmp_path / "corpus", 1)
    output = ["--output", str(tmp_path / "table"), "--quiet"]
    assert main(["embed", "--input", str(corpus), *FLAGS, *output]) == 0
    page = tmp_path / "runs.html"
    assert main(["runs", "--table", str(tmp_path / "table"), "--plot", str(page)]) == 0
    assert capsys.readouterr().out == f"1 run: {page}\n"


def test_the_page_shows_every_run_and_needs_no_network(table, tmp_path, capsys):
    page = tmp_path / "runs <b>.html"
    assert main(["runs", "--table", str(table), "--plot", str(page)]) == 0
    assert capsys.readouterr().out == f"3 runs: {page}\n"
    html = page.read_text(encoding="utf-8")
    records = [json.loads(path.read_bytes()) for path in (table / "runs").iterdir()]
    assert len(records) == 3
    assert all(record["run_id"] in html for record in records)
    assert html.count("<svg") == 6
    assert "nothing to do" in html
    for chart in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        words = " ".join(ElementTree.fromstring(chart).itertext())
        assert records[0]["committed_at"][:10] in words
    places = re.findall(r"(?:src|href)=\"([^\"#]+)\"", html)
    assert set(places) == {"data:,"}  # nothing is loaded from anywhere


def test_the_page_of_a_table_named_like_html_is_text(table, tmp_path, capsys):
    named = tmp_path / "<script>alert(1)<" / "table"
    named.parent.mkdir()
    table.rename(named)
    assert main(["runs", "--table", str(named), "--plot", str(tmp_path / "runs.html"), "--quiet"]) == 0
    html = (tmp_path / "runs.html").read_text(encoding="utf-8")
    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)&lt;/table" in html


def test_a_page_without_runs_has_no_charts():
    page = runs_page("table", [], *table_of_runs([]), price=None)
    assert "table" in page
    assert "<svg" not in page


def test_a_page_that_cannot_be_written_is_one_line(table, tmp_path, capsys):
    assert main(["runs", "--table", str(table), "--plot", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "--plot" in error
    assert error.count("\n") == 1


def test_a_page_does_not_replace_a_file_of_its_table(table, capsys):
    kept = (table / "table.json").read_bytes()
    assert main(["runs", "--table", str(table), "--plot", str(table / "table.json")]) == 2
    assert "lies in the table: name another place" in capsys.readouterr().err
    assert (table / "table.json").read_bytes() == kept


def test_no_table_is_one_line(tmp_path, capsys):
    assert main(["runs", "--table", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "--table no table at" in error
    assert error.count("\n") == 1
