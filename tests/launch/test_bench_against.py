"""The whole command beside peers: what is measured, and what becomes of one that is not to be had."""

import json
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from launch.benchmarks import named_peers
from launch.benchmarks.against import table
from launch.benchmarks.contest import Run
from launch.benchmarks.figures import Figure
from launch.benchmarks.named_peers import Peer
from launch.benchmarks.results import npz_vectors, parquet_vectors, relative_l2
from launch.benchmarks.watched import Watched
from launch.main import main


def test_a_peer_that_runs_and_one_that_cannot_be_installed(capsys, monkeypatch, tmp_path):
    """Both scripts are those that are measured; the packages of one are not to be had."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    monkeypatch.setattr("launch.benchmarks.contest.PYTHONS", (version,))
    (tmp_path / "none.txt").write_text("--no-index\nno-such-package-anywhere\n")
    peer = Peer("openl3_loop.py", str(tmp_path / "none.txt"), ".npz")
    monkeypatch.setitem(named_peers.PEERS, "openl3", peer)
    flags = ("--weights", "random:0", "--embedding-size", "512", "--hop", "1", "--minutes", "0.1")
    assert main(["bench", "--against", "openl3,plain", *flags, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)["figures"]
    left_out, *others = figures
    assert left_out["name"] == "left out"
    assert left_out["note"].startswith("openl3: cannot install none.txt: Could not find a version")
    assert not any(figure["note"].startswith("openl3") for figure in others)
    found = {(figure["name"], figure["note"].partition(":")[0]): figure for figure in others}
    # centred, 1 s apart: a clip of 4 s and one at the model's rate have 5 windows, 3 s have 4
    assert found["whole command", "plain"]["note"] == "plain: 14 windows"
    assert found["whole command", "l3flow"]["note"] == "l3flow: 14 windows, mean of 2 runs"
    for name in ("CPU time", "peak memory", "first result"):
        assert found[name, "plain"]["value"] > 0
        assert found[name, "l3flow"]["value"] > 0
    assert 100 < found["peak memory", "plain"]["value"] < 10_000
    far = [figure["value"] for figure in others if figure["name"] == "vectors, relative L2"]
    assert len(far) == 2
    assert max(far) < 1e-4
    # one of nine clips is broken: the fifth
    ours, plain = (found["beside a broken clip", name] for name in ("l3flow", "plain"))
    assert (ours["value"], plain["value"]) == (8, 4)
    assert "8 ok, 1 unreadable" in ours["note"]
    assert "ended by soundfile.LibsndfileError" in plain["note"]


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        (["--against", "opnel3"], "does not know 'opnel3', did you mean openl3?"),
        (["--against", "everyone"], "does not know 'everyone'; there are openl3, ray, plain"),
        (["--against", ","], "needs names; there are openl3, ray, plain"),
        (["against"], "against needs --against NAMES"),
        (["--against", "plain", "--model", "edgel3-sea-64"], "needs what openl3 can compute"),
        (["--against", "plain", "--grid", "paper"], "--grid center or nocenter"),
    ],
)
def test_whom_nothing_can_be_compared_with(capsys, flags, part):
    assert main(["bench", *flags]) == 2
    error = capsys.readouterr().err
    assert part in error
    assert error.count("\n") == 1


def test_the_table_has_a_line_for_each_that_ran():
    figures = [
        Figure("whole command", 12.0, "windows/s", "openl3: 30 windows"),
        Figure("speed / peer's", 1.25, "", "openl3: whole command"),
        Figure("failed", 1, "exit code", "ray: RuntimeError"),
        Figure("whole command", 15.0, "windows/s", "l3flow: 30 windows"),
        Figure("beside a broken clip", 8, "of 8 clips", "l3flow: went on"),
    ]
    head, ours, openl3 = map(str.split, table(figures).splitlines())
    assert head[0] == "windows/s"
    assert ours == ["l3flow", "15", "8"]
    assert openl3 == ["openl3", "12", "1.25"]


def test_vectors_are_read_by_file_and_in_order(tmp_path):
    """As two peers write them: an .npz for each file; rows of windows in any order."""
    vectors = np.arange(8, dtype=np.float32).reshape(4, 2)
    for name, rows in (("a", [0, 1]), ("b", [2, 3])):
        np.savez(tmp_path / f"{name}.npz", embedding=vectors[rows], timestamps=[0.0, 0.5])
    order = [3, 0, 2, 1]
    columns = {
        "path": [f"/corpus/{'aabb'[row]}.wav" for row in order],
        "start_s": [row % 2 / 2 for row in order],
        "embedding": pa.array(list(vectors[order]), pa.list_(pa.float32())),
    }
    for part in range(2):
        rows = pa.table(columns).slice(2 * part, 2)
        pq.write_table(rows, tmp_path / f"{part}.parquet")
    for name in ("a.npz", "0.parquet"):  # what a killed peer leaves is none
        (tmp_path / f"half-{name}").write_bytes((tmp_path / name).read_bytes()[:-20])
    for found in (npz_vectors(tmp_path), parquet_vectors(tmp_path)):
        assert list(found) == ["a", "b"]
        np.testing.assert_array_equal(np.concatenate([found["a"], found["b"]]), vectors)
    assert parquet_vectors(tmp_path / "nothing") == {}


def test_the_farthest_window_counts():
    ours = np.array([[3.0, 4.0], [0.0, 2.0]])
    # the second is 0.5 away and 2 long
    assert relative_l2(np.array([[3.0, 4.0], [0.5, 2.0]]), ours) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["Traceback:", "openl3.OpenL3Error: no file", "bye"], "openl3.OpenL3Error: no file"),
        (["\x1b[36mValueError: bad\x1b[0m", "KeyError"], "KeyError"),
        (["\x1b[36mkilled\x1b[0m"], "killed"),
        ([], "exit code -9"),
    ],
)
def test_why_a_run_ended(lines, said):
    assert Run(Watched(-9, 1.0, None, None, None, lines), {}).failure == said
