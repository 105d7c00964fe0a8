"""What docs/python.md shows runs as it stands, in one session, and prints what it says."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from launch.main import main
from tests.pytorch import with_torch

REPO = Path(__file__).parents[2]
TEXT = (REPO / "docs/python.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```\n^```\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
NEXT = "<<<next>>>"


def test_blocks_print_what_they_show(tmp_path, monkeypatch):
    assert len(BLOCKS) == TEXT.count("```python") == 8
    monkeypatch.chdir(tmp_path)
    shutil.copytree(REPO / "examples/data/audio", tmp_path / "examples/data/audio")
    shutil.copy(REPO / "examples/data/meta/esc50.csv", tmp_path)
    (command,) = re.findall(r"^    l3flow (.*)$", TEXT, re.MULTILINE)
    assert main([*shlex.split(command), "--quiet"]) == 0
    program = f"print('{NEXT}', flush=True)\n".join(code for code, _ in BLOCKS)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env=with_torch(tmp_path),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    shown = [output for _, output in BLOCKS]
    # lines of a pipeline's elements come in any order
    assert [sorted(one.split("\n")) for one in done.stdout.split(NEXT + "\n")] == [
        sorted(one.split("\n")) for one in shown
    ]
