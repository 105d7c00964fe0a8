"""A machine with several GPUs: each has a model, and shards are spread over them.

There is no GPU here. TensorFlow's logical CPU devices are as separate for it: a network's variables and
its operations are on one of them.
"""

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from l3core.engines import ENGINES
from l3core.errors import RunError, WeightsError
from l3core.table.read import read_windows
from launch.main import main
from pipelines import embed, workers
from pipelines.workers import using_model
from tests import fake_model
from tests.corpus import FLAGS, write_files
from tests.pipelines.test_embed import planned

REPOSITORY = Path(__file__).parents[2]
EDGE = ("--model", "edgel3-sea-64", "--hop", "0.5")
# A process whose TensorFlow has two CPUs; the file says on which devices its operations were.
TWO_CPUS = """
import sys
import tensorflow as tf

[cpu] = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

from l3core.engines import tensorflow

loaded = tensorflow.load

def noting(*args, **kwargs):
    engine = loaded(*args, **kwargs)
    function = engine._compiled.embed
    places = {operation.device for operation in function.graph.get_operations() if operation.inputs}
    places |= {variable.value.device for layer in engine._layers for variable in layer.variables}
    with open(sys.argv[1], "a") as file:
        file.write(f"{engine.device}|{sorted({place[-5:] for place in places if place})}\\n")
    return engine

tensorflow.load = noting

from launch.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture
def two_devices(monkeypatch):
    """The fake engine, with two devices; the list of those that were loaded."""
    loaded = []

    def load(spec, weights, *, batch_size, device=None):
        engine = fake_model.load(spec, weights, batch_size=batch_size)
        if device:
            engine.device = device
            loaded.append(device)
        return engine

    monkeypatch.setattr(workers, "_loaded", {})
    monkeypatch.setattr(workers, "_checked", {})
    module = type(sys)("two_devices")
    module.load, module.load_reference = load, fake_model.load_reference
    module.devices = lambda: ["GPU 0 A", "GPU 1 A"]
    monkeypatch.setitem(sys.modules, "two_devices", module)
    monkeypatch.setitem(ENGINES, "fake", ENGINES["fake"]._replace(module="two_devices"))
    return loaded


def test_shards_run_side_by_side_on_all_devices_and_tell_them_apart(tmp_path, capsys):
    corpus, notes = write_files(tmp_path / "corpus", 8), tmp_path / "notes"
    arguments = ["embed", "--input", str(corpus), "--output", str(tmp_path / "two"), *EDGE, "--json"]
    done = subprocess.run(
        [sys.executable, "-c", TWO_CPUS, str(notes), *arguments],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert set(record["shards_by_device"]) == {"CPU 0", "CPU 1"}
    assert sum(record["shards_by_device"].values()) == 8
    assert sorted(notes.read_text().splitlines()) == ["CPU 0|['CPU:0']", "CPU 1|['CPU:1']"]
    one = tmp_path / "one"
    assert main(["embed", "--input", str(corpus), "--output", str(one), *EDGE, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["shards_by_device"] == {"CPU": 8}
    found, vectors = read_windows(str(tmp_path / "two"))
    expected, others = read_windows(str(one))
    assert found.equals(expected)
    np.testing.assert_allclose(vectors, others, rtol=1e-5, atol=1e-6)


def test_a_thread_gets_the_device_that_fewest_use(tmp_path, two_devices):
    _, job = planned(write_files(tmp_path / "corpus", 1), tmp_path / "table")
    with using_model(job) as first, using_model(job) as second:
        names = {first.embedder.engine.device, second.embedder.engine.device}
        assert names == {"GPU 0 A", "GPU 1 A"}
        with using_model(job) as third, using_model(job) as fourth:
            assert {third.embedder.engine.device, fourth.embedder.engine.device} == names
    with using_model(job) as again:
        assert again.embedder is first.embedder
    assert sorted(two_devices) == ["GPU 0 A", "GPU 1 A"]  # each once


def test_threads_that_come_at_once_are_spread(tmp_path, two_devices):
    _, job = planned(write_files(tmp_path / "corpus", 1), tmp_path / "table")
    found, together = [], threading.Barrier(4, timeout=60)

    def embed():
        with using_model(job) as loaded:
            together.wait()
            found.append(loaded.embedder.engine.device)

    threads = [threading.Thread(target=embed) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == ["GPU 0 A", "GPU 0 A", "GPU 1 A", "GPU 1 A"]


def test_nobody_waits_for_a_model_of_another_device(tmp_path, two_devices, monkeypatch):
    _, job = planned(write_files(tmp_path / "corpus", 1), tmp_path / "table")
    monkeypatch.setattr(os, "getpid", lambda: 100)
    read, comes, may_load = workers.read_bytes, threading.Event(), threading.Event()

    def slowly(uri):
        comes.set()
        assert may_load.wait(60)
        return read(uri)

    def embed():
        with using_model(job) as loaded:
            found.append(loaded.embedder.engine.device)

    found, first = [], using_model(job)
    with first, ThreadPoolExecutor(2) as pool:
        monkeypatch.setattr(workers, "read_bytes", slowly)
        loading = pool.submit(embed)
        try:
            assert comes.wait(60)
            pool.submit(embed).result(60)  # each device has one: it gets the first, which is loaded
            assert found == ["GPU 0 A"]
        finally:
            may_load.set()
        loading.result(60)
    assert found == ["GPU 0 A", "GPU 1 A"]


def test_a_device_whose_model_cannot_be_loaded_is_free_again(tmp_path, two_devices, monkeypatch):
    _, job = planned(write_files(tmp_path / "corpus", 1), tmp_path / "table")
    with monkeypatch.context() as patch:
        patch.setattr(workers, "read_bytes", lambda uri: b"no HDF5")
        for _ in range(3):
            with pytest.raises(WeightsError), using_model(job):
                raise AssertionError("a model without weights was used")
    assert not any(workers._in_use.values())


def test_processes_of_one_thread_begin_at_different_devices(tmp_path, two_devices, monkeypatch):
    _, job = planned(write_files(tmp_path / "corpus", 1), tmp_path / "table")
    found = []
    for pid in (100, 101, 102):
        monkeypatch.setattr(os, "getpid", lambda pid=pid: pid)
        with using_model(job) as loaded:
            found.append(loaded.embedder.engine.device)
    assert found == ["GPU 0 A", "GPU 1 A", "GPU 0 A"]


def test_each_device_is_checked(tmp_path, two_devices, monkeypatch):
    _, job = planned(write_files(tmp_path / "corpus", 1), tmp_path / "table")
    scale = fake_model.FakeEngine.__call__

    def broken(self, signal, starts):
        return scale(self, signal, starts) * (1.01 if self.device == "GPU 1 A" else 1)

    monkeypatch.setattr(fake_model.FakeEngine, "__call__", broken)
    monkeypatch.setattr(os, "getpid", lambda: 100)
    with (
        using_model(job),
        pytest.raises(RunError, match="GPU 1 A computes other numbers than the ref"),
        using_model(job),
    ):
        raise AssertionError("a device that computes other numbers was used")


def test_devices_share_the_cores_that_decode(tmp_path, two_devices, monkeypatch):
    _, job = planned(write_files(tmp_path / "corpus", 1), tmp_path / "table")
    monkeypatch.setattr(workers, "usable_cores", lambda: 48)
    with using_model(job) as loaded:
        assert loaded.decoders == 6  # a thread for each four cores, of half of them
    with using_model(replace(job, processes=3)) as loaded:
        assert loaded.decoders == 2
    monkeypatch.setattr(workers, "usable_cores", lambda: 2)
    with using_model(job) as loaded:
        assert loaded.decoders == 1


@pytest.mark.parametrize("names", [["A"], ["A", "A"]], ids=["one GPU", "two"])
def test_a_gpu_has_one_model_however_many_processes_are_asked_for(
    tmp_path, two_devices, monkeypatch, names
):
    """The workers of `--workers` would be processes of their own, which know nothing of this model."""
    monkeypatch.setattr(embed, "may_have_gpu", lambda: True)
    module = sys.modules["two_devices"]
    module.gpus = lambda: names
    module.devices = lambda: [f"GPU {number} {name}" for number, name in enumerate(names)]
    corpus, table = write_files(tmp_path / "corpus", 8), tmp_path / "table"
    command = ["embed", "--input", str(corpus), "--output", str(table), *FLAGS, "--workers", "4"]
    assert main([*command, "--quiet"]) == 0
    (loaded,) = workers._loaded.values()
    assert len(loaded) <= len(names)
    assert read_windows(str(table))[0].num_rows == 40
