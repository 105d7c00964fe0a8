"""`l3flow map`: what people type, what they read, and the page in a real browser."""

import csv
import io
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from l3core.datasets import DATASETS
from l3core.maps.placing import METHODS
from launch.main import main
from tests.corpus import FLAGS, write_audio
from tests.dataset_trees import write_esc50
from tests.maps import NAMES, data_of, make_table

REPO = Path(__file__).parents[2]


def tone(path, frequency, *, seconds=1.0, rate=8_000):
    """A pure tone in a little noise: two frequencies are two kinds to any model."""
    path.parent.mkdir(parents=True, exist_ok=True)
    times = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(len(path.name)).normal(0, 0.01, len(times))
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * frequency * times) + noise, rate)
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return make_table(tmp_path_factory.mktemp("map"))


def test_it_is_not_done_before_the_clips_are_placed(table, tmp_path, monkeypatch, capsys):
    place = METHODS["pca"]

    def slowly(vectors, *, seed):
        time.sleep(0.5)
        return place(vectors, seed=seed)

    monkeypatch.setitem(METHODS, "pca", slowly)
    monkeypatch.setattr("launch.screen.SHOWN_AFTER_S", 0.0)
    monkeypatch.setattr("launch.screen.PLAIN_LINE_EVERY_S", 0.05)
    assert main(["map", "--table", str(table), "--output", str(tmp_path / "map.html")]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "pca of the clips" in line]
    assert lines
    assert {line.partition(" %")[0] for line in lines} <= {"88", "89", "90"}


@pytest.fixture(scope="module")
def page(table):
    output = table.parent / "map.html"
    assert main(["map", "--table", str(table), "--output", str(output), "--quiet"]) == 0
    return output


def refused(capsys, *argv, code=2):
    assert main(["map", *map(str, argv)]) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    return said.err


def test_a_page_does_not_replace_a_file_of_its_table(table, capsys):
    kept = (table / "table.json").read_bytes()
    said = refused(capsys, "--table", table, "--output", table / "table.json")
    assert "lies in the table: name another place" in said
    assert (table / "table.json").read_bytes() == kept


