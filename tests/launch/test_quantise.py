"""`l3flow weights quantise`, and tables of what it makes."""

import json
import shutil

import h5py
import numpy as np
import pytest

from l3core.calibrating import cosines
from l3core.spec import EmbeddingSpec
from l3core.weights import load_weights
from launch.main import main
from tests.corpus import table_rows, write_audio
from tests.golden import shared_file

MODEL = ("--model", "edgel3-sea-64")
INT8 = (*MODEL, "--engine", "openvino", "--precision", "int8", "--hop", "0.5")
CLIPS = ("1-17367-A-10", "3-143929-A-10", "2-50667-B-41", "3-171012-A-38", "4-164064-C-1")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a corpus of real clips and what the command makes of it, by the command."""
    folder = tmp_path_factory.mktemp("quantised")
    (folder / "corpus").mkdir()
    for clip in CLIPS:
        shutil.copy(shared_file(f"data/esc10/audio/{clip}.ogg"), folder / "corpus")
    (folder / "corpus" / "broken.wav").write_bytes(b"RIFF" + 60 * b"?")
    quantise = ["weights", "quantise", *MODEL, "--calibrate", f"{folder}/corpus/*"]
    assert main([*quantise, "--output", f"{folder}/int8.h5"]) == 0
    return folder


def embed(folder, *flags, weights="int8.h5"):
    argv = ["embed", "--input", f"{folder}/corpus/*.ogg", "--output", f"{folder}/table", *flags]
    return main([*argv, "--weights", f"{folder}/{weights}" if "." in weights else weights])


def refused(capsys, argv, code=2):
    capsys.readouterr()
    assert main(list(map(str, argv))) == code
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    return err


def test_what_is_made_and_said(made, capsys):
    answer = f"{made}/again.h5"
    argv = ["weights", "quantise", *MODEL, "--calibrate", f"{made}/corpus", "--output", answer]
    capsys.readouterr()
    assert main([*argv, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["calibrated_on"]["recordings"] == 3  # every other one
    assert said["checked_on"]["recordings"] == 2
    assert said["unreadable"] == 1
    assert 0.999 <= said["cosine"]["5th_percentile"] <= said["cosine"]["median"] < 1
    spec = EmbeddingSpec(model="edgel3-sea-64", engine="openvino", precision="int8", weights=answer)
    assert load_weights(spec).digest == said["digest"]
    assert main(argv) == 0
    out = capsys.readouterr().out
    assert f"digest {said['digest']}" in out  # the same again
    assert "1 recordings cannot be read" in out
    assert f"5th percentile {said['cosine']['5th_percentile']:.5f}" in out
    assert "less than" not in out


def test_the_file_still_is_one_of_float32_weights(made):
    spec = EmbeddingSpec(model="edgel3-sea-64")
    same = EmbeddingSpec(model="edgel3-sea-64", weights=f"{made}/int8.h5")
    assert load_weights(same).digest == load_weights(spec).digest


def test_a_table_of_int8(made, capsys):
    assert embed(made, *INT8, "--quiet") == 0
    rows = table_rows(made / "table")
    (copy,) = (made / "table/_l3flow/weights").iterdir()
    assert main(["verify", "--table", f"{made}/table", "--quiet"]) == 0
    # by the table's own copy nothing is left to do
    shutil.copy(copy, made / "copy.h5")
    capsys.readouterr()
    assert embed(made, *INT8, "--json", weights="copy.h5") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["matched"] == {"unchanged": len(CLIPS)}
    assert table_rows(made / "table") == rows
    write_audio(made / "corpus/new.ogg", 2.0, rate=16_000)
    assert embed(made, *INT8, "--json", weights="copy.h5") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["matched"] == {"new": 1, "unchanged": len(CLIPS)}
    assert record["deviation"]["measure"] == "cosine_distance"
    (made / "corpus/new.ogg").unlink()
    recording = f"{made}/corpus/{CLIPS[0]}.ogg"  # embedded with the copy, too
    argv = ["similar", "--table", f"{made}/table", "-k", "1", "--json", "--file", recording]
    assert main(argv) == 0
    assert f"{CLIPS[0]}.ogg" in capsys.readouterr().out


def test_one_int8_model_is_for_dense_windows_too(made, capsys):
    dense = ("--grid", "dense", "--hop", "0.16")
    argv = ["weights", "quantise", *MODEL, *dense, "--calibrate", f"{made}/corpus", "--output"]
    assert main([*argv, f"{made}/dense.h5"]) == 0
    argv = ["embed", "--input", f"{made}/corpus/*.ogg", "--quiet", *MODEL, *dense]
    assert main([*argv, "--output", f"{made}/float32"]) == 0
    int8 = ["--engine", "openvino", "--precision", "int8", "--weights", f"{made}/dense.h5"]
    assert main([*argv, *int8, "--output", f"{made}/int8"]) == 0
    expected, found = (table_rows(made / name) for name in ("float32", "int8"))
    assert [row[:4] for row in found] == [row[:4] for row in expected]
    vectors = (
        np.array([np.frombuffer(row[4], np.float32) for row in rows]) for rows in (found, expected)
    )
    assert 0.999 <= np.median(cosines(*vectors)) < 1 - 1e-5  # calibrated on eleven windows


def test_what_cannot_be_computed_in_int8(made, capsys, tmp_path):
    base = ["embed", "--input", f"{made}/corpus/*.ogg", "--output", tmp_path / "t"]
    line = refused(capsys, [*base, *MODEL, "--precision", "int8", "--weights", f"{made}/int8.h5"])
    assert "engine tensorflow computes in" in line
    assert "weights quantise" in refused(capsys, [*base, *INT8])
    assert "weights quantise" in refused(capsys, [*base, *INT8, "--weights", "random:0"])
    assert main(["weights", "export", f"{tmp_path}/f.h5", *MODEL, "--quiet"]) == 0
    line = refused(capsys, [*base, *INT8, "--weights", tmp_path / "f.h5"])
    assert "no int8 model" in line
    assert "weights quantise" in line
    l3 = ["--engine", "openvino", "--precision", "int8", "--weights", f"{made}/int8.h5"]
    assert "layers" in refused(capsys, [*base, *l3])
    (tmp_path / "text.h5").write_text("weights")
    assert "text.h5" in refused(capsys, [*base, *INT8, "--weights", tmp_path / "text.h5"])
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--output", "x.h5"], "--calibrate PATTERN"),
        (["--calibrate", "CORPUS"], "--output FILE.h5"),
        (["name", "--calibrate", "CORPUS", "--output", "x.h5"], "no names"),
        (["--calibrate", "CORPUS/*.flac", "--output", "x.h5"], "matches no file"),
        (["--calibrate", "CORPUS/broken.wav", "--output", "x.h5"], "two windows"),
        (["--calibrate", "CORPUS", "--output", "https://h/x.h5"], "--output"),
        (["--calibrate", "CORPUS", "--output", "x.h5", "--precision", "mixed_float16"], "--precision"),
    ],
)
def test_wrong_use(made, capsys, flags, problem, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = [flag.replace("CORPUS", f"{made}/corpus") for flag in flags]
    assert problem in refused(capsys, ["weights", "quantise", *MODEL, *flags])
    assert list(tmp_path.iterdir()) == []


def test_flags_of_quantise_are_its_own(capsys):
    assert "of quantise" in refused(capsys, ["weights", "list", "--output", "x.h5"])


def without_highs(group):
    del group["highs"]


def of_other_shape(group):
    del group["gain_3"]
    group["gain_3"] = np.ones(7, np.float32)


def not_finite(group):
    group["bias_0"][0] = np.nan


def no_range(group):
    group["highs"][2] = 0


def elsewhere(group):
    del group["highs"]
    group["highs"] = h5py.ExternalLink("/etc/hostname", "/x")


def of_later(group):
    group.attrs["scheme"] = 2


def for_another(group):
    group.attrs["calibrated"] = '{"model": "l3"}'


@pytest.mark.parametrize(
    "spoil",
    [without_highs, of_other_shape, not_finite, no_range, elsewhere, of_later, for_another],
)
def test_files_that_are_spoilt(made, capsys, tmp_path, spoil):
    path = tmp_path / "spoilt.h5"
    shutil.copy(made / "int8.h5", path)
    with h5py.File(path, "r+") as file:
        spoil(file["l3flow_int8"])
    argv = ["embed", "--input", f"{made}/corpus/*.ogg", "--output", tmp_path / "t", *INT8]
    assert "spoilt.h5" in refused(capsys, [*argv, "--weights", path])
    assert not (tmp_path / "t").exists()
