"""The README's Python blocks run as they stand, on a table made by its command."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from launch.main import main
from tests.pytorch import with_torch

REPO = Path(__file__).parents[2]
BLOCKS = re.findall(r"```python\n(.*?)```", (REPO / "README.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readme")
    clips = [
        str(REPO / "examples/data/audio" / name) for name in ("1-100032-A-0.ogg", "1-17367-A-10.ogg")
    ]
    command = ["embed", "--input", *clips, "--output", str(folder / "table")]
    assert main([*command, "--model", "edgel3-sea-64", "--hop", "0.5", "--quiet"]) == 0
    return folder


def test_there_are_blocks_for_each_way_to_read():
    ways = ("pandas", "duckdb", "polars", "read_windows", "Embedder")
    for way in (*ways, "tensorflow_dataset", "torch_dataset", "huggingface_dataset"):
        assert sum(f"import {way}" in block for block in BLOCKS) == 1


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split()[1])
def test_a_block_runs(block, folder, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", block],
        cwd=folder,
        env=with_torch(tmp_path) if "torch" in block else os.environ | {"PYTHONPATH": str(REPO)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    if "print" in block:
        assert "22" in done.stdout or "11" in done.stdout  # 11 windows of each of the two clips


def test_pictures_and_pages_that_it_names_are_there():
    text = (REPO / "README.md").read_text(encoding="utf-8")
    named = re.findall(r'src="([^"]+)"|\]\(([^)#]+)\)', text)
    local = [name for pair in named for name in pair if name and "://" not in name]
    assert {"docs/report.png", "docs/performance.md"} <= set(local)
    assert [name for name in local if not (REPO / name).is_file()] == []
