"""What mixed precision costs, on windows of the recordings."""

import json

import numpy as np
import pytest

from l3core import rounding
from l3core.errors import RunError
from l3core.packing import Batch
from l3core.rounding import RoundingMeter, worst
from l3core.spec import EmbeddingSpec
from l3core.weights import Weights
from launch.main import main
from tests.corpus import write_files

SPEC = EmbeddingSpec(model="edgel3-sea-64", precision="mixed_bfloat16")
NONE = Weights((), "none")


class Reference:
    """A window's vector is two samples; notes which windows it was asked for."""

    batch_size = 16

    def __init__(self):
        self.asked = []

    def __call__(self, signal, starts):
        self.asked += starts.tolist()
        return signal[starts[:, np.newaxis] + np.arange(2)]


@pytest.fixture
def reference(monkeypatch):
    found = Reference()
    monkeypatch.setattr(rounding, "load_reference", lambda spec, weights: found)
    return found


def batch(*silent):
    """Parts with so many windows of (3, 4) each, every other sample; a flag for each window."""
    windows = sum(map(len, silent))
    parts = [(number, np.array(flags, bool)) for number, flags in enumerate(silent)]
    signal = np.tile(np.array([3, 4], np.float32), windows)
    return Batch(signal, np.arange(windows, dtype=np.int32) * 2, parts)


def test_the_error_by_hand(reference):
    """|(3, 4) - (3, 3)| = 1, of 5; the cosine is (9 + 12) / (5 * sqrt(18))."""
    meter = RoundingMeter(SPEC, NONE)
    meter.look(batch([0], [0]), np.array([[3, 4], [3, 3]], np.float32))
    assert meter.take() == {
        "windows": 2,
        "relative_l2": pytest.approx(0.2),
        "cosine": pytest.approx(21 / (5 * 18**0.5)),
    }
    assert meter.take() is None


def test_one_window_of_each_clip_that_is_not_silent(reference):
    given = batch([1, 1, 0, 0], [1], [0, 0])
    RoundingMeter(SPEC, NONE).look(given, np.full((7, 2), 3.5, np.float32))
    assert reference.asked == [4, 10]


def test_it_looks_at_some_windows_only(reference):
    meter = RoundingMeter(SPEC, NONE, windows=3)
    for _ in range(3):
        meter.look(batch([0], [0]), np.full((2, 2), 3.5, np.float32))
    assert meter.take()["windows"] == 3
    assert len(reference.asked) == 3


def test_zeros_are_like_zeros_only(reference):
    meter, given = RoundingMeter(SPEC, NONE), batch([0], [0])
    given.signal[:2] = 0
    meter.look(given, np.array([[0, 0], [0, 0]], np.float32))
    assert meter.take() == {"windows": 2, "relative_l2": 1.0, "cosine": 0.0}


def test_numbers_that_are_too_large_end_the_run(reference):
    meter = RoundingMeter(SPEC, NONE, windows=0)
    with pytest.raises(RunError, match="mixed_bfloat16 is too small"):
        meter.look(batch([0]), np.array([[np.inf, 1]], np.float32))


def test_workers_are_one():
    found = [None, {"windows": 2, "relative_l2": 0.1, "cosine": 0.9}]
    more = {"windows": 3, "relative_l2": 0.2, "cosine": 0.99}
    assert worst([*found, more]) == {"windows": 5, "relative_l2": 0.2, "cosine": 0.9}
    assert worst([None, None]) is None


def test_a_run_in_mixed_precision_says_what_it_costs(tmp_path, capsys):
    corpus, table = write_files(tmp_path / "corpus", 3), str(tmp_path / "table")
    command = ["embed", "--input", str(corpus), "--output", table, "--model", "edgel3-sea-64"]
    assert main([*command, "--hop", "0.5"]) == 0
    assert "to float32" not in capsys.readouterr().out
    assert main(["runs", "--table", table]) == 0
    assert "off float32" not in capsys.readouterr().out
    assert main([*command, "--hop", "0.5", "--precision", "mixed_bfloat16"]) == 0
    assert "mixed_bfloat16: relative L2 0.0" in capsys.readouterr().out
    assert main(["runs", "--table", table]) == 0
    heading, plain, mixed = capsys.readouterr().out.splitlines()
    assert heading.rstrip().endswith("off float32")
    assert "cosine" not in plain
    assert "relative L2 0.0" in mixed
    assert main(["runs", "--table", table, "--json"]) == 0
    plain, mixed = (record["rounding"] for record in json.loads(capsys.readouterr().out))
    assert plain is None
    assert mixed["windows"] == 3  # clips of a second: one each
    assert 1e-3 < mixed["relative_l2"] < 0.1
    assert 0.999 < mixed["cosine"] < 1 - 1e-7
