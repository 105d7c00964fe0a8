"""Batches that a device has no memory for: every window is computed, once, in order."""

import json
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from l3core.engines.halving import compute
from l3core.errors import OutOfMemoryError
from l3core.table.read import read_windows
from launch.main import main
from pipelines import workers
from tests import fake_model
from tests.corpus import FLAGS, write_files


class Small:
    """Has memory for some windows; notes those that it has computed."""

    device = "GPU of a test"

    def __init__(self, batch_size, room, *, fixed):
        self.batch_size, self.room, self.fixed = batch_size, room, fixed
        self.computed = []

    def __call__(self, signal, starts):
        if (self.batch_size if self.fixed else len(starts)) > self.room:
            raise OutOfMemoryError(f"no memory for {len(starts)}")
        self.computed += starts.tolist()
        return signal[starts][:, np.newaxis]


@given(st.integers(1, 70), st.integers(1, 32), st.integers(1, 40), st.booleans())
def test_each_window_once_and_in_order(windows, batch_size, room, fixed):
    engine, sizes = Small(batch_size, room, fixed=fixed), []
    signal, starts = np.arange(100, dtype=np.float32), np.arange(windows, dtype=np.int32)[::-1]
    found = compute(engine, signal, starts, halved=sizes.append)
    np.testing.assert_array_equal(found, signal[starts][:, np.newaxis])
    assert engine.computed == starts.tolist()
    assert sizes == [batch_size // 2**times for times in range(1, len(sizes) + 1)]
    assert engine.batch_size == (sizes or [batch_size])[-1]


def test_a_single_window_that_is_too_large_is_an_error():
    with pytest.raises(OutOfMemoryError, match="no memory for 1"):
        compute(Small(4, 0, fixed=False), np.zeros(9), np.arange(3, dtype=np.int32))


def test_threads_that_share_an_engine_halve_it_once():
    engine, sizes, together = Small(16, 8, fixed=True), [], threading.Barrier(2, timeout=60)
    call = Small.__call__

    class Both(Small):
        def __call__(self, signal, starts):
            if self.batch_size == 16:
                together.wait()
                raise OutOfMemoryError("no memory for either")
            return call(self, signal, starts)

    engine.__class__ = Both
    starts = np.arange(16, dtype=np.int32)
    work = [
        threading.Thread(
            target=compute, args=(engine, np.zeros(16), starts), kwargs={"halved": sizes.append}
        )
        for _ in range(2)
    ]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert (sizes, engine.batch_size) == ([8], 8)
    assert sorted(engine.computed) == sorted([*starts, *starts])


def test_a_run_that_runs_out_of_memory_has_all_its_windows_and_says_so(tmp_path, monkeypatch, capsys):
    corpus = write_files(tmp_path / "corpus", 3)
    command = ["embed", "--input", str(corpus), *FLAGS, "--output"]
    assert main([*command, str(tmp_path / "whole"), "--json"]) == 0
    metrics = json.loads(capsys.readouterr().out)["metrics"]
    assert "batches_halved" not in metrics
    assert metrics["batch_size"]["min"] == 16
    call = fake_model.FakeEngine.__call__

    def small(self, signal, starts):
        if len(starts) > 3:
            raise OutOfMemoryError(f"no memory for {len(starts)}")
        return call(self, signal, starts)

    monkeypatch.setattr(workers, "_loaded", {})
    monkeypatch.setattr(fake_model.FakeEngine, "__call__", small)
    log = tmp_path / "log"
    assert main([*command, str(tmp_path / "halved"), "--log-file", str(log)]) == 0
    # 16, 8, 4: of 5 windows 2 at a time fit
    assert "no memory for a batch 3 times: it takes 2 windows at once now" in capsys.readouterr().out
    (record,) = (tmp_path / "halved" / "runs").glob("*.json")
    metrics = json.loads(record.read_bytes())["metrics"]
    assert metrics["batches_halved"] == 3
    assert metrics["batch_size"]["min"] == metrics["batch_size"]["max"] == 2
    found, expected = (read_windows(str(tmp_path / name)) for name in ("halved", "whole"))
    assert found[0].equals(expected[0])
    np.testing.assert_array_equal(found[1], expected[1])
    halved = [line for line in log.read_text().splitlines() if '"batch_halved"' in line]
    assert [json.loads(line[line.index("{") :])["batch_size"] for line in halved] == [8, 4, 2]
    assert all("WARNING l3core" in line and '"shard"' in line for line in halved)