def test_it_says_what_is_in_the_page(table, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["map", "--table", str(table)]) == 0
    told = capsys.readouterr().out
    assert told.startswith("map.html: 10 clips, 1 silent left out, by PCA (x has ")
    assert main(["map", "--table", str(table), "--sample", "4", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["clips"] + facts["silent"] == 4
    assert facts["about"].startswith(f"{facts['clips']} clips drawn from 11")
    assert (facts["available"], facts["output"]) == (11, "map.html")
    assert facts["bytes"] == Path("map.html").stat().st_size
    assert main(["map", "--table", str(table), "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_the_same_table_and_seed_are_the_same_page(table, page, tmp_path):
    for number in range(2):
        command = ["map", "--table", str(table), "--sample", "5", "--seed", "7", "--quiet"]
        assert main([*command, "--output", str(tmp_path / f"{number}.html")]) == 0
    first, second = ((tmp_path / f"{number}.html").read_bytes() for number in range(2))
    assert first == second
    assert len(first) < page.stat().st_size


def test_a_page_grows_by_little_with_each_clip(tmp_path, capsys):
    corpus = tmp_path / "corpus"
    for number in range(60):
        write_audio(corpus / f"{number:03d}.wav", 0.1, seed=number)
    assert (
        main(["embed", "--input", str(corpus), "--output", str(tmp_path / "t"), *FLAGS, "--quiet"]) == 0
    )
    sizes = []
    for sample in ("10", "60"):
        command = ["map", "--table", str(tmp_path / "t"), "--sample", sample, "--json"]
        assert main([*command, "--output", str(tmp_path / "m.html")]) == 0
        sizes.append(json.loads(capsys.readouterr().out)["bytes"])
    assert sizes[0] < 35_000
    assert (sizes[1] - sizes[0]) / 50 < 120


# ---- labels


@pytest.fixture(scope="module")
def esc10(tmp_path_factory):
    """ESC-10, two classes of which are tones: high and low."""
    root = tmp_path_factory.mktemp("esc")
    wanted = {"dog": 300, "rain": 1500}

    def write(path):
        target = int(path.stem.rpartition("-")[2])
        label = {0: "dog", 10: "rain"}.get(target)
        if label:
            tone(path, wanted[label])

    write_esc50(root / "ESC-50-master", write=write)
    command = ["embed", "--input", str(root), "--output", str(root / "table"), *FLAGS, "--quiet"]
    assert main(command) == 0
    return root


def test_a_dataset_lends_its_labels(esc10, tmp_path, capsys):
    output = tmp_path / "map.html"
    command = ["map", "--table", str(esc10 / "table"), "--output", str(output), "--json"]
    assert main([*command, "--dataset", "esc10", "--dataset-root", str(esc10)]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["columns"][:3] == ["label", "fold", "source"]
    assert facts["colour"] == "label"
    data = data_of(output.read_text(encoding="utf-8"))
    label = data["columns"][0]
    assert sorted(label["names"]) == ["dog", "rain"]
    for clip, value in zip(data["clips"], label["values"]):
        assert label["names"][value] == {"0": "dog", "10": "rain"}[clip[:-4].rpartition("-")[2]]
    assert set(data["columns"][1]["names"]) == {"1", "2", "3", "4", "5"}


def test_a_csv_lends_its_columns(table, tmp_path, capsys):
    text = io.StringIO()
    rows = [[f"{kind}/{NAMES[1]}", kind, n] for n, kind in enumerate(("loud", "quiet"))]
    csv.writer(text).writerows([["clip_id", "species", "codec"], *rows, ["none.wav", "x", 3]])
    (tmp_path / "labels.csv").write_text(text.getvalue(), encoding="utf-8")
    output = tmp_path / "map.html"
    flags = ("--table", table, "--labels", tmp_path / "labels.csv")
    assert main(["map", *map(str, flags), "--output", str(output), "--colour", "species", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["colour"] == "species"
    assert facts["columns"].count("codec") == 1  # the label's, not the ledger's
    species = data_of(output.read_text(encoding="utf-8"))["columns"][0]
    assert sorted(species["values"]) == [-1] * 8 + [0, 1]
    (tmp_path / "labels.csv").write_text("clip_id,species\nnone.wav,x\n", encoding="utf-8")
    assert "no clip of the map has a species" in refused(capsys, *flags, "--output", output)


# ---- bad input


def test_wrong_use_is_one_line(table, tmp_path, capsys):
    at = ("--table", table)
    near = refused(capsys, *at, "--colour", "durations")
    assert near.startswith("l3flow: --colour: no column 'durations', did you mean duration_s?")
    assert "there are clip_id, uri," in refused(capsys, *at, "--colour", "zzz")
    assert "--spec s0none is none of the specs" in refused(capsys, *at, "--spec", "s0none")
    assert "--table " in refused(capsys, "--table", tmp_path / "none")
    for flags, problem in (
        (("--sample", "0"), "needs at least 1"),
        (("--sample", "300000"), "--sample needs at most 200000, got 300000"),
        (("--seed", "-1"), "--seed needs a number from 0"),
        (("--dataset", "esc10"), "--dataset and --dataset-root need each other"),
        (("--dataset", "x", "--dataset-root", "."), f"must be one of {', '.join(DATASETS)}, got 'x'"),
        (("--method", "tsne"), "--method"),
    ):
        assert main(["map", *map(str, at), *flags]) == 2
        assert problem in capsys.readouterr().err
    assert "--dataset-root no clip" not in refused(capsys, *at, "--labels", tmp_path / "none.csv")
    (tmp_path / "folder").mkdir()
    told = refused(capsys, *at, "--output", tmp_path / "folder")
    assert told.startswith(f"l3flow: --output {tmp_path}/folder: cannot write there")


def test_more_clips_than_memory_holds_are_refused(table, capsys, monkeypatch):
    monkeypatch.setattr("l3core.machine.usable_memory", lambda: 1_000_000)
    told = refused(capsys, "--table", table, "--sample", "100")
    assert "--sample: 100 clips may take 419.4 MB of memory, 1.0 MB are free" in told


def test_silence_alone_is_no_map(tmp_path, capsys):
    (tmp_path / "corpus").mkdir()
    soundfile.write(tmp_path / "corpus/s.wav", np.zeros(8_000, np.float32), 8_000)
    command = ["embed", "--input", str(tmp_path / "corpus"), "--output", str(tmp_path / "t"), *FLAGS]
    assert main([*command, "--quiet"]) == 0
    assert "has nothing to show: no clip with a sound in it" in refused(
        capsys, "--table", tmp_path / "t"
    )


def test_a_damaged_file_is_named(table, tmp_path, capsys):
    copy = tmp_path / "table"
    shutil.copytree(table, copy)
    [file, *_] = sorted(copy.glob("windows/*/*.parquet"))
    content = bytearray(file.read_bytes())
    content[4:400] = bytes(396)
    file.write_bytes(content)
    assert main(["map", "--table", str(copy), "--output", str(tmp_path / "m.html")]) == 1
    told = capsys.readouterr().err
    assert f"{file} cannot be read, see l3flow verify" in told
    assert not (tmp_path / "m.html").exists()


def test_help_and_mistakes_load_little():
    code = (
        "import sys; from launch.main import main; code = main(['map', '--help']);"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True)
    assert "--colour COLUMN" in done.stdout
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert "launch" in loaded
    assert not loaded & {
        "tensorflow",
        "sklearn",
        "umap",
        "apache_beam",
        "matplotlib",
        "pandas",
        "pyarrow",
    }
