"""What a worker tells: its log, and counters that add up to the receipt."""

import json
import logging

import apache_beam as beam
import pytest

from l3core import storage
from l3core.table.counters import METRICS, NAMESPACE, Totals, counted, measured
from l3core.table.json_objects import read_json
from l3core.table.layout import STATUSES
from l3core.table.stopwatch import KINDS
from pipelines import workers
from pipelines.embed import EmbedShards, build_pipeline
from pipelines.telling import MOST_CLIPS, tell_shard
from tests.corpus import MIXED, PlainRun, write_audio, write_mixed
from tests.pipelines.test_embed import in_process, names, planned

HOSTILE = "evil\n\x1b[2J\u202e\"},{'.wav"


def events(caplog):
    """What our rooms have logged: (level, event, its other facts)."""
    found = []
    for record in caplog.records:
        if record.name in ("pipelines", "l3core"):
            assert record.getMessage().isprintable()
            facts = json.loads(record.getMessage())
            found.append((record.levelname, facts.pop("event"), facts))
    return found


def of(found, event):
    return [facts for _, name, facts in found if name == event]


def beam_metrics(result):
    """Those of ours, as a receipt has them."""
    query = result.metrics().query()
    found = {}
    for each in query["counters"] + query["distributions"]:
        if each.key.metric.namespace == NAMESPACE:
            value = each.result
            facts = getattr(value, "data", None)
            found[each.key.metric.name] = (
                value
                if facts is None
                else {"count": facts.count, "sum": facts.sum, "min": facts.min, "max": facts.max}
            )
    return found


def test_a_run_tells_of_its_model_its_shards_and_its_bad_files(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    corpus = write_mixed(tmp_path / "corpus")
    (corpus / HOSTILE).write_text("no samples")
    run, job = planned(corpus, tmp_path / "table")
    workers._loaded.clear()
    with in_process() as pipeline:
        build_pipeline(pipeline, job, names(run))
    found = events(caplog)
    assert [facts["device"] for facts in of(found, "model_loaded")] == ["CPU"]
    assert sorted(facts["shard"] for facts in of(found, "shard_started")) == sorted(names(run))
    done = of(found, "shard_done")
    assert sorted(facts["shard"] for facts in done) == sorted(names(run))
    (committed,) = of(found, "committed")
    assert sum(facts["windows"] for facts in done) == committed["windows"]
    bad = {name: status for name, (status, _) in MIXED.items() if status != "ok"}
    clips = of(found, "clip")
    assert {facts["clip"]: facts["status"] for facts in clips} == bad | {HOSTILE: "unreadable"}
    assert all(facts["error"] and facts["shard"] in names(run) for facts in clips)
    assert {level for level, name, _ in found if name == "clip"} == {"WARNING"}
    assert {facts["run"] for _, _, facts in found} == {"run-1"}


def test_of_many_bad_files_the_first_are_told_and_the_others_counted(tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("l3core.table.plan.SHARDS_WANTED", 1)
    for number in range(MOST_CLIPS + 30):
        path = tmp_path / "corpus" / f"{number:03d}.wav"
        path.parent.mkdir(exist_ok=True)
        path.write_text("no samples" if number % 2 else "")
    run, job = planned(tmp_path / "corpus", tmp_path / "table")
    with in_process() as pipeline:
        build_pipeline(pipeline, job, names(run))
    found = events(caplog)
    assert len(of(found, "clip")) == MOST_CLIPS
    (rest,) = of(found, "more_clips")
    assert rest["clips"] == {"empty": 15, "unreadable": 15}
    (done,) = of(found, "shard_done")
    assert done["clips"] == {"empty": 25, "unreadable": 25}


def test_a_shard_that_was_done_before_has_no_speed(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    run, job = planned(write_mixed(tmp_path / "corpus"), tmp_path / "table")
    for _ in range(2):
        with in_process() as pipeline:
            _ = pipeline | beam.Create(names(run)[:1]) | EmbedShards(job)
    first, again = of(events(caplog), "shard_done")
    assert first["windows_per_s"] == pytest.approx(first["windows"] / first["seconds"], rel=1e-2)
    uri = storage.join(run.paths.staging("run-1", "done"), f"{names(run)[0]}.json")
    manifest = read_json(uri)
    manifest["inferences"]["seconds"] = 400.0  # the fake model takes next to none
    caplog.clear()
    tell_shard(manifest, seconds=again["seconds"])
    (again,) = of(events(caplog), "shard_done")
    assert (again["windows"], again["windows_per_s"]) == (first["windows"], None)


def test_a_shard_that_fails_is_named(tmp_path, caplog):
    _, job = planned(write_mixed(tmp_path / "corpus"), tmp_path / "table")
    with pytest.raises(Exception, match=r"999999\.json"), in_process() as pipeline:
        _ = pipeline | beam.Create(["999999"]) | EmbedShards(job)
    (failed,) = of(events(caplog), "shard_failed")
    assert failed["shard"] == "999999"
    assert "999999.json" in failed["error"]


def test_beams_counters_add_up_to_the_receipt(tmp_path):
    run, job = planned(write_mixed(tmp_path / "corpus"), tmp_path / "table")
    workers._loaded.clear()
    pipeline = in_process()
    build_pipeline(pipeline, job, names(run))
    counters = beam_metrics(pipeline.run())
    receipt = read_json(run.paths.record("run-1"))
    assert counters == receipt["metrics"]
    assert counters["num_inferences"] == counters["windows"] == receipt["windows"]
    assert counters["load_model_latency_milli_secs"]["count"] == 1
    clips = {f"clips_{status}": number for status, number in receipt["clips"].items()}
    assert clips.items() <= counters.items()
    assert set(counters) <= set(METRICS)


def test_every_status_and_kind_has_its_counter():
    assert {f"clips_{status}" for status in STATUSES if status != "gone"} <= set(METRICS)
    assert {f"{kind}_milli_secs" for kind in KINDS} <= set(METRICS)


def test_a_recording_in_pieces_is_one_file(tmp_path, monkeypatch):
    monkeypatch.setattr("l3core.table.pieces.SHARD_BYTES", 4 * 8 * 50)
    monkeypatch.setattr("l3core.table.pieces.PROBE_BYTES", 0)
    write_audio(tmp_path / "corpus" / "long.wav", 400.0)
    run = PlainRun(tmp_path / "corpus", tmp_path / "table", "run-1").make_plan().embed()
    assert len(run.plan.to_embed) > 1
    metrics = run.commit().record["metrics"]
    assert metrics["clips_ok"] == 1
    assert metrics["shards"] == len(run.plan.to_embed)


def test_manifests_of_an_earlier_version_are_counted_as_far_as_they_go():
    clip = {"status": "ok", "windows_written": 3}
    old = {"clips": [clip], "pieces": [["a", 1, "", 0, None]], "busy_s": {"read": 0.5}}
    assert counted(old) == {"shards": 1, "windows": 3, "clips_ok": 1, "read_milli_secs": 500}
    assert measured(old) == {}
    # what embed_shard says when a run has committed long ago
    assert counted({"shard": "1", "file": None, "pieces": [], "clips": []}) == {}


def test_totals_keep_the_extremes():
    totals = Totals()
    for peak in (5, 3, 9):
        totals.add({"clips": [], "pieces": [], "gpu_memory_bytes": peak})
    assert totals.to_json() == {"gpu_memory_peak_bytes": {"count": 3, "sum": 17, "min": 3, "max": 9}}
