"""The benchmark command measures what it says; how fast things are is no matter of tests."""

import json
from functools import partial

import numpy as np
import pytest
import soundfile

from l3core.errors import RunError
from l3core.stores import filesystem
from launch.benchmarks import delta, dense, identity, ledgers, store
from launch.benchmarks.corpora import make_clips
from launch.benchmarks.whole import run_whole
from launch.main import main
from tests.corpus import FLAGS, write_audio


def measured(capsys, *flags):
    assert main(["bench", "--json", "--seconds", "0.2", *flags]) == 0
    return json.loads(capsys.readouterr().out)


def test_all_parts_of_a_small_model(capsys):
    flags = ("--model", "edgel3-sea-64", "--hop", "1", "--minutes", "0.2")
    answer = measured(capsys, *flags)
    figures = {(figure["name"], figure["note"]): figure["value"] for figure in answer["figures"]}
    assert answer["spec"]["model"] == "edgel3-sea-64"
    assert min(figures.values()) > 0
    names = [name for name, _ in figures]
    for name in ("bare model", "decode", "resample", "write", "peak memory", "audio"):
        assert name in names
    assert names.count("plumbing") == 3
    # 12 s and centred: 1 + ceil(12.5 - 1) windows; three clips of 4 s: 1 + ceil(4.5 - 1) each
    for note in (
        "recording, hop 1.0 s: 13",
        "clips, hop 1.0 s: 15",
    ):
        assert ("whole command", note) in figures
    ratios = [value for (name, _), value in figures.items() if name.startswith("whole command / bare")]
    assert len(ratios) == 2
    assert all(0 < ratio < 1 for ratio in ratios)
    # the last figure is of the slower of both, once it has begun; 10 s are 11 windows
    loaded = [value for (name, _), value in figures.items() if name.startswith("whole command, start")]
    (rate,) = [value for (name, _), value in figures.items() if name == "audio hours an hour"]
    assert rate == pytest.approx(min(loaded) * 10 / 11)


def test_a_part_alone(capsys):
    answer = measured(capsys, "--model", "edgel3-sea-64", "model")
    assert [figure["name"] for figure in answer["figures"]] == ["bare model", "audio hours an hour"]


def test_engines_beside_the_default(capsys):
    answer = measured(capsys, "--model", "edgel3-sea-64", "--engine", "openvino", "engines")
    figures = {figure["name"]: figure["value"] for figure in answer["figures"]}
    kinds = {
        "tensorflow float32",
        "tensorflow mixed_bfloat16",
        "openvino float32",
        "openvino mixed_bfloat16",
        "openvino int8",
    }
    others = kinds - {"tensorflow float32"}
    assert set(figures) == kinds | {f"{kind} / default" for kind in others}
    for kind in others:
        ratio = figures[kind] / figures["tensorflow float32"]
        assert 0.2 * ratio < figures[f"{kind} / default"] < 5 * ratio


def test_what_other_processes_cost(capsys):
    answer = measured(capsys, "decoding", "--scale", "0.01")
    figures = {(figure["name"], figure["note"]): figure["value"] for figure in answer["figures"]}
    assert min(figures.values()) > 0
    for kind in ("wav", "flac", "ogg", "mp3"):
        assert 0.02 < figures["decode / in this process", f"{kind}, 48 kHz"] < 5
    assert figures["a decoder's memory", "its own"] < 40


def test_dense_windows_are_compared_with_exact_ones(capsys, monkeypatch, tmp_path):
    """0.2 minutes dense, and an eighth of it, one clip of 4 s at least, exact."""
    monkeypatch.setattr(dense, "PAIRS", 1)
    monkeypatch.setattr(dense, "KINDS", ("recording",))
    write_audio(tmp_path / "a.wav", 1.3)
    (tmp_path / "b.wav").write_text("no audio")
    soundfile.write(tmp_path / "c.wav", np.zeros(8_000), 8_000)
    flags = ("dense", "--model", "edgel3-sea-64", "--minutes", "0.2", "--input", str(tmp_path))
    answer = measured(capsys, *flags)
    figures = {(figure["name"], figure["note"]): figure["value"] for figure in answer["figures"]}
    note = "3 windows of 2 files, and 1 silent ones left out"  # 1.3 s: at 0, 0.16 and 0.32 s
    assert 0.5 < figures["cosine to exact, 5th percentile", note] < 0.999
    assert figures["cosine to exact, median", note] <= 1
    quick, slow = (
        figures["audio", f"{kind} s, recording, mean of 1 runs by turns"]
        for kind in ("dense, hop 0.16", "exact, hop 0.1")
    )
    assert figures["dense / exact", "audio an hour, recording"] == pytest.approx(quick / slow)
    ratio = figures["dense / exact, by CPU time", "recording; others at work do not matter"]
    assert 0.5 < ratio < 12  # 3 times the audio, and nearly all of both is start-up


