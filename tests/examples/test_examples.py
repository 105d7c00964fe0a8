"""The examples are short, and run as a user runs them."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from l3core.embedding import Embedder
from l3core.spec import EmbeddingSpec
from l3core.weights import load_weights, to_h5

REPO = Path(__file__).parents[2]
CLIP = "examples/data/audio/1-100032-A-0.ogg"


def run(*arguments: str) -> str:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=REPO,
        env=os.environ | {"PYTHONPATH": str(REPO)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.mark.parametrize("example", sorted((REPO / "examples").glob("*.py")), ids=lambda path: path.name)
def test_an_example_is_short(example):
    limit = 75 if example.name == "demo.py" else 40
    assert len(example.read_text().splitlines()) <= limit


def test_bucket_to_bucket():
    output = run("-m", "examples.demo_gcs")
    assert "100 clips in gs://sounds/esc10" in output
    assert "embedded: 100 ok; 1095 windows of 64 numbers" in output
    assert len(re.findall(r"│ \d-\S+-1.ogg +│ rooster +│ 0.9\d+ +│", output)) == 5
    assert "nothing to do: every file is in the table as it is" in output
    assert "table holds what it promises: 1 spec" in output


def test_first_table(tmp_path):
    output = run("examples/first_table.py", "examples/data/audio", str(tmp_path / "table"))
    # 5 s and a little more of each clip, centred, every half second: 10 or 11 windows
    assert "100 clips, 1095 windows of 64 numbers" in output
    assert output.count("sounds most like") == 5


def test_embedding_in_a_pipeline(tmp_path):
    """The numbers of the `Embedder`, and a file that is no audio among the errors."""
    names = ("1-100032-A-0.ogg", "1-17367-A-10.ogg")
    for name in names:
        shutil.copy(REPO / "examples/data/audio" / name, tmp_path / f"it's {name}")
    (tmp_path / "müßig = 5%.ogg").write_text("no audio")
    output = run("examples/embed_in_a_pipeline.py", str(tmp_path), str(tmp_path / "out.jsonl"))
    assert output == f"{tmp_path}/müßig = 5%.ogg: a signal is (audio, sample rate), got NoneType\n"
    lines = map(json.loads, (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines())
    embedder = Embedder(EmbeddingSpec(model="edgel3-sea-64", hop_s=0.5))
    for line, name in zip(sorted(lines, key=lambda line: line["sound"]), names, strict=True):
        audio = soundfile.read(REPO / "examples/data/audio" / name, dtype="float32")
        expected = embedder.embed(*audio).vectors.mean(axis=0)
        assert (line["sound"], line["windows"]) == (f"{tmp_path}/it's {name}", 11)
        assert np.linalg.norm(line["mean"] - expected) <= 1e-5 * np.linalg.norm(expected)


def test_moving_from_openl3(tmp_path):
    spec = EmbeddingSpec(weights="random:0")
    weights = tmp_path / "weights.h5"
    weights.write_bytes(to_h5(load_weights(spec), spec.network.layer_shapes(spec)))
    # 220544 frames at 44.1 kHz are 240047 at 48 kHz; 1 + ceil((240047 + 24000 - 48000) / 24000) = 11
    assert "11 windows of 512 numbers, at 0.0 to 5.0 s" in run(
        "examples/moving_from_openl3.py", CLIP, str(weights)
    )


def test_train_from_video(tmp_path):
    """The whole walk, too short to learn anything."""
    steps = ("--epochs", "1", "--steps-per-epoch", "2", "--batch-size", "4", "--validation-steps", "1")
    output = run("examples/train_from_video.py", str(tmp_path), "27", *steps)
    assert output.count("$ l3flow") == 10
    assert (tmp_path / "pairs.html").is_file()
    assert (tmp_path / "training" / "training.html").is_file()
    assert "l3-narrow after 8 pairs" in output
    # 1.5 s each, centred, every half second: 1 + (72000 + 24000 - 48000) / 24000
    assert output.count("embedded: 100 ok; 300 windows of 768 numbers") == 2
    assert output.count("ESC-10, clean protocol") == 2
