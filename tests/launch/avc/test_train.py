"""`l3flow avc train` from its command line."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from l3core.errors import UsageError
from l3core.training.settings import PRESETS
from launch.avc.train import build_parser, settings_of
from launch.avc.train_screen import _speed
from launch.main import main
from tests.pairs import make_corpus
from tests.processes import killed_at_end

REPOSITORY = Path(__file__).parents[3]
SMALL = ["--model", "l3-narrow", "--input-repr", "linear", "--epochs", "2", "--batch-size", "4"]
SMALL += ["--steps-per-epoch", "3", "--learning-rate", "1e-3", "--validation-steps", "2"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    make_corpus(folder, splits={"train": 16, "valid": 8, "test": 6})
    return str(folder)


def options(corpus, output, *more):
    return ["avc", "train", "--corpus", corpus, "--output", str(output), *SMALL, *more]


def given(*flags):
    return settings_of(build_parser("x").parse(["--corpus", "c", "--output", "o", *flags]))


def test_flags_go_over_the_preset():
    assert given("--preset", "paper") == PRESETS["paper"]
    assert given("--preset", "toy", "--seed", "7", "--shuffle-labels").seed == 7
    assert given("--preset", "paper", "--seed", "0").seed == 0
    assert given().learning_rate == 1e-5
    with pytest.raises(UsageError, match=r"--preset must be one of paper, toy, got 'big'"):
        given("--preset", "big")
    with pytest.raises(UsageError, match=r"--learning-rate needs a number above 0, got -1.0"):
        given("--learning-rate", "-1")


def test_a_dry_run_says_what_there_is_to_do(corpus, tmp_path, capsys):
    assert main(options(corpus, tmp_path / "out", "--dry-run")) == 0
    said = capsys.readouterr().out
    assert "16 pairs to train on, 8 to validate with" in said
    assert "2 epochs of 3 steps of 4 pairs: 24 pairs, each 1.5 times" in said
    assert "begins from the start" in said
    assert not (tmp_path / "out").exists()
    assert main(options(corpus, tmp_path / "out", "--dry-run", "--json")) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 6


def test_it_tells_how_it_goes_and_ends(corpus, tmp_path, capsys):
    output = str(tmp_path / "out")
    assert main(options(corpus, output)) == 0
    found = capsys.readouterr()
    assert "epoch 2 of 2: loss" in found.err
    assert "validation accuracy" in found.err
    assert found.out.startswith(f"{output}: 2 epochs, 24 pairs; best validation accuracy ")
    assert main(options(corpus, output, "--json")) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["finished"], facts["step"], facts["last"]["epoch"]) == (True, 6, 2)
    latest = (tmp_path / "out" / "latest.json").rename(
        tmp_path / "latest"
    )  # as if a save had been killed
    assert main(options(corpus, output, "--dry-run")) == 0
    assert "it is finished, after 2 epochs" in capsys.readouterr().out
    assert main(options(corpus, output, "--dry-run", "--devices", "cpu:0", "cpu:1")) == 2
    assert "--devices: 2 here" in capsys.readouterr().err
    latest.rename(tmp_path / "out" / "latest.json")
    assert main(options(corpus, output, "--seed", "1")) == 2
    assert "--seed 1: the training in" in capsys.readouterr().err
    _evaluate(corpus, output, capsys)


def _evaluate(corpus, output, capsys):
    """Here, since there is a training."""
    command = ["avc", "evaluate", "--training", f"a={output}", f"b={output}", "--corpus", f"c={corpus}"]
    assert main([*command, "--json"]) == 0
    cells = json.loads(capsys.readouterr().out)["cells"]
    assert [(cell["training"], cell["corpus"], cell["pairs"]) for cell in cells] == [
        ("a", "c", 6),
        ("b", "c", 6),
    ]
    assert cells[0]["low"] <= cells[0]["accuracy"] <= cells[0]["high"]
    assert cells[0]["accuracy"] == cells[0]["correct"] / 6
    assert main([*command, "--split", "valid", "--checkpoint", "latest"]) == 0
    table = capsys.readouterr().out
    assert "n = 8" in table
    assert main([*command, "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    for more, match in (
        (["--checkpoint", "5"], "has no checkpoint 5"),
        (["--training", "a=x"], "--training has a name twice: a, b, a"),
        (["--training", f"d={corpus}"], "--training no training at"),
        (["--corpus", f"d={output}"], "--corpus no corpus of pairs at"),
    ):
        assert main([*command, *more]) == 2
        assert match in capsys.readouterr().err


def test_what_is_wrong_is_a_line(corpus, tmp_path, capsys):
    for more, match in (
        (["--devices", "gpu:0"], "this machine has no GPU"),
        (["--precision", "float8"], "--precision needs one of"),
        (["--corpus", str(tmp_path)], "--corpus no corpus of pairs at"),
    ):
        assert main(options(corpus, tmp_path / "out", *more)) == 2
        found = capsys.readouterr()
        assert match in found.err
        assert found.err.count("\n") == 1
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_an_output_that_is_a_file_is_a_line(corpus, tmp_path, capsys, more):
    (tmp_path / "out").write_bytes(b"")
    assert main(options(corpus, tmp_path / "out", *more)) == 2
    err = capsys.readouterr().err
    assert "training.json cannot be: there is a file where its folder should be" in err
    assert err.count("\n") == 1


def test_an_output_that_cannot_be_written_is_a_line(corpus, capsys):
    assert main(options(corpus, "/proc/out")) == 2
    err = capsys.readouterr().err
    assert "--output /proc/out: cannot write there: No such file or directory" in err
    assert err.count("\n") == 1


def test_a_dry_run_looks_for_its_devices(corpus, tmp_path, capsys):
    for names, match in (
        (["cpu:0", "cpu:0"], "names a device twice"),
        (["gpu:0"], "this machine has no"),
    ):
        assert main(options(corpus, tmp_path / "out", "--dry-run", "--devices", *names)) == 2
        assert match in capsys.readouterr().err


def test_what_is_slow_has_a_rate_too():
    assert [_speed(rate) for rate in (0.274, 1.42, 31.6, 1497.0)] == ["0.27", "1.4", "32", "1,497"]


def test_ctrl_c_keeps_what_was_done(corpus, tmp_path):
    command = [sys.executable, "-m", "launch.main", *options(corpus, tmp_path, "--epochs", "2000")]
    process = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)
    with killed_at_end(process):
        for line in process.stderr:
            if line.startswith("epoch 1 of 2000"):
                process.send_signal(signal.SIGINT)
                break
        said = process.stderr.read()
        assert process.wait(60) == 130
    last = said.splitlines()[-1]
    assert last.startswith("l3flow: interrupted after step ")
    assert last.endswith("the same command goes on there")
    step = json.loads((tmp_path / "latest.json").read_text())["step"]
    assert f"after step {step} of" in last
