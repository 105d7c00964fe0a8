"""The TensorFlow engine as on a GPU: shapes that are fixed, XLA, no memory. The CPU computes."""

import json
import logging
from functools import partial

import numpy as np
import pytest
import tensorflow as tf

from l3core.engines import tensorflow as module
from l3core.engines import tensorflow_tuning
from l3core.engines.halving import compute
from l3core.engines.probing import best_batch_size
from l3core.engines.tensorflow import PlacingEngine, TensorFlowEngine
from l3core.engines.tensorflow_tuning import tune
from l3core.errors import OutOfMemoryError
from l3core.spec import EmbeddingSpec
from l3core.table.read import read_windows
from l3core.weights import load_weights
from launch.main import main
from pipelines import workers
from tests.corpus import write_files

SPEC = EmbeddingSpec(model="edgel3-sea-64")
WINDOWS = 5


@pytest.fixture(scope="module")
def expected():
    """(signal, starts, vectors) of the engine as it is on a CPU."""
    signal = np.random.default_rng(0).uniform(-0.5, 0.5, 12_000).astype(np.float32)
    starts = np.arange(WINDOWS, dtype=np.int32) * 1_000
    return signal, starts, TensorFlowEngine(SPEC, load_weights(SPEC), 16)(signal, starts)


@pytest.fixture
def engine():
    return PlacingEngine(SPEC, load_weights(SPEC), 8, fixed=True, place="/device:CPU:0")


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(tensorflow_tuning, "PROBE_S", 0.01)
    sizes = partial(best_batch_size, smallest=2, largest=4)
    monkeypatch.setattr(tensorflow_tuning, "best_batch_size", sizes)


def agree(found, vectors):
    np.testing.assert_allclose(found, vectors, rtol=1e-4, atol=1e-5 * np.abs(vectors).max())


def with_less_memory(engine, room, *, after=0):
    """As if the device had memory for so many windows, after some calls that all have enough."""
    compile_, calls = engine._compile, []

    def compiled(batch_size, *, xla):
        made = compile_(batch_size, xla=xla)

        def embed(signal, starts):
            calls.append(len(starts))
            if len(starts) > room and len(calls) > after:
                raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
            return made.embed(signal, starts)

        return made._replace(embed=embed)

    engine._compile = compiled
    engine.batch_size = engine.batch_size


def test_a_full_device_gets_half_the_windows(engine, expected):
    signal, starts, vectors = expected
    with_less_memory(engine, 4)
    with pytest.raises(OutOfMemoryError, match="no memory for 8 windows"):
        engine(signal, starts)
    agree(compute(engine, engine.place(signal), starts), vectors)
    assert engine.batch_size == 4
    agree(engine(signal, starts[:3]), vectors[:3])


def test_more_windows_than_a_batch_are_refused_and_split(engine, expected):
    signal, starts, vectors = expected
    engine.batch_size = 2
    with pytest.raises(OutOfMemoryError, match="takes 2 windows"):
        engine(signal, starts)
    agree(compute(engine, signal, starts), vectors)


def test_a_signal_is_placed_on_the_device(engine, expected):
    assert engine.place(expected[0]).device.endswith("CPU:0")


def test_a_run_as_on_a_gpu_that_is_too_small_makes_the_same_table(tmp_path, monkeypatch, capsys):
    corpus = write_files(tmp_path / "corpus", 3, seconds=4.0)
    command = ["embed", "--input", str(corpus), "--model", SPEC.model, "--hop", "0.5", "--output"]
    assert main([*command, str(tmp_path / "plain"), "--quiet"]) == 0

    def load(spec, weights, *, batch_size):
        engine = PlacingEngine(spec, weights, 8, fixed=True, place="/device:CPU:0")
        with_less_memory(engine, 4, after=1)  # that the model is checked is no batch of the run
        return engine

    monkeypatch.setattr(module, "load", load)
    monkeypatch.setattr(workers, "_loaded", {})
    assert main([*command, str(tmp_path / "small"), "--json"]) == 0
    metrics = json.loads(capsys.readouterr().out)["metrics"]
    assert (metrics["batches_halved"], metrics["batch_size"]["max"]) == (1, 4)
    (found, vectors), (expected, others) = (read_windows(str(tmp_path / n)) for n in ("small", "plain"))
    assert found.equals(expected)
    agree(vectors, others)


def test_tuning_takes_what_is_faster_and_computes_the_same(engine, expected, quick, caplog):
    signal, starts, vectors = expected
    with caplog.at_level(logging.INFO, "l3core"):
        tune(engine, SPEC)
    told = json.loads(caplog.records[-1].getMessage())
    assert told["event"] == "engine_tuned"
    assert told["batch_size"] == engine.batch_size in (2, 4)
    speeds = told["windows_per_s"]
    assert speeds["agrees"] is True
    assert told["xla"] is engine.xla is (speeds["xla"] > speeds["plain"])
    engine.xla = True
    agree(compute(engine, signal, starts), vectors)
    engine.batch_size = 1
    assert engine.xla is True


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        (tf.errors.UnimplementedError(None, None, "no ptxas"), "UnimplementedError: no ptxas"),
        (None, None),
    ],
    ids=["fails", "computes something else"],
)
def test_xla_that_is_of_no_use_is_left(engine, quick, monkeypatch, caplog, broken, error):
    compile_ = engine._compile

    def compiled(batch_size, *, xla):
        made = compile_(batch_size, xla=False)._replace(xla=xla)

        def embed(signal, starts):
            if broken:
                raise broken
            return 1.01 * made.embed(signal, starts)

        return made._replace(embed=embed) if xla else made

    monkeypatch.setattr(engine, "_compile", compiled)
    with caplog.at_level(logging.INFO, "l3core"):
        tune(engine, SPEC, sizes=False)
    told = json.loads(caplog.records[-1].getMessage())
    assert (engine.batch_size, engine.xla) == (8, False)
    assert (told["xla"], told["error"], told["windows_per_s"]["agrees"]) == (False, error, False)
