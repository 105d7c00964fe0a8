"""`EmbedSignals` and `L3ModelHandler` in pipelines of others: Beam's own RunInference, and no mocks."""

import pickle
import subprocess
import sys
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
from apache_beam import pvalue, typehints
from apache_beam.ml.inference.base import KeyedModelHandler, RunInference
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.window import FixedWindows, GlobalWindow, IntervalWindow, TimestampedValue
from apache_beam.utils.windowed_value import PaneInfo, PaneInfoTiming, WindowedValue

import pipelines
from l3core.embedding import Embedder, Embedding
from l3core.errors import WeightsError
from l3core.signals import Signal, SignalEmbedding
from l3core.spec import EmbeddingSpec
from pipelines import EmbedSignals, L3ModelHandler
from pipelines.inference import _EmbedSignals, embedder_for
from tests.corpus import SPEC, noise

REPO = Path(__file__).parents[2]
KEYS = ["a b.wav", 'it\'s "x"', "k=v%", "müßig", "short"]
SIGNALS = {
    KEYS[0]: Signal(noise(1.0, seed=1), 8_000),
    KEYS[1]: (noise(2.3, rate=11_025, channels=2, seed=2), 11_025),
    KEYS[2]: Signal(np.zeros(4_000, np.float64), 4_000),
    KEYS[3]: (noise(7.0, seed=4), 8_000),
    KEYS[4]: (noise(0.01, seed=3)[:, 0], 44_100),
}
BAD = {"nan": (np.array([np.nan]), 8_000), "empty": (np.zeros(0), 8_000), "none": None}
MESSAGES = {
    "nan": "audio must be finite, got NaN or infinite samples",
    "empty": "audio must have samples, got none",
    "none": "a signal is (audio, sample rate), got NoneType",
}


def pipeline():
    return beam.Pipeline(options=PipelineOptions([], runner="FnApiRunner"))


def row(key, embedding):
    return (key, *(array.tobytes() for array in embedding[:3]))


def expected():
    embedder = Embedder(SPEC)
    return [row(key, embedder.embed(*signal)) for key, signal in SIGNALS.items()]


def counters(result, namespace="l3flow"):
    found = result.metrics().query(beam.metrics.MetricsFilter().with_namespace(namespace))
    return {metric.key.metric.name: metric.result for kind in found.values() for metric in kind}


def test_signals_become_embeddings_and_bad_ones_errors():
    with pipeline() as p:
        signals = p | beam.Create([*SIGNALS.items(), *BAD.items()])
        embedded, errors = signals | EmbedSignals(SPEC)
        assert_that(embedded | beam.MapTuple(row), equal_to(expected()), label="embedded")
        assert_that(errors, equal_to([*MESSAGES.items()]), label="errors")
    # 5, 10, 5, 29 and 1 windows: 1 + ceil((n + 500 - 1000) / 1000) of n samples at 4 kHz
    found = counters(p.result)
    assert (found["signals"], found["signals_failed"], found["windows"]) == (5, 3, 50)


def test_outputs_by_name_and_their_types():
    with pipeline() as p:
        signals = p | beam.Create([(1, SIGNALS["müßig"])])
        found = signals | EmbedSignals(SPEC)
        assert found.embedded.element_type == typehints.Tuple[int, Embedding]
        assert found.errors.element_type == typehints.Tuple[int, str]
        lengths = found.embedded | beam.MapTuple(lambda key, embedding: len(embedding.vectors))
        assert_that(lengths, equal_to([29]))


def test_elements_without_keys_are_refused_when_the_graph_is_built():
    with pytest.raises(beam.typehints.decorators.TypeCheckError, match=r"Tuple\[Any, Any\]"):
        pipeline() | beam.Create([3, 4]) | EmbedSignals(SPEC)


