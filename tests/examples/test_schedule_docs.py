"""What the READMEs show of `l3flow schedule` is what it prints, to the byte."""

import os
import re
import shlex
from pathlib import Path

import pytest

from launch.main import main
from launch.schedules.targets import TARGETS

REPO = Path(__file__).parents[2]
SHOWN = [
    (page, command, output)
    for page in ("README.md", "launch/schedules/README.md")
    for command, output in re.findall(
        r"^```\n\$ (l3flow schedule (?:[^\n]*\\\n)*[^\n]*\n)(.*?)^```$",
        (REPO / page).read_text(encoding="utf-8"),
        re.DOTALL | re.MULTILINE,
    )
]


@pytest.mark.parametrize(
    ("page", "command", "output"), SHOWN, ids=[f"{page} {command[:30]}" for page, command, _ in SHOWN]
)
def test_it_prints_what_is_shown(capsys, monkeypatch, page, command, output):
    monkeypatch.setattr(os, "getcwd", lambda: "/data")
    assert main(shlex.split(command.replace("\\\n", ""))[1:]) == 0
    assert capsys.readouterr().out == output


def test_each_scheduler_is_shown():
    shown = [re.search(r"--to (\S+)", command)[1] for page, command, _ in SHOWN if "/" in page]
    assert shown == list(TARGETS)
    assert [page for page, _, _ in SHOWN].count("README.md") == 1
