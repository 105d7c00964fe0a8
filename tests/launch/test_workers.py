"""Several processes that embed side by side: the same table, and none of them is left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from l3core.table.read import read_windows
from launch.main import main
from tests.corpus import ledger

REPOSITORY = Path(__file__).parents[2]
AUDIO = REPOSITORY / "examples/data/audio"
# a real model: workers know nothing of models that only a test has registered
MODEL = ("--model", "edgel3-sea-64")


def command(table, pattern, *flags):
    return ["embed", "--input", str(AUDIO / pattern), "--output", str(table), *MODEL, *flags]


def processes_below(parent):
    """Process ids whose ancestor is `parent`, by /proc."""
    parents = {}
    for place in Path("/proc").glob("[0-9]*"):  # with /stat one that ends is an error
        try:
            fields = (place / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):  # ended in this moment
            continue
        parents[int(place.name)] = int(fields[1])
    found, size = {parent}, 0
    while len(found) > size:
        size = len(found)
        found |= {process for process, above in parents.items() if above in found}
    return found - {parent}


def alive(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_two_processes_make_the_table_that_one_makes(tmp_path):
    for workers in ("1", "2"):
        flags = ("--hop", "0.5", "--quiet", "--workers", workers)
        assert main(command(tmp_path / workers, "1-1*.ogg", *flags)) == 0
    (one, vectors), (two, others) = (read_windows(str(tmp_path / name)) for name in "12")
    assert one.num_rows > 100
    assert one.equals(two)
    assert np.linalg.norm(vectors - others) <= 1e-5 * np.linalg.norm(vectors)
    assert {clip: row["status"] for clip, row in ledger(tmp_path / "1").items()} == {
        clip: row["status"] for clip, row in ledger(tmp_path / "2").items()
    }


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_an_interrupted_run_leaves_no_process_behind(tmp_path):
    table = tmp_path / "table"
    arguments = command(table, "*.ogg", "--hop", "0.02", "--workers", "2", "--quiet")
    process = subprocess.Popen(
        [sys.executable, "-m", "launch.main", *arguments],
        cwd=REPOSITORY,
        env=os.environ,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 120
        while not list((table / "_l3flow/staging").glob("*/done/*.json")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        workers = processes_below(process.pid)
        assert len(workers) >= 2
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130, said
    assert said.startswith("l3flow: interrupted; the table is as it was")
    deadline = time.monotonic() + 20
    while any(map(alive, workers)):
        assert time.monotonic() < deadline, "a worker goes on"
        time.sleep(0.1)
    assert not (table / "table.json").exists()
