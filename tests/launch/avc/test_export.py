"""`l3flow avc export`: files that the next command takes, and what is said of them."""

import json
import shlex

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from l3core.training.checkpoints import Checkpoints
from launch.main import main
from tests.l3core.training.trainings import trained


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("training"))


def export(*argv):
    return main(["avc", "export", *map(str, argv)])


def test_what_is_written_is_what_the_next_command_takes(training, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert export("--training", training, "--output", "my weights.h5") == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines()[:2] == [
        "my weights.h5: l3-narrow after 320 pairs, 87.5 % of the validation's pairs right",
        "my weights.h5.md: what they are",
    ]
    assert (tmp_path / "my weights.h5.md").read_text().startswith("# my weights.h5\n")
    (tmp_path / "sound").mkdir()
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, 48_000)
    soundfile.write(tmp_path / "sound" / "a.wav", sound, 48_000)
    command = shlex.split(out.splitlines()[-1].removeprefix("next: "))
    assert command[0] == "l3flow"
    assert main([*command[1:], "--quiet"]) == 0
    (table,) = (tmp_path / "table" / "windows").rglob("*.parquet")
    assert len(pq.read_table(table)["embedding"][0]) == 768


def test_json_checkpoints_and_the_vision_network(training, tmp_path, capsys):
    files = [tmp_path / name for name in ("best.h5", "latest.h5", "named.h5", "vision.h5")]
    digests = {}
    for file, which in zip(files, ("best", "latest", "640")):
        more = ["--vision", files[3]] if which == "640" else []
        assert (
            export("--training", training, "--checkpoint", which, "--output", file, "--json", *more) == 0
        )
        answer = json.loads(capsys.readouterr().out)
        digests[which] = answer["digest"]
        assert answer["samples"] == (320 if which == "best" else 640)
        assert answer["validation_accuracy"] == (0.875 if which == "best" else None)
    assert digests["latest"] == digests["640"] != digests["best"]
    assert files[3].stat().st_size > 70_000 * 4
    assert export("--training", training, "--output", files[0], "--quiet") == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--training": "nowhere"}, "--training no training at nowhere: l3flow avc train makes one"),
        ({"--checkpoint": "77"}, "has no checkpoint 77; there is: best, latest, 320, 640"),
        ({"--output": "https://example.org/w.h5"}, "--output"),
        ({"--output": "/dev/null/w.h5"}, "--output /dev/null/w.h5: cannot write there"),
    ],
)
def test_wrong_use(training, tmp_path, capsys, change, message):
    given = {"--training": training, "--output": tmp_path / "w.h5"} | change
    assert export(*(part for pair in given.items() for part in pair)) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["w.h5", "w.h5.md", "there/../w.h5"])
def test_vision_does_not_go_where_audio_or_its_card_goes(training, tmp_path, capsys, name):
    more = ("--output", tmp_path / "w.h5", "--vision", tmp_path / name)
    assert export("--training", training, *more) == 2
    assert "where --output, or its card, goes; name another" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_checkpoint(tmp_path, capsys):
    trained(tmp_path / "training")
    folder = Checkpoints(str(tmp_path / "training")).folder(320)
    with open(f"{folder}/weights.h5", "r+b") as file:
        file.seek(5_000)
        file.write(b"damage")
    assert export("--training", tmp_path / "training", "--output", tmp_path / "w.h5") == 1
    assert "is not what was written" in capsys.readouterr().err
    assert not (tmp_path / "w.h5").exists()
