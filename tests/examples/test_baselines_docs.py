"""What docs/baselines.md shows is so: its commands print what it says, its tables are the models'."""

import os
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from l3core.models.soundnet import LAST, RATES_HZ
from l3core.models.vggish import VARIANTS
from l3core.spec import EmbeddingSpec
from launch.main import main

REPO = Path(__file__).parents[2]
TEXT = (REPO / "docs/baselines.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```\n\$ (l3flow .*)\n((?:.*\n)*?)```", TEXT)
CLIPS = sorted((REPO / "examples/data/audio").iterdir())[:10]
# what a machine needs differs
SPEED = re.compile(r" in \d+\.\d s \(\d+ x real time\)")


class Evil:
    def __reduce__(self):
        return os.mkdir, ("made",)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with ten clips, and with a file that would make a folder if it were unpickled."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "audio").mkdir()
    for clip in CLIPS:
        shutil.copy(clip, tmp_path / "audio")
    np.save("evil.npy", np.array(Evil(), dtype=object), allow_pickle=True)
    return tmp_path


def test_commands_print_what_is_shown(place, capsys):
    assert len(BLOCKS) == 3
    soundnet = "embed --input audio --output soundnet --model soundnet --weights random:0 --quiet"
    assert main(soundnet.split()) == 0
    for command, shown in BLOCKS:
        assert main(shlex.split(command)[1:]) == (2 if "evil" in command else 0)
        said = "".join(capsys.readouterr()).replace(str(place), "/data")
        assert SPEED.sub("", said) == SPEED.sub("", shown)
    assert not (place / "made").exists()


def rows_of(heading):
    """Rows of the table below a heading, as cells."""
    table = TEXT.partition(heading)[2].partition("\n\n")[0]
    return [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]


def test_variants_of_vggish_are_those_there_are():
    rows = rows_of("| `--model-option variant=` |")
    assert ", ".join(name.replace("`", "") for name, _ in rows) == ", ".join(VARIANTS)


def test_layers_of_soundnet_are_those_there_are():
    rows = rows_of("| `--model-option layer=` |")
    assert [name.split("`")[0] for name, *_ in rows] == list(LAST)
    for name, size, step in rows:
        spec = EmbeddingSpec(model="soundnet", model_options={"layer": name.split("`")[0]})
        assert (int(size), step) == (spec.size, f"{spec.hop_s:.3f} s")
    for rate in RATES_HZ:
        assert f"rate={rate}`" in TEXT
