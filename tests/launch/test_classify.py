"""Labels for new audio: whatever is wrong with a file is said, and its neighbours are labelled."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from l3core.audio import Recording
from l3core.classifier import ClassifierError, from_keras
from l3core.embedding import Embedder
from l3core.labelling import embedder_of
from l3core.spec import EmbeddingSpec
from launch.main import main
from tests.corpus import write_mixed
from tests.web import web_server

DATA = Path(__file__).parents[2] / "examples/data"
FLAGS = ("--model", "edgel3-sea-64", "--hop", "0.5", "--quiet")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model that learnt from all of the demo's clips, with its table."""
    folder = tmp_path_factory.mktemp("trained")
    assert main(["embed", "--input", f"{DATA}/audio", "--output", f"{folder}/table", *FLAGS]) == 0
    command = ["crossval", "--dataset", "esc10", "--dataset-root", str(DATA), "--folds", "1", "--final"]
    command += ["--table", f"{folder}/table", "--output", f"{folder}/out", "--quiet"]
    assert main(command) == 0
    return folder


@pytest.fixture
def model(trained):
    return str(trained / "out/models/final.keras")


def labelled(capsys, model, *flags, code=0):
    assert main(["classify", "--model", model, *map(str, flags)]) == code
    return capsys.readouterr()


def test_labels_of_clips_it_has_learnt(model, capsys):
    with (DATA / "meta/esc50.csv").open(newline="") as file:
        truth = {row["filename"]: row["category"] for row in csv.DictReader(file)}
    rows = json.loads(labelled(capsys, model, "--input", DATA / "audio", "--json").out)
    assert len(rows) == 100
    assert sum(row["label"] == truth[Path(row["uri"]).name] for row in rows) >= 80


def test_probabilities_are_those_of_the_embedding(model, trained, tmp_path, capsys):
    clip = DATA / "audio/5-194930-A-1.ogg"
    output = tmp_path / "labels.parquet"
    assert labelled(capsys, model, "--input", clip, "--output", output, "--per-window").out == (
        f"1 files labelled: {output}\n"
    )
    rows = pq.read_table(output).to_pylist()
    embedder = Embedder(EmbeddingSpec(model="edgel3-sea-64", hop_s=0.5))
    with clip.open("rb") as file, Recording(file) as recording:
        embedding = embedder.embed_source(recording)
    import keras

    expected = keras.saving.load_model(model).predict(embedding.vectors, verbose=0)
    found = np.array([[value for name, value in row.items() if name[:2] == "p("] for row in rows])
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert [row["start_s"] for row in rows] == embedding.start_s.tolist()
    assert [row["window"] for row in rows] == list(range(len(rows)))
    # and a clip's are their mean
    (clip_row,) = json.loads(labelled(capsys, model, "--input", clip, "--json").out)
    np.testing.assert_allclose(
        [value for name, value in clip_row.items() if name[:2] == "p("], expected.mean(axis=0), atol=1e-4
    )
    assert clip_row["label"] == "rooster"


def test_bad_files_have_their_line(model, tmp_path, capsys):
    write_mixed(tmp_path / "in")
    output = tmp_path / "labels.csv"
    said = labelled(capsys, model, "--input", tmp_path / "in", "--output", output).out
    assert said == f"10 files labelled, 4 of them not all right: see the column status: {output}\n"
    with output.open(newline="") as file:
        rows = {Path(row["uri"]).name: row for row in csv.DictReader(file)}
    assert {name: row["status"] for name, row in rows.items() if row["status"] != "ok"} == {
        "empty.wav": "empty",
        "header only.wav": "empty",
        "text.wav": "unreadable",
        "cut.flac": "truncated",
    }
    assert rows["text.wav"]["label"] == ""
    assert rows["text.wav"]["error"]
    assert int(rows["cut.flac"]["windows"]) > 3  # those before the cut
    assert all(rows[name]["label"] for name in ("a.wav", "short.wav", "cut.flac"))
    text = labelled(capsys, model, "--input", tmp_path / "in/bad").out
    assert "text.wav: unreadable: " in text
    per_window = labelled(capsys, model, "--input", tmp_path / "in/bad", "--per-window", "--json")
    assert [row["window"] for row in json.loads(per_window.out)] == [None] * 3


