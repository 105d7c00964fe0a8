"""What docs/similar.md shows is so: its commands, run on the demo's clips, print what it prints."""

import csv
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from launch.main import main

REPO = Path(__file__).parents[2]
TEXT = (REPO / "docs/similar.md").read_text(encoding="utf-8")
AUDIO = REPO / "examples/data/audio"
# indented: a command and all that it printed
BLOCKS = re.findall(r"^( {4,})\$ (l3flow .*)\n((?:\1(?!\$).*\n)*)", TEXT, re.MULTILINE)
SHOWN = [
    (command, output.replace(indent, "", 1).replace("\n" + indent, "\n"))
    for indent, command, output in BLOCKS
]
NUMBER = re.compile(r"-?\d+\.\d+")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A folder with the demo's table and a new recording."""
    folder = tmp_path_factory.mktemp("demo")
    command = ["embed", "--input", str(AUDIO), "--output", str(folder / "table"), "--quiet"]
    assert main([*command, "--model", "edgel3-sea-64", "--hop", "0.5"]) == 0
    shutil.copy(AUDIO / "1-26143-A-21.ogg", folder / "new.ogg")
    return folder


def test_all_commands_are_found():
    assert len(SHOWN) == 8
    assert all(output for _, output in SHOWN)


def alike(text, other):
    """The same words, and numbers that differ by no more than a machine's arithmetic."""
    if NUMBER.sub("#", text) != NUMBER.sub("#", other):
        return False
    pairs = zip(NUMBER.findall(text), NUMBER.findall(other), strict=True)
    return all(abs(float(one) - float(another)) < 0.02 for one, another in pairs)


def test_alike_sees_a_difference():
    assert alike("a 0.99", "a 0.98")
    assert not alike("a 0.99", "b 0.99")
    assert not alike("a 0.99", "a 0.96")


def test_commands_print_what_is_shown(demo, capsys, monkeypatch):
    monkeypatch.chdir(demo)
    for command, output in SHOWN:
        main(shlex.split(command)[1:])
        printed = capsys.readouterr()
        # a table is called by its whole path in errors
        found = (printed.out + printed.err).replace(f"{demo}/", "")
        assert alike(found, output), (command, found)


def test_precision_of_the_demo(demo, capsys, monkeypatch):
    monkeypatch.chdir(demo)
    clips = sorted(path.name for path in AUDIO.glob("*.ogg"))
    assert main(["similar", "--table", "table", *clips, "-k", "5", "--json"]) == 0
    (demo / "answer.json").write_text(capsys.readouterr().out)
    labels = REPO / "examples/data/meta/esc50.csv"
    script = REPO / "examples/precision_of_neighbours.py"
    command = [sys.executable, str(script), "answer.json", str(labels)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    with labels.open(newline="") as file:
        classes = {row["category"] for row in csv.DictReader(file)}
    assert {line.split()[0] for line in lines} == classes | {"mean"}
    # by chance 9 of 99: the other clips of the class
    mean = re.fullmatch(r"mean +(0\.\d+) of 100 clips", lines[-1])
    assert mean is not None
    assert 0.4 < float(mean[1]) < 0.6
