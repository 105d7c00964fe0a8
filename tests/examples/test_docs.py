"""What docs/stores.md shows is so: its Python blocks run as they stand, its errors are as they come."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest

from l3core.storage_options import CONFIGURED
from launch.main import main
from tests.corpus import FLAGS, upload, write_files

REPO = Path(__file__).parents[2]
TEXT = (REPO / "docs/stores.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
WITHOUT, WITH = (
    re.findall(r"\$ (l3flow .*)\n(l3flow: .*\n)", block)
    for block in re.findall(r"```\n(\$ .*?)```", TEXT, re.DOTALL)
)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Three clips of five windows each."""
    folder = tmp_path_factory.mktemp("docs")
    command = ["embed", "--input", str(write_files(folder / "corpus", 3)), "--output"]
    assert main([*command, f"{folder}/table", *FLAGS, "--quiet"]) == 0
    return folder / "table"


@pytest.fixture(scope="module")
def buckets(gcs, s3, table):
    """A bucket called bucket in each store, with the table."""
    gcs.make_bucket("bucket")
    fsspec.filesystem("s3").mkdir("bucket")
    for protocol in ("gs", "s3"):
        upload(table, f"{protocol}://bucket/table")
    return gcs


def test_there_is_a_block_for_each_way_to_read():
    for way in ("pandas", "duckdb", "polars", "pyarrow.dataset", "read_windows"):
        assert any(f"import {way}" in block for block in BLOCKS)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: " ".join(block.split()[:4]))
def test_a_block_runs(buckets, block):
    done = subprocess.run(
        [sys.executable, "-c", block],
        env=os.environ | {"PYTHONPATH": str(REPO)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "15" in done.stdout


@pytest.mark.parametrize(("command", "error"), WITHOUT)
def test_an_error_without_credentials(nobody, capsys, command, error):
    assert main(shlex.split(command)[1:]) == 2
    assert capsys.readouterr().err == error


@pytest.mark.parametrize(("command", "error"), WITH)
def test_an_error_with_credentials(buckets, capsys, monkeypatch, command, error):
    monkeypatch.setenv(CONFIGURED, "{}")
    buckets.clear()
    buckets.fault("^GET .*/forbidden", status=403)
    assert main(shlex.split(command)[1:]) == 2
    buckets.clear()
    assert capsys.readouterr().err == error