def test_weights_that_are_gone_are_those_of_the_table(trained, tmp_path, capsys):
    """A model of own weights: the file it was embedded with is not needed, the table's copy is."""
    weights = tmp_path / "mine.h5"
    table, output = tmp_path / "table", tmp_path / "out"
    export = ["weights", "export", str(weights), "--model", "edgel3-sea-64", "--weights", "random:7"]
    assert main([*export, "--quiet"]) == 0
    own = (*FLAGS, "--weights", str(weights))
    assert main(["embed", "--input", f"{DATA}/audio", "--output", str(table), *own]) == 0
    command = ["crossval", "--dataset", "esc10", "--dataset-root", str(DATA), "--folds", "1"]
    command += ["--table", str(table), "--output", str(output), "--quiet", "--epochs", "1"]
    assert main(command) == 0
    capsys.readouterr()
    model = str(output / "models/fold1.keras")
    clip = DATA / "audio/5-194930-A-1.ogg"
    before = labelled(capsys, model, "--input", clip, "--json").out
    weights.unlink()
    assert labelled(capsys, model, "--input", clip, "--json").out == before
    shutil.rmtree(table)
    error = labelled(capsys, model, "--input", clip, code=2).err
    assert "their weights are neither" in error
    assert error.count("\n") == 1


def test_a_model_of_another_size_than_its_embedding_is_refused(model):
    whole = from_keras(Path(model).read_bytes(), name=model)
    assert embedder_of(whole, name=model).spec.size == 64
    with pytest.raises(ClassifierError, match="was trained on embeddings"):
        embedder_of(replace(whole, mean=whole.mean[:20]), name=model)


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        (["--input", "nowhere/*.wav"], "matches no file"),
        (["--input", "x.wav", "--output", "labels.xls"], "--output must end in .csv or .parquet"),
        (["--model", "none.keras", "--input", "x.wav"], "--model none.keras: no such file"),
        (["--model", "x.wav", "--input", "x.wav"], "x.wav is no classifier of ours"),
        ([], "--input"),
    ],
)
def test_wrong_use_is_one_line(model, tmp_path, monkeypatch, capsys, flags, part):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.wav").write_text("text")
    error = labelled(capsys, model, *flags, code=2).err
    assert part in error
    assert error.count("\n") == 1


def test_an_output_that_cannot_be_written(model, tmp_path, capsys):
    (tmp_path / "file").touch()
    clip = DATA / "audio/5-194930-A-1.ogg"
    error = labelled(
        capsys, model, "--input", clip, "--output", tmp_path / "file/labels.csv", code=2
    ).err
    assert "--output" in error
    assert error.count("\n") == 1


def test_audio_on_the_web(model, capsys):
    clip = DATA / "audio/5-194930-A-1.ogg"
    with web_server() as server:
        server.files["/a.ogg"] = clip.read_bytes()
        names = [f"{server.url}/{name}" for name in ("a.ogg", "none.ogg")]
        flags = ["--json", "--max-download", "1MB"]
        found, absent = json.loads(labelled(capsys, model, "--input", *names, *flags).out)
        (expected,) = json.loads(labelled(capsys, model, "--input", clip, *flags).out)
        assert found == expected | {"uri": names[0]}
        assert (absent["label"], absent["status"]) == (None, "vanished")
        assert server.log[:2] == ["HEAD /a.ogg", "HEAD /none.ogg"]
        assert sorted(server.log[2:]) == ["GET /a.ogg", "GET /none.ogg"]  # side by side
        flags = ["--json", "--max-download", "1kB"]
        (large,) = json.loads(labelled(capsys, model, "--input", names[0], *flags).out)
        assert large["status"] == "too-large"
