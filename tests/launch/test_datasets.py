"""The list of datasets, and the check of a copy."""

import json

import pytest

from launch.main import main
from tests.dataset_trees import esc50_rows, write_dcase2013, write_esc50


def said(capsys, *flags, code=0):
    assert main(["datasets", *map(str, flags)]) == code
    return capsys.readouterr()


def test_all_are_listed_with_what_people_need(capsys):
    text = said(capsys).out
    for name in ("urbansound8k", "esc50", "esc10", "dcase2013", "dcase2013-challenge"):
        assert f"{name}: " in text
    for word in ("licence", "source", "get it", "cite"):
        assert text.count(f"  {word} ") == 5
    assert "8732 clips, 8.8 h, 10 classes, 10 folds" in text


def test_the_list_for_machines(capsys):
    facts = {each["name"]: each for each in json.loads(said(capsys, "--json").out)}
    assert facts["esc50"]["clips"] == 2000
    assert facts["dcase2013"]["test_folds"] == [2]
    assert json.loads(said(capsys, "--json", "--dataset", "esc10").out)[0]["licence"] == "CC BY 3.0"


def test_a_whole_copy(tmp_path, capsys):
    write_dcase2013(tmp_path)
    text = said(capsys, "--dataset", "dcase2013", "--dataset-root", tmp_path).out
    assert text.splitlines() == [
        f"DCASE 2013 SCD in {tmp_path}: 200 clips, all there",
        "clips by fold: 1: 100, 2: 100",
    ]


def test_a_partial_copy(tmp_path, capsys):
    write_esc50(tmp_path)
    (tmp_path / "audio" / esc50_rows()[0][0]).unlink()
    flags = ("--dataset", "esc50", "--dataset-root", tmp_path)
    error = said(capsys, *flags, code=2).err
    assert error.count("\n") == 1
    assert "--dataset-root" in error
    assert "1 missing: 1-1000-A-0" in error
    assert "1 missing: 1-1000-A-0" in said(capsys, *flags, "--allow-partial").out
    facts = json.loads(said(capsys, *flags, "--allow-partial", "--json").out)
    assert (facts["clips"], facts["published_clips"], facts["complete"]) == (1999, 2000, False)


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        (["--dataset", "esc51"], "--dataset must be one of urbansound8k"),
        (["--dataset-root", "."], "--dataset-root needs --dataset"),
        (["--dataset", "esc50", "--dataset-root", "nowhere"], "no folder"),
        (["--allow-partial"], "--allow-partial is about"),
    ],
)
def test_wrong_use_is_one_line(tmp_path, monkeypatch, capsys, flags, part):
    monkeypatch.chdir(tmp_path)
    error = said(capsys, *flags, code=2).err
    assert part in error
    assert error.count("\n") == 1
