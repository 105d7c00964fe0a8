"""What a corpus takes on many machines: the fits, the planner's shards, and where more do not help."""

import json

import pytest

from l3core.spec import EmbeddingSpec
from l3core.storage import StoredObject
from l3core.table.layout import TablePaths
from l3core.table.pieces import SHARD_BYTES, shard_windows
from l3core.table.plan import make_plan
from l3core.table.rewrite import choose_groups
from l3core.table.state import load_state
from launch.benchmarks import simulated
from launch.benchmarks.capacity import (
    Corpus,
    Speed,
    audio_rate,
    cut_shards,
    plan_run,
    scaling_ends,
    speed_of,
)
from launch.benchmarks.costs import Costs, Fit, fit
from launch.benchmarks.figures import Figure
from launch.benchmarks.scale import evenness
from launch.main import main

SPEC = EmbeddingSpec(weights="random:0")  # 9000 windows a shard, of 24,576 bytes each
FREE = Fit(once=0.0, each={"objects": 0.0, "shards": 0.0}, off=0.0, sizes=1)
NO_MERGES = Fit(once=0.0, each={"files": 0.0, "megabytes": 0.0}, off=0.0, sizes=1)


def costs(**steps):
    free = {"list": FREE, "plan": FREE, "plan_merges": FREE, "commit": FREE, "merge": NO_MERGES}
    return Costs(**free | steps)


def test_a_fit_finds_what_each_thing_costs():
    objects, shards = [10, 100, 1000, 10], [1, 1, 20, 30]
    seconds = [0.5 + 0.01 * o + 0.2 * s for o, s in zip(objects, shards)]
    found = fit(seconds, objects=objects, shards=shards)
    assert found.once == pytest.approx(0.5)
    assert found.each == pytest.approx({"objects": 0.01, "shards": 0.2})
    assert found.off == pytest.approx(0, abs=1e-9)
    assert found(objects=7, shards=2) == pytest.approx(0.5 + 0.07 + 0.4)


def test_a_fit_says_how_far_it_is_off_and_that_nothing_costs_less_than_nothing():
    # more objects take less time, which they do not: what is left is one cost for all
    found = fit([2.0, 1.0], objects=[1, 2])
    assert found.each == {"objects": 0.0}
    # the constant c with the least (c/2 - 1)^2 + (c - 1)^2 is 1.2
    assert found.once == pytest.approx(1.2)
    assert found.off == pytest.approx(0.4)


@pytest.mark.parametrize(("objects", "workers"), [(3, 1), (500, 1), (500, 7), (500, 200), (4000, 2)])
def test_shards_are_counted_as_the_planner_cuts_them(tmp_path, objects, workers):
    """Of objects whose length the planner knows: 4 s, 36 windows, by what a WAV's bytes mean to it."""
    corpus = Corpus(spec=SPEC, hours=objects * 4 / 3600, clip_s=4.0)
    assert (corpus.objects, corpus.clip_windows) == (objects, 36)
    size = round(120_000 * 3.6)
    paths = TablePaths(str(tmp_path))
    plan = make_plan(
        paths,
        load_state(paths),
        [StoredObject(f"/corpus/{n:05d}.wav", size, "1") for n in range(objects)],
        spec=SPEC,
        weights_digest="0" * 64,
        root="/corpus",
        run_id="run",
        started_at="2019-05-12T00:00:00+00:00",
        workers=workers,
    )
    found = cut_shards(corpus, workers)
    assert found.number == len(plan.shards)
    assert found.windows == max(shard.estimate for shard in plan.shards)


def test_long_recordings_are_cut():
    # 10 h: 360,000.5 s less a window, at 0.1 s: 360,000 - 4 windows; 9000 of them in a shard
    corpus = Corpus(spec=SPEC, hours=20, clip_s=36_000.0)
    assert corpus.objects == 2
    assert corpus.clip_windows == 1 + 359_995
    assert cut_shards(corpus, 1) == (2 * 40, shard_windows(SPEC))


def test_a_run_is_what_one_process_does_and_the_longest_worker():
    # 1000 h in clips of 4 s: 900,000 clips, 250 in a shard of 9000 windows: 3600 shards, 36 a worker
    corpus = Corpus(spec=SPEC, hours=1000, clip_s=4.0)
    each = {"objects": 1e-5, "shards": 1e-2}
    step = Fit(once=1.0, each=each, off=0.0, sizes=1)
    speed = Speed(windows_per_s=100.0, start_s=5.0)
    found = plan_run(corpus, speed, costs(list=FREE, plan=step, plan_merges=step, commit=step), 100)
    assert found.embedding == 36 * 90
    assert found.planning == pytest.approx(1 + 9 + 36)
    assert found.commit == pytest.approx(2 * found.planning)  # merges are planned before
    assert found.start == 5
    assert found.merging == 0  # 221 MB are no small file
    assert found.time == pytest.approx(36 * 90 + 3 * 46 + 5)
    assert found.alone == pytest.approx(3 * 46)


