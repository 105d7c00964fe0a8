"""`l3flow crossval` from audio to report, on copies of the datasets in their true layout."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import fsspec
import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from sklearn.metrics import confusion_matrix

from launch.main import main
from tests.corpus import FLAGS, PlainRun
from tests.dataset_trees import (
    dcase2013_key,
    dcase2013_names,
    esc50_rows,
    urbansound8k_rows,
    write_dcase2013,
    write_esc50,
    write_urbansound8k,
)

REPOSITORY = Path(__file__).parents[2]
DATA = REPOSITORY / "examples/data"
FAST = ("--epochs", "4")


def sound_of(path, label):
    """A second of noise whose loudness goes up and down as its class wants."""
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng([label, *path.name.encode()])
    shape = np.random.default_rng(label).uniform(0.1, 1, 8) + generator.uniform(0, 1, 8)
    levels = np.repeat(np.tile(shape / 2, 4), 125)  # a window of the fake model: 1000 samples at 4 kHz
    soundfile.write(path, 0.5 * levels * generator.uniform(-1, 1, 4000), 4000)


def embedded(corpus, table):
    run = PlainRun(corpus, table, "run-1")
    run.all()
    return table


@pytest.fixture(scope="module")
def dcase(tmp_path_factory):
    """DCASE 2013 and its table."""
    folder = tmp_path_factory.mktemp("dcase")
    labels = sorted({name[:-6] for name in dcase2013_names()})

    def write(path):
        sound_of(path, labels.index(path.name[:-6]))

    root = write_dcase2013(folder / "audio", write=write)
    return root, embedded(root, folder / "table")


@pytest.fixture(scope="module")
def urbansound(tmp_path_factory):
    """Ten folds of UrbanSound8K with 24 clips each, and their table."""
    folder = tmp_path_factory.mktemp("urbansound")
    rows = urbansound8k_rows(dict.fromkeys(range(1, 11), 24))

    def write(path):
        sound_of(path, int(path.name.split("-")[1]))

    root = write_urbansound8k(folder / "audio", rows=rows, write=write)
    return root, embedded(root, folder / "table")


def command(made, output, *flags, dataset="dcase2013"):
    root, table = made
    return [
        *("crossval", "--dataset", dataset, "--dataset-root", str(root), "--table", str(table)),
        *("--output", str(output), *FAST, *map(str, flags)),
    ]


def summary_of(output):
    return json.loads((output / "summary.json").read_bytes())


def test_clean_from_audio_to_report(dcase, tmp_path, capsys):
    output = tmp_path / "out"
    assert main(command(dcase, output, "--final", "--epochs", "30")) == 0
    said = capsys.readouterr().out.splitlines()
    summary = summary_of(output)
    share = summary["mean_accuracy"]
    assert share > 0.8  # the classes are easy to tell
    percent = f"{100 * share:.1f} %"
    assert said[0] == f"accuracy by fold, clean protocol: 2: {percent}"
    assert said[1].startswith(
        f"DCASE 2013 SCD, clean protocol: {percent} over the folds; of 100 clips {percent}, 95 %"
    )
    assert said[-1] == f"report: {output}/report.html"
    assert {path.name for path in output.iterdir()} == {
        *("predictions.parquet", "splits.parquet", "trials.parquet", "summary.json", "report.html"),
        *("models", "_crossval"),
    }
    assert sorted(path.name for path in (output / "models").iterdir()) == ["final.keras", "fold2.keras"]
    predictions = pq.read_table(output / "predictions.parquet").to_pylist()
    assert len({row["clip_id"] for row in predictions}) == len(predictions) == 100
    hits = [row["true_label"] == row["predicted_label"] for row in predictions]
    assert np.mean(hits) == pytest.approx(share)
    assert all(row["windows"] == 5 for row in predictions)
    for row in predictions:
        assert sum(row["probabilities"]) == pytest.approx(1)
        assert row["predicted_label"] == summary["classes"][int(np.argmax(row["probabilities"]))]
        assert row["true_label"] == Path(row["clip_id"]).name[:-6]
    truth, found = ([row[name] for row in predictions] for name in ("true_label", "predicted_label"))
    np.testing.assert_array_equal(
        summary["confusion"], confusion_matrix(truth, found, labels=summary["classes"])
    )
    low, high = summary["interval"]
    assert low < share <= high
    # nobody is in two parts, and the final model learnt from both sets
    parts = duckdb.sql(
        "SELECT fold, part, count(*), count(DISTINCT clip_id) "
        f"FROM '{output}/splits.parquet' GROUP BY ALL"
    ).fetchall()
    assert set(parts) == {
        *((2, "test", 100, 100), (2, "train", 90, 90), (2, "validation", 10, 10)),
        *((None, "train", 180, 180), (None, "validation", 20, 20)),
    }
    trials = pq.read_table(output / "trials.parquet").to_pylist()
    assert len(trials) == 18
    assert sum(row["chosen"] for row in trials) == 2
    for row in trials:
        losses = row["validation_loss"]
        assert row["chosen_epoch"] == 1 + int(np.argmin(losses))
        assert len(losses) == len(row["train_accuracy"]) <= 30
    assert keras.saving.load_model(output / "models/fold2.keras").output_shape == (None, 10)


def test_paper_is_said_to_leak(dcase, tmp_path, capsys):
    assert main(command(dcase, tmp_path / "out", "--protocol", "paper")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all("paper protocol, validation leaks" in line for line in lines[:2])  # wherever a figure is
    summary = summary_of(tmp_path / "out")
    assert summary["leaky_validation"]
    assert summary["batch_size"] == 32
    assert "Leaky validation" in (tmp_path / "out/report.html").read_text()
    sides = duckdb.sql(
        f"SELECT count(*) FROM (SELECT clip_id FROM '{tmp_path}/out/splits.parquet' "
        "WHERE part <> 'test' GROUP BY clip_id HAVING count(DISTINCT part) = 2)"
    ).fetchall()
    assert sides[0][0] > 10  # clips on both sides


@pytest.mark.parametrize("protocol", ["clean", "paper"])
def test_urbansound8k_has_ten_folds(urbansound, tmp_path, capsys, protocol):
    output = tmp_path / "out"
    flags = ("--allow-partial", "--protocol", protocol, "--epochs", "2")
    assert main(command(urbansound, output, *flags, dataset="urbansound8k")) == 0
    said = capsys.readouterr().out
    assert "of 240 clips (240 of 8732 are here)" in said
    repeats = {"clean": 1, "paper": 2}[protocol]
    assert (", means of 2 trainings:" in said) == (repeats == 2)
    assert said.splitlines()[0].count(" %") == 10
    summary = summary_of(output)
    assert [(each["fold"], each["repeat"]) for each in summary["folds"]] == [
        (fold, repeat) for fold in range(1, 11) for repeat in range(1, repeats + 1)
    ]
    predictions = pq.read_table(output / "predictions.parquet").to_pylist()
    assert len({(row["clip_id"], row["repeat"]) for row in predictions}) == 240 * repeats
    assert all(f"fold{row['fold']}/" in row["clip_id"] for row in predictions)
    assert len(list((output / "models").iterdir())) == 10
    low, high = summary["interval"]
    assert low < summary["clip_accuracy"] < high < 1


def test_the_same_seed_gives_the_same_output(dcase, tmp_path):
    for name in ("a", "b"):
        assert main(command(dcase, tmp_path / name, "--quiet", "--seed", "3")) == 0
    assert main(command(dcase, tmp_path / "c", "--quiet", "--seed", "4")) == 0
    a, b, c = (pq.read_table(tmp_path / name / "predictions.parquet") for name in "abc")
    assert a.equals(b)
    assert not a.equals(c)


def fold_times(output):
    return {
        path.parent.relative_to(output / "_crossval").as_posix(): path.stat().st_mtime_ns
        for path in output.glob("_crossval/*/*/done.json")
    }


def test_finished_folds_are_not_trained_again(urbansound, tmp_path, capsys):
    output = tmp_path / "out"
    flags = ("--allow-partial", "--epochs", "1")
    assert main(command(urbansound, output, *flags, "--folds", "2", dataset="urbansound8k")) == 0
    first = fold_times(output)
    assert [name.partition("/")[2] for name in first] == ["fold2-repeat1"]
    assert [each["fold"] for each in summary_of(output)["folds"]] == [2]
    assert main(command(urbansound, output, *flags, "--folds", "3", "2", dataset="urbansound8k")) == 0
    second = fold_times(output)
    assert len(second) == 2
    assert first.items() < second.items()
    assert [each["fold"] for each in summary_of(output)["folds"]] == [2, 3]
    capsys.readouterr()
    assert main(command(urbansound, output, *flags, "--folds", "2", "3", dataset="urbansound8k")) == 0
    assert capsys.readouterr().out.startswith("nothing to train: every fold is there already\n")
    assert fold_times(output) == second
    # another seed is another experiment
    more = ("--folds", "2", "--seed", "1", "--quiet")
    assert main(command(urbansound, output, *flags, *more, dataset="urbansound8k")) == 0
    both = fold_times(output)
    assert len(both) == 3
    assert second.items() < both.items()  # the first one's folds are still there
    assert summary_of(output)["seed"] == 1
    assert [path.name for path in (output / "models").iterdir()] == ["fold2.keras"]


def test_other_clips_in_the_table_change_nothing(dcase, tmp_path, capsys):
    """A table is fed every night; what was trained on other clips stays trained."""
    root, table = dcase
    fed, output = tmp_path / "table", tmp_path / "out"
    shutil.copytree(table, fed)
    assert main(command((root, fed), output, "--quiet")) == 0
    before = fold_times(output)
    more = root / "more"
    sound_of(more / "x.wav", 0)
    try:
        assert main(["embed", "--input", str(more), "--output", str(fed), *FLAGS, "--quiet"]) == 0
        assert main(command((root, fed), output)) == 0
    finally:
        shutil.rmtree(more)
    assert capsys.readouterr().out.startswith("nothing to train")
    assert fold_times(output) == before


def test_a_table_is_no_place_for_results(dcase, tmp_path, capsys):
    root, table = dcase
    refused(capsys, command((root, table), table), f"--output {table} is a feature table")
    assert (table / "_l3flow/journal").is_dir()


def test_results_on_a_store(dcase, capsys):
    store = fsspec.filesystem("memory")
    try:
        assert main(command(dcase, "memory://results/out", "--epochs", "1")) == 0
        assert main(command(dcase, "memory://results/out", "--epochs", "1")) == 0
        assert "nothing to train" in capsys.readouterr().out
        names = {path.rpartition("/")[2] for path in store.ls("/results/out", detail=False)}
        assert {"report.html", "summary.json", "predictions.parquet", "models"} <= names
        assert store.exists("/results/out/models/fold2.keras")
    finally:
        store.rm("/results", recursive=True)


@pytest.mark.parametrize(
    "text", ["no JSON", "[]", "{}", '{"models": 3}', '{"models": [1, "../mine.keras", "mine.keras"]}']
)
def test_a_summary_of_others_is_no_trouble(dcase, tmp_path, text):
    output = tmp_path / "out"
    output.mkdir()
    (output / "summary.json").write_text(text)
    for mine in (tmp_path / "mine.keras", output / "mine.keras"):
        mine.touch()
    assert main(command(dcase, output, "--quiet", "--epochs", "1")) == 0
    assert summary_of(output)["models"] == ["models/fold2.keras"]
    assert (tmp_path / "mine.keras").exists()
    assert (output / "mine.keras").exists()


def test_models_of_others_stay(dcase, tmp_path):
    output = tmp_path / "out"
    (output / "models").mkdir(parents=True)
    (output / "models/mine.keras").touch()
    flags = ("--quiet", "--epochs", "1")
    assert main(command(dcase, output, *flags, "--final")) == 0
    assert main(command(dcase, output, *flags)) == 0
    assert sorted(path.name for path in (output / "models").iterdir()) == ["fold2.keras", "mine.keras"]


@pytest.mark.parametrize("protocol", ["clean", "paper"])
def test_the_challenges_own_folds(dcase, tmp_path, protocol):
    root, table = dcase
    keyed = tmp_path / "keyed"
    shutil.copytree(root, keyed)
    (keyed / "dcase2013_task1_filenamekey.csv").write_text(dcase2013_key())
    output = tmp_path / "out"
    flags = ("--protocol", protocol, "--epochs", "1", "--quiet")
    assert main(command((keyed, table), output, *flags, dataset="dcase2013-challenge")) == 0
    assert list(summary_of(output)["by_fold"]) == ["1", "2", "3", "4", "5"]
    assert summary_of(output)["tested_clips"] == 100


def test_an_interrupted_run_goes_on(tmp_path):
    """A real process and a real model: stopped after its first fold, it trains only the other four."""
    flags = ["--model", "edgel3-sea-64", "--hop", "0.5", "--quiet"]
    table, output = tmp_path / "table", tmp_path / "out"
    assert main(["embed", "--input", str(DATA / "audio"), "--output", str(table), *flags]) == 0
    run = [sys.executable, "-m", "launch.main", *command((DATA, table), output, dataset="esc10")]
    run += ["--epochs", "100"]
    with subprocess.Popen(run, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while not fold_times(output) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    done = fold_times(output)
    assert 1 <= len(done) < 5
    *progress, last = error.splitlines()
    assert f"interrupted; {len(done)} of 5 folds are trained" in last
    assert all(re.match(r"\d+ %: ", line) for line in progress)  # how many depends on the machine
    assert not (output / "summary.json").exists()
    subprocess.run(run, cwd=REPOSITORY, check=True, capture_output=True)
    assert len(fold_times(output)) == 5
    assert done.items() <= fold_times(output).items()
    assert summary_of(output)["subset"] == "the 100 clips of l3flow's demo"
    assert 0.5 < summary_of(output)["mean_accuracy"] <= 1


def test_a_dry_run_says_what_it_takes_and_writes_nothing(dcase, tmp_path, capsys):
    assert main(command(dcase, tmp_path / "out", "--dry-run")) == 0
    text = capsys.readouterr().out
    assert "200 clips, 1000 windows of 8 numbers" in text
    assert "to train: 1 of 1 folds" in text
    assert "memory: 1." in text
    assert "time: about" in text
    assert not (tmp_path / "out").exists()
    assert main(command(dcase, tmp_path / "out", "--dry-run", "--json")) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["windows"] == 1000
    assert facts["seconds_at_most"] > 0
    assert facts["memory_bytes"] < facts["usable_memory_bytes"]
    assert facts["fits"]


def test_json_is_the_summary(dcase, tmp_path, capsys):
    assert main(command(dcase, tmp_path / "out", "--json")) == 0
    said = json.loads(capsys.readouterr().out)
    assert said.pop("output") == str(tmp_path / "out")
    assert [said.pop(name) for name in ("status", "exit_code", "message")] == ["ok", 0, ""]
    assert said == summary_of(tmp_path / "out")


def refused(capsys, arguments, part, code=2):
    assert main(arguments) == code
    error = capsys.readouterr().err
    assert part in error
    assert error.count("\n") == 1, error


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        (["--folds", "1"], "--folds 1: DCASE 2013 SCD tests on 2"),
        (["--folds", "x"], "--folds"),
        (["--protocol", "dirty"], "--protocol must be one of clean, paper"),
        (["--spec", "s0"], "--spec s0 is none of the specs"),
        (["--batch-size", "3000000000"], "--batch-size needs at most 65536"),
        (["--seed", "-1"], "--seed needs a number of at least 0"),
        (["--epochs", "0"], "--epochs"),
        (["--runner", "abacus"], "--runner must be one of local"),
        (["--folts", "2"], "did you mean --folds?"),
        (["--dataset", "esc51"], "--dataset must be one of"),
        (["--dataset-root", "nowhere"], "--dataset-root"),
        (["--table", "nowhere"], "no table at"),
    ],
)
def test_wrong_use_is_one_line_before_training(dcase, tmp_path, capsys, flags, part):
    refused(capsys, command(dcase, tmp_path / "out", *flags), part)
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_is_one_line(dcase, tmp_path, capsys):
    (tmp_path / "file").touch()
    refused(capsys, command(dcase, tmp_path / "file"), "--output")
    refused(capsys, command(dcase, tmp_path / "file/below"), "--output")


def test_clips_that_are_not_in_the_table(dcase, tmp_path, capsys):
    root, _ = dcase
    some = tmp_path / "some"
    shutil.copytree(root, some)
    victim = some / "scenes_stereo" / dcase2013_names()[0]
    victim.write_text("these are no samples\n" * 20)
    made = (some, embedded(some, tmp_path / "table"))
    refused(
        capsys, command(made, tmp_path / "out"), f"no windows of 1 of 200 clips: {victim}. Embed them"
    )
    assert main(command(made, tmp_path / "out", "--allow-partial", "--epochs", "1")) == 0
    assert "100 clips (199 of 200 are here)" in capsys.readouterr().out
    assert summary_of(tmp_path / "out")["clips"] == 199


def test_a_table_of_something_else(dcase, tmp_path, capsys):
    root, _ = dcase
    sound_of(tmp_path / "other/x.wav", 0)
    table = embedded(tmp_path / "other", tmp_path / "table")
    refused(capsys, command((root, table), tmp_path / "out"), "no windows of any clip")


def test_a_class_with_fewer_clips_than_folds(tmp_path, capsys):
    rows = [row for row in esc50_rows() if row[3] != "dog" or row[1] < 4]
    rows = [row for row in rows if row[3] in ("rain", "rooster") or (row[3] == "dog" and row[6] == "A")]
    few = [row for row in rows if row[3] != "dog"] + [row for row in rows if row[3] == "dog"][:4]
    root = write_esc50(tmp_path / "esc", rows=few, write=lambda path: sound_of(path, 1))
    made = (root, embedded(root, tmp_path / "table"))
    wanted = command(made, tmp_path / "out", "--allow-partial", dataset="esc10")
    refused(capsys, wanted, "class dog has 4 clips, fewer than there are folds (5)")
    one = [row for row in rows if row[3] == "rain"]
    root = write_esc50(tmp_path / "one", rows=one, write=lambda path: sound_of(path, 1))
    made = (root, embedded(root, tmp_path / "table-one"))
    wanted = command(made, tmp_path / "out", "--allow-partial", dataset="esc10")
    refused(capsys, wanted, "all clips are of the class rain")


def test_what_does_not_fit_in_memory_is_refused(dcase, tmp_path, capsys, monkeypatch):
    # a machine with less than TensorFlow alone needs
    monkeypatch.setattr("l3core.crossval.planning.usable_memory", lambda: 500_000_000)
    refused(capsys, command(dcase, tmp_path / "out"), "1000 windows of 8 numbers need 1.5 GB of memory")
    monkeypatch.setattr("launch.crossval_run.usable_memory", lambda: 500_000_000)
    assert main(command(dcase, tmp_path / "out", "--dry-run")) == 0
    assert "500.0 MB that are free: the run would be refused" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_vectors_that_are_no_numbers(dcase, tmp_path, capsys):
    root, table = dcase
    broken = tmp_path / "table"
    shutil.copytree(table, broken)
    path = min(broken.glob("windows/*/*.parquet"))
    rows = pq.ParquetFile(path).read()
    vectors = rows["embedding"].combine_chunks().flatten().to_numpy(zero_copy_only=False).copy()
    vectors[8 * 7] = np.nan  # of the eighth window, in the file's second clip
    embedding = pa.FixedSizeListArray.from_arrays(pa.array(vectors), 8)
    pq.write_table(rows.set_column(4, rows.schema.field("embedding"), embedding), path)
    name = rows["clip_id"][7].as_py()
    refused(
        capsys,
        command((root, broken), tmp_path / "out"),
        f"vectors of 1 clips hold NaN or infinity: {name}",
    )
    assert not (tmp_path / "out/summary.json").exists()


def test_an_empty_table(dcase, tmp_path, capsys):
    embed = ["embed", "--input", f"{tmp_path}/none/*.wav", "--output", f"{tmp_path}/table"]
    assert main([*embed, *FLAGS, "--allow-empty", "--quiet"]) == 0
    refused(capsys, command((dcase[0], tmp_path / "table"), tmp_path / "out"), "empty table")


def test_clips_that_are_listed_twice(urbansound, tmp_path, capsys):
    root = tmp_path / "audio"
    shutil.copytree(urbansound[0], root)
    (listing,) = root.rglob("UrbanSound8K.csv")
    lines = listing.read_text().splitlines(keepends=True)
    listing.write_text("".join([*lines, lines[5]]))
    wanted = command((root, urbansound[1]), tmp_path / "out", dataset="urbansound8k")
    refused(capsys, [*wanted, "--allow-partial"], "lists 1 clips twice")


def test_recordings_in_several_folds_are_kept_and_said(tmp_path, capsys):
    """As UrbanSound8K's own folds have five of them."""
    rows = urbansound8k_rows(dict.fromkeys(range(1, 11), 24))
    first = next(row for row in rows if row[5] == 1)
    place = next(n for n, row in enumerate(rows) if row[5] == 2 and row[6] == first[6])
    name = f"{first[1]}-{first[6]}-0-999.wav"
    rows[place] = (name, first[1], *rows[place][2:])

    def write(path):
        sound_of(path, int(path.name.split("-")[1]))

    root = write_urbansound8k(tmp_path / "audio", rows=rows, write=write)
    made = (root, embedded(root, tmp_path / "table"))
    flags = ("--allow-partial", "--folds", "1", "--epochs", "1")
    assert main(command(made, tmp_path / "out", *flags, dataset="urbansound8k")) == 0
    assert f"1 recordings are in several folds, as published, and were kept: {first[1]}" in (
        capsys.readouterr().out
    )
    assert summary_of(tmp_path / "out")["shared_sources"] == {str(first[1]): [1, 2]}
    assert "recordings in several folds" in (tmp_path / "out/report.html").read_text()


def test_two_specs_in_a_table(dcase, tmp_path, capsys):
    root, table = dcase
    both = tmp_path / "table"
    shutil.copytree(table, both)
    flags = [*FLAGS[:-1], "random:1", "--quiet"]
    embed = ["embed", "--input", str(root / "scenes_stereo"), "--output", str(both), *flags]
    assert main(embed) == 0
    refused(capsys, command((root, both), tmp_path / "out"), "holds several specs, choose one (--spec")
