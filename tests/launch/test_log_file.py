"""What workers tell, in a terminal: nothing of it on the screen, all of it in `--log-file`."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.corpus import FLAGS, write_mixed

REPOSITORY = Path(__file__).parents[2]
LINE = re.compile(r"[-\d]+ [:,\d]+ (?P<level>[A-Z]+) (pipelines|worker): (?P<event>\{.*\})")


def embed(tmp_path, *more):
    """Run the command in a process of its own; what it prints."""
    # every Python process that starts reads it: workers have to know the model, too
    (tmp_path / "sitecustomize.py").write_text("from tests import fake_model\nfake_model.register()\n")
    command = ["embed", "--input", str(tmp_path / "corpus"), "--output", str(tmp_path / "table"), *FLAGS]
    done = subprocess.run(
        [sys.executable, "-c", "from launch.main import run; run()", *command, *more],
        env=os.environ | {"PYTHONPATH": f"{REPOSITORY}:{tmp_path}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("workers", [[], ["--workers", "2"]])
def test_events_are_in_the_log_file_and_not_on_the_screen(tmp_path, workers):
    write_mixed(tmp_path / "corpus")
    said = embed(tmp_path, "--log-file", str(tmp_path / "log"), *workers)
    assert '"event"' not in said
    found = [
        match for line in (tmp_path / "log").read_text().splitlines() if (match := LINE.match(line))
    ]
    events = [json.loads(match["event"]) for match in found]
    assert {each["event"] for each in events} == {
        *("model_loaded", "shard_started", "clip", "shard_done", "committed")
    }
    assert {each["clip"]: each["status"] for each in events if each["event"] == "clip"} == {
        "bad/empty.wav": "empty",
        "bad/header only.wav": "empty",
        "bad/text.wav": "unreadable",
        "cut.flac": "truncated",
    }
    assert {match["level"] for match in found} == {"INFO", "WARNING"}


def test_without_a_log_file_nothing_is_told(tmp_path):
    write_mixed(tmp_path / "corpus")
    assert '"event"' not in embed(tmp_path)