def test_small_shards_are_merged_by_all_workers():
    # 1 h in clips of 4 s: 900 clips, one in a shard for 100 workers; 36 windows have 0.88 MB
    corpus = Corpus(spec=SPEC, hours=1, clip_s=4.0)
    merge = Fit(once=2.0, each={"files": 0.1, "megabytes": 0.0}, off=0.0, sizes=1)
    found = plan_run(corpus, Speed(windows_per_s=100.0, start_s=0.0), costs(merge=merge), 100)
    assert found.embedding == pytest.approx(9 * 0.36)
    # 15 merges of 64 files, one a worker
    assert found.merging == pytest.approx(2 + 6.4)
    one = plan_run(corpus, Speed(windows_per_s=100.0, start_s=0.0), costs(merge=merge), 1)
    assert one.merging == 0  # 18 shards


def test_merges_are_those_that_the_commit_chooses():
    from l3core.table.rewrite import Source

    corpus = Corpus(spec=SPEC, hours=10, clip_s=4.0)
    merge = Fit(once=1.0, each={"files": 0.0, "megabytes": 0.0}, off=0.0, sizes=1)
    for workers in (1, 4, 10, 30, 100, 1000):
        shards = cut_shards(corpus, workers)
        size = 4 * SPEC.size * shards.windows
        sources = [Source(f"{n}", f"{n}", size, f"{n:06d}") for n in range(shards.number)]
        groups = choose_groups(sources, ())
        speed = Speed(windows_per_s=1.0, start_s=0.0)
        rounds = plan_run(corpus, speed, costs(merge=merge), workers).merging
        assert rounds == -(-len(groups) // workers), (workers, shards, SHARD_BYTES // size)


def test_scaling_ends_where_one_process_or_the_last_shard_is_all_that_is_left():
    corpus = Corpus(spec=SPEC, hours=1000, clip_s=4.0)
    speed = Speed(windows_per_s=100.0, start_s=0.0)
    # 324,000 s of work and 100 s alone: 512 workers take 732.8, 1024 416.4 s, 2048 258.2, ...; as shards
    # of one clip can be had, only the 100 s end it: w/n saves half of itself, 10 % of (w/n + 100) while
    # w/n > 25: n = 12,960
    alone = Fit(once=100.0, each={"objects": 0.0, "shards": 0.0}, off=0.0, sizes=1)
    assert scaling_ends(corpus, speed, costs(plan=alone)) == 16_384
    # two recordings that cannot be cut further than a shard keep two workers busy
    two = Corpus(spec=SPEC, hours=8 / 3600, clip_s=4.0)
    assert scaling_ends(two, speed, costs()) == 2


def test_the_speed_is_that_of_the_whole_command_or_said_not_to_be():
    bare = Figure("bare model", 20.0, "windows/s", "l3, 6144 numbers")
    gflops = Figure("bare model", 400.0, "GFLOP/s", "convolutions only")
    found = speed_of([gflops, bare], SPEC)
    assert found == Speed(windows_per_s=20.0, start_s=None)
    assert "bare model, since whole was not measured" in found.source
    whole = [
        Figure("start-up", 4.0, "s", "recording, hop 0.1 s, loading the model included"),
        Figure("whole command, start-up apart", 19.0, "windows/s", "recording, hop 0.1 s"),
        Figure("start-up", 5.0, "s", "clips, hop 0.1 s, loading the model included"),
        Figure("whole command, start-up apart", 18.0, "windows/s", "clips, hop 0.1 s"),
        Figure("whole command, start-up apart", 1.0, "windows/s", "clips, hop 1.0 s"),
        Figure("start-up", 9.0, "s", "clips, hop 1.0 s, loading the model included"),
    ]
    found = speed_of([bare, *whole], SPEC)
    assert found == Speed(windows_per_s=18.0, start_s=5.0)
    # 4 s are 36 windows
    assert audio_rate(Corpus(spec=SPEC, hours=1, clip_s=4.0), found) == pytest.approx(18 * 4 / 36)
    assert speed_of([gflops], SPEC) is None


def test_workers_are_busy_until_the_last_is_done():
    from l3core.table.planned import ShardPlan

    shards = tuple(
        ShardPlan(name=str(n), first_clip="", pieces=1, estimate=estimate)
        for n, estimate in enumerate((4, 3, 3, 2))
    )
    assert evenness(shards, 2) == 1.0  # 4 + 2, 3 + 3
    assert evenness(shards, 3) == pytest.approx(12 / 15)  # 4, 3 + 2, 3


def test_a_simulated_run_that_finds_something_else_is_no_figure(tmp_path):
    simulated.plan(20, tmp_path, 1)
    simulated.work(20, tmp_path, 1)
    simulated.plan_merges(20, tmp_path, 1)
    with pytest.raises(Exception, match=r"committed \{'ok': 20\} instead of 21 clips"):
        simulated.commit(21, tmp_path, 1)
    with pytest.raises(Exception, match=r"planned \{'unchanged': 20, 'new': 1\} instead"):
        simulated.plan_again(21, tmp_path, 1)


def test_a_corpus_is_planned_with_the_measured_parts(capsys):
    flags = ["--model", "edgel3-sea-64", "--seconds", "0.2", "--scale", "0.00002"]
    planned = ["--hours", "1000", "--clip-seconds", "4", "--plan", "10", "--price-per-hour", "0.5"]
    assert main(["bench", "--json", "model", "scale", *flags, *planned]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["machine"]["cpu"]
    assert answer["machine"]["cores"] >= 1
    assert answer["machine"]["memory_bytes"] > 2**30
    assert {"python", "tensorflow", "pyarrow", "numpy"} <= set(answer["versions"])
    figures = {figure["name"]: figure for figure in answer["figures"]}
    value = {name: figure["value"] for name, figure in figures.items()}
    rate = value["audio hours an hour"]
    assert "the bare model, since whole was not measured" in figures["audio hours an hour"]["note"]
    assert value["time"] == pytest.approx(1000 / rate)
    assert value["money"] == pytest.approx(0.5 * value["time"])
    assert value["planned objects"] == 900_000
    steps = ("listing", "planning", "start", "embedding", "merging", "commit")
    seconds = sum(value[f"planned {step}"] for step in steps)
    assert value["planned time"] == pytest.approx(seconds / 3600)
    assert value["planned money"] == pytest.approx(10 * 0.5 * value["planned time"])
    assert value["scaling ends at"] >= 1
    assert value["cost of plan, fit off by"] >= 0
    # 200 objects for 1,000 workers
    assert value["scale, shards"] == 200
    for step in ("plan", "plan of merges", "commit"):
        assert value[f"scale, {step}, fit / measured"] > 0
        assert value[f"scale, {step}, peak memory, ratio"] > 0.5


def test_the_last_lines_can_be_read_and_before_them_which_part_runs(capsys, monkeypatch):
    monkeypatch.setattr("launch.bench.SHOWN_AFTER_S", 0.0)
    monkeypatch.setattr("launch.screen.PLAIN_LINE_EVERY_S", 0.05)
    flags = ["--model", "edgel3-sea-64", "--seconds", "0.2", "model"]
    assert main(["bench", *flags, "--hours", "1e6", "--price-per-hour", "0.25"]) == 0
    out, err = capsys.readouterr()
    assert "0 %: model, part 1 of 1, " in err
    assert " s so far" in err
    *_, rate, hours = out.splitlines()
    assert rate.startswith("This machine embeds ")
    assert "the bare model, since whole was not measured, edgel3-sea-64, recordings of 10 s" in rate
    assert hours.startswith("1,000,000 hours take it ")
    assert " days and cost " in hours


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        (["--hours", "-1"], "--hours: needs a number above 0"),
        (["--hours", "1e10"], "--hours needs at most 1,000,000,000"),
        (["--hours", "1", "--clip-seconds", "0"], "--clip-seconds: needs a number above 0"),
        (["--hours", "1", "--clip-seconds", "1e300"], "--clip-seconds needs at most 1,000,000,000"),
        (["--price-per-hour", "1"], "--price-per-hour needs --hours N"),
        (["--hours", "1", "--price-per-hour", "nan"], "--price-per-hour: needs a number above 0"),
        (["--hours", "1", "--plan", "0"], "--plan: needs at least 1"),
        (["--hours", "1", "--plan", "1.5"], "--plan: needs a whole number"),
        (["--hours", "1", "--plan", "99999999"], "--plan needs at most 1,048,576"),
        (["--plan", "10"], "--plan needs --hours N"),
    ],
)
def test_what_cannot_be_planned_is_refused(capsys, flags, part):
    assert main(["bench", *flags]) == 2
    error = capsys.readouterr().err
    assert part in error
    assert error.count("\n") == 1