def test_timestamps_and_windows_stay_what_they_were():
    def told(element, timestamp=beam.DoFn.TimestampParam, window=beam.DoFn.WindowParam):
        return element[0], float(timestamp), float(window.start), float(window.end)

    elements = [*SIGNALS.items(), ("nan", BAD["nan"])]
    with pipeline() as p:
        timed = p | beam.Create(range(6)) | beam.Map(lambda n: TimestampedValue(elements[n], 7 * n))
        signals = timed | beam.WindowInto(FixedWindows(10))
        embedded, errors = signals | EmbedSignals(SPEC)
        places = [
            (key, 7.0 * n, 7 * n // 10 * 10.0, 7 * n // 10 * 10.0 + 10) for n, key in enumerate(KEYS)
        ]
        assert_that(embedded | "Told" >> beam.Map(told), equal_to(places), label="embedded")
        assert_that(errors | "Why" >> beam.Map(told), equal_to([("nan", 35.0, 30.0, 40.0)]))


def test_windows_of_several_elements_fill_batches_and_none_outlives_its_bundle(monkeypatch):
    """40 signals of 5 windows, batches of 16: eight at 130 windows, the rest when the bundle ends."""
    sizes, engine = [], type(embedder_for(SPEC).engine)
    call = engine.__call__
    monkeypatch.setattr(
        engine, "__call__", lambda self, s, starts: sizes.append(len(starts)) or call(self, s, starts)
    )
    dofn = _EmbedSignals(SPEC, None)
    dofn.setup()
    window, pane = IntervalWindow(0, 10), PaneInfo(True, False, PaneInfoTiming.EARLY, 0, 0)
    for _ in range(2):
        dofn.start_bundle()
        found = []
        for n in range(40):
            found += dofn.process((n, SIGNALS[KEYS[0]]), n / 4, window, pane)
        assert len(found) == 26
        found += dofn.finish_bundle()
        assert [one.value[0] for one in found] == [*range(40)]
        assert {(one.windows, one.pane_info) for one in found} == {((window,), pane)}
        assert found[7].timestamp == 1.75
    assert sizes == [16] * 8 + [2] + [16] * 4 + [6] + [16] * 8 + [2] + [16] * 4 + [6]
    dofn.start_bundle()
    list(dofn.process((1, SIGNALS[KEYS[0]]), 0, GlobalWindow(), pane))
    dofn.start_bundle()  # that one failed: its elements come again
    assert list(dofn.finish_bundle()) == []
    (error,) = dofn.process(("k", None), 3, window, pane)
    assert isinstance(error, pvalue.TaggedOutput)
    assert not isinstance(error.value, WindowedValue)


def test_run_inference():
    signals = [*SIGNALS.values(), *BAD.values()]
    with pipeline() as p:
        found = p | beam.Create(signals) | RunInference(L3ModelHandler(SPEC))
        good = found | beam.Filter(lambda one: one.error is None) | beam.Map(lambda one: row("", one))
        wanted = [("", *one[1:]) for one in expected()]
        assert_that(good, equal_to(wanted), label="good")
        bad = found | beam.Filter(lambda one: one.error) | "Why" >> beam.Map(lambda one: one.error)
        assert_that(bad, equal_to([*MESSAGES.values()]), label="bad")


def test_run_inference_with_keys_and_its_metrics():
    handler = L3ModelHandler(SPEC, signals_a_batch=3)
    with pipeline() as p:
        keyed = p | beam.Create([*SIGNALS.items(), *BAD.items()], reshuffle=False)
        found = keyed | RunInference(KeyedModelHandler(handler))
        good = found | beam.Filter(lambda pair: pair[1].error is None) | beam.MapTuple(row)
        assert_that(good, equal_to(expected()), label="good")
        bad = found | beam.Filter(lambda pair: pair[1].error)
        why = bad | beam.MapTuple(lambda key, one: (key, one.error))
        assert_that(why, equal_to([*MESSAGES.items()]), label="bad")
    metrics = counters(p.result)
    assert metrics["num_inferences"] == 8
    assert metrics.get("failed_batches_counter", 0) == 0
    assert (metrics["signals"], metrics["signals_failed"], metrics["windows"]) == (5, 3, 50)
    sizes = metrics["inference_request_batch_size"]
    assert (sizes.sum, sizes.max, sizes.count) == (8, 3, 3)
    samples = [np.asarray(one[0]).nbytes for one in (*SIGNALS.values(), BAD["nan"], BAD["empty"])]
    keys = metrics["inference_request_batch_byte_size"].sum - sum(samples)
    assert 0 < keys < 200  # pickled, by Beam


def test_a_bad_signal_takes_no_batch_with_it():
    """Beam's dead letters are whole batches: with errors of their own nothing gets there."""
    with pipeline() as p:
        signals = p | beam.Create([*SIGNALS.values(), *BAD.values()])
        found, failed = signals | RunInference(L3ModelHandler(SPEC)).with_exception_handling()
        count = found | beam.combiners.Count.Globally()
        assert_that(count, equal_to([8]), label="all")
        assert_that(failed.failed_inferences, equal_to([]), label="none failed")


def test_inference_args_are_refused():
    with pytest.raises(ValueError, match=r"takes no inference_args, got \['hop'\]"):
        L3ModelHandler(SPEC).validate_inference_args({"hop": 1})


def test_a_batch_without_elements():
    """Beam makes them: beam.BatchElements with sizes."""
    handler = L3ModelHandler(SPEC)
    assert list(handler.run_inference([], handler.load_model())) == []
    assert handler.get_num_bytes([]) == 0


def test_one_model_in_a_process_for_each_spec():
    other = EmbeddingSpec(model="fake", engine="fake", weights="random:0", hop_s=0.5)
    one = L3ModelHandler(SPEC).load_model()
    assert embedder_for(other) is not one
    assert pickle.loads(pickle.dumps(L3ModelHandler(SPEC))).load_model() is one
    assert L3ModelHandler(SPEC, batch_size=4).load_model().engine.batch_size == 4


def test_bad_weights_fail_with_their_name(tmp_path):
    spec = EmbeddingSpec(model="fake", engine="fake", weights=str(tmp_path / "none.h5"))
    with pytest.raises(WeightsError, match=r"none\.h5"), pipeline() as p:
        p | beam.Create([*SIGNALS.items()]) | EmbedSignals(spec)


def test_who_submits_loads_no_tensorflow():
    program = (
        "import sys, pickle, apache_beam as beam\n"
        "from pipelines import EmbedSignals, L3ModelHandler\n"
        "from l3core import EmbeddingSpec\n"
        "spec = EmbeddingSpec(model='edgel3-sea-64')\n"
        "p = beam.Pipeline()\n"
        "p | beam.Create([('k', None)]) | EmbedSignals(spec)\n"
        "p.to_runner_api()\n"
        "pickle.dumps(L3ModelHandler(spec))\n"
        "print('apache_beam' in sys.modules, 'tensorflow' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPO, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True", "False"]


def test_there_is_nothing_else_to_import():
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        pipelines.Nothing  # noqa: B018
    assert SignalEmbedding._fields[:3] == Embedding._fields