@pytest.mark.parametrize("what", ["silent", "no audio"])
def test_nothing_to_compare_is_refused(capsys, tmp_path, what):
    if what == "silent":
        soundfile.write(tmp_path / "a.wav", np.zeros(8_000), 8_000)
    else:
        (tmp_path / "a.wav").write_text(what)
    flags = ("dense", "--model", "edgel3-sea-64", "--input", str(tmp_path))
    assert main(["bench", *flags]) == 2
    assert "there is no audio that is not silent" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        (["everything"], "no part 'everything'"),
        (["model", "--all"], "--all is all parts"),
        (["--minutes", "0"], "--minutes: needs a number above 0"),
        (["--minutes", "nan"], "--minutes: needs a number above 0"),
        (["--minutes", "0.03"], "--minutes needs at least 0.1"),
        (["--seconds", "inf"], "--seconds: needs a number above 0"),
        (["store"], "store and --bucket URI belong together"),
        (["model", "--bucket", "gs://b"], "store and --bucket URI belong together"),
        (["model", "--input", "a.wav"], "--input is of dense"),
        (["dense", *FLAGS], "--grid must be one of center, nocenter, paper, got 'dense'"),
        (["model", "--profile"], "--profile is of the plumbing"),
    ],
)
def test_what_cannot_be_measured_is_refused(capsys, flags, part):
    assert main(["bench", *flags]) == 2
    error = capsys.readouterr().err
    assert part in error
    assert error.count("\n") == 1


def test_a_store_is_measured_beside_the_disk_and_left_clean(gcs, capsys, monkeypatch):
    bucket = gcs.make_bucket("bench-of-a-store")
    code = "from tests import fake_model; fake_model.register(); from launch.main import run; run()"
    program = ("-c", code)
    monkeypatch.setattr(store, "run_whole", partial(run_whole, program=program))
    answer = measured(capsys, "store", "--bucket", bucket, *FLAGS, "--minutes", "0.1")
    names = [figure["name"] for figure in answer["figures"]]
    assert names == ["store", "store / disk", "store / disk"] * 2
    assert all(figure["value"] > 0 for figure in answer["figures"])
    fs, path = filesystem(bucket)
    assert fs.find(path) == []


def test_the_profile_names_the_three_largest_costs(capsys):
    answer = measured(capsys, "plumbing", "--profile", "--minutes", "0.5")
    costs = [figure for figure in answer["figures"] if figure["name"].startswith("largest costs")]
    assert [cost["name"] for cost in costs] == ["largest costs, recording"] * 3 + [
        "largest costs, clips"
    ] * 3
    assert all(0 < cost["value"] < 100 for cost in costs)
    assert all(".py" in cost["note"] for cost in costs)


def test_memory_and_planning_are_measured_in_processes_of_their_own(capsys):
    """Small sizes here: nothing is claimed of what they are."""
    answer = measured(capsys, "memory", "planning", "--scale", "0.002")
    figures = {(figure["name"], figure["note"]): figure["value"] for figure in answer["figures"]}
    for known in (
        ("peak memory", "a recording of 1.2 min"),
        ("peak memory, many / few files", ""),
        ("plan", "2,000 names"),
        ("list, peak memory", "200 files"),
        ("plan, peak memory, ratio", "10 times as many"),
    ):
        assert figures[known] > 0
    # TensorFlow is in this process; a child must not be charged for it
    assert figures["plan, peak memory", "200 names"] < figures["peak memory", "20 files of 1 s"] / 2


