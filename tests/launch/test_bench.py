"""The benchmark command measures what it says; how fast things are is no matter of tests."""

import json

from launch.main import main


def measured(capsys, *flags):
    assert main(["bench", "--json", "--seconds", "0.2", *flags]) == 0
    return json.loads(capsys.readouterr().out)


def test_all_parts_of_a_small_model(capsys):
    flags = ("--model", "edgel3-sea-64", "--hop", "0.5", "--minutes", "0.2")
    answer = measured(capsys, *flags)
    figures = {(figure["name"], figure["note"]): figure["value"] for figure in answer["figures"]}
    assert answer["spec"]["model"] == "edgel3-sea-64"
    assert min(figures.values()) > 0
    names = [name for name, _ in figures]
    for name in ("bare model", "decode", "resample", "write", "peak memory, clips", "audio"):
        assert name in names
    assert names.count("plumbing") == 3
    # 12 s and centred: 1 + (12.5 - 1) / 0.5 windows; three clips of 4 s: 8 windows each
    assert ("whole command, recording", "24 windows") in figures
    assert ("whole command, clips", "24 windows") in figures
    ratios = [value for (name, _), value in figures.items() if name.startswith("whole command / bare")]
    assert all(0 < ratio < 1 for ratio in ratios)


def test_a_part_alone(capsys):
    answer = measured(capsys, "--model", "edgel3-sea-64", "--only", "model")
    assert [figure["name"] for figure in answer["figures"]] == ["bare model"]


def test_what_cannot_be_measured_is_refused(capsys):
    assert main(["bench", "--only", "everything"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