def test_a_second_run_is_measured(capsys):
    answer = measured(capsys, "delta", "--scale", "0.002")
    figures = {(figure["name"], figure["note"]): figure["value"] for figure in answer["figures"]}
    assert min(figures.values()) > 0
    for known in (
        ("plan, unchanged", "200 rows, 0 changed"),
        ("plan, delta, peak memory", "2,000 rows, 2 changed"),
        ("plan, unchanged, peak memory, ratio", "10 times as many"),
        ("update", "2,000 rows, 2 changed"),
        ("update, rewritten files, peak memory", "2,000 rows, 2 changed"),
    ):
        assert known in figures
    note = "no model, 20 files of 1 s"
    ratio = figures["unchanged run", note] / figures["first run", note]
    assert figures["unchanged run / first run", "no model"] == pytest.approx(ratio)
    # TensorFlow is loaded for what has to be embedded, and for nothing else
    unchanged = figures["unchanged run, peak memory", "edgel3-sea-64"]
    assert unchanged < figures["delta run, peak memory", "edgel3-sea-64"] / 2
    # 20 clips a night, less 2 in all but the first
    rows = {note: figures["windows files", note] for name, note in figures if name == "windows files"}
    assert [note.partition(",")[0] for note in rows] == ["after 5 nights", "after 30 nights"]
    early, late = rows.values()
    assert figures["windows files, ratio", "after 30 nights / after 5"] == late / early


def test_a_plan_that_finds_something_else_is_no_figure(tmp_path):
    ledgers.make_table(tmp_path, 10)
    with pytest.raises(RunError, match=r"planned \{'unchanged': 10, 'new': 1\} instead"):
        ledgers.plan_unchanged(11, tmp_path)


def test_a_run_that_embeds_something_else_is_no_figure(tmp_path):
    make_clips(tmp_path / "corpus", 2, 0.1, sample_rate_hz=8_000)
    (tmp_path / "corpus/000001.wav").write_text("no audio")
    table = tmp_path / "table"
    identity.register()
    delta.embed_clips(tmp_path / "corpus", table)
    with pytest.raises(RunError, match="windows of 1 of 2 clips"):
        delta.look(table, clips=2)


def test_training_is_measured_against_keras(capsys):
    answer = measured(capsys, "crossval", "--scale", "0.02")
    figures = {(figure["name"], figure["note"]): figure["value"] for figure in answer["figures"]}
    for size in ("512 numbers", "6144 numbers"):
        ours, theirs = figures["the grid at once", size], figures["nine keras.Model.fit", size]
        assert figures["nine fits / the grid", f"{size}, batches of 32"] == pytest.approx(theirs / ours)
    note = "clean, 2000 clips of 41 windows of 512 numbers, 5 folds"
    assert figures["cross-validation", note] > 0
    assert figures["epochs", "a model, on average"] == 1


def test_questions_are_measured(capsys):
    answer = measured(capsys, "query", "--scale", "0.02")
    figures = {figure["name"]: figure["value"] for figure in answer["figures"]}
    assert min(figures.values()) > 0
    assert {"l3flow query, ledger", "count of windows", "vectors of a clip"} <= set(figures)
    assert 0 < figures["index, recall@10"] <= 1
    ratio = figures["cosine of all windows"] / figures["pyarrow, embedding"]
    assert figures["cosine / pyarrow"] == pytest.approx(ratio)


def test_searching_is_measured_beside_reading(capsys):
    answer = measured(capsys, "similar", "--scale", "0.002")
    figures = {(figure["name"], figure["note"]): figure["value"] for figure in answer["figures"]}
    assert min(figures.values()) > 0
    ratios = [value for (name, _), value in figures.items() if name == "similar / pyarrow reads"]
    assert len(ratios) == 4
    peaks = [note for name, note in figures if name == "similar, peak memory"]
    # 15,000 clips of 36 windows: 30 of them and a quarter
    assert peaks == ["252 windows", "1,080 windows"]
    recalls = [value for (name, _), value in figures.items() if name == "index, recall@10"]
    assert len(recalls) == 3
    assert max(recalls) <= 1
