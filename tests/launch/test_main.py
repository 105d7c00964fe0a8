"""The command line: errors of one line with the nearest name, exit codes, help."""

import pytest

from launch.main import COMMANDS, main
from tests.corpus import FLAGS, write_files


@pytest.fixture
def corpus(tmp_path):
    return write_files(tmp_path / "corpus", 1)


def refused(capsys, argv, code=2):
    """The one line of stderr of a command line that is refused."""
    assert main(list(map(str, argv))) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("\n")
    assert err.count("\n") == 1, err
    return err


def embed(corpus, *more):
    return ["embed", "--input", corpus, "--output", corpus.parent / "table", *FLAGS, *more]


@pytest.mark.parametrize("command", [[], ["embed"], ["weights"]])
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help(capsys, command, flag):
    assert main([*command, flag]) == 0
    out, err = capsys.readouterr()
    assert "examples:" in out
    assert "l3flow" in out
    assert err == ""


def test_without_a_command_it_says_what_there_is(capsys):
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert all(command in out + err for command in COMMANDS)


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("l3flow 0.")


@pytest.mark.parametrize(("given", "hint"), [("embd", "embed"), ("weight", "weights")])
def test_unknown_command(capsys, given, hint):
    line = refused(capsys, [given, "--input", "x"])
    assert repr(given) in line
    assert f"did you mean {hint}?" in line


def test_unknown_command_that_is_near_nothing(capsys):
    assert all(command in refused(capsys, ["zzz"]) for command in COMMANDS)


@pytest.mark.parametrize(
    ("given", "nearest"),
    [
        ("--embeding-size=512", "--embedding-size"),
        ("--stict", "--strict"),
        ("--hopp", "--hop"),
        ("--strict-mode", "--strict"),
        ("--direct_num_worker", "--direct_num_workers"),  # Beam's
        ("--allow-empt", "--allow-empty"),  # no abbreviations
    ],
)
def test_misspelt_flag(capsys, corpus, given, nearest):
    line = refused(capsys, embed(corpus, given))
    assert f"unknown option {given.partition('=')[0]}, did you mean {nearest}?" in line
    assert not (corpus.parent / "table").exists()


@pytest.mark.parametrize("given", ["--inptu", "--imput"])
def test_misspelt_flag_that_is_required(capsys, corpus, given):
    line = refused(capsys, ["embed", given, corpus, "--output", corpus.parent / "table"])
    assert given in line
    assert "did you mean --input?" in line


def test_wrong_use_of_an_action_leads_to_its_own_help(capsys, tmp_path):
    flags = ["--corpus", tmp_path / "none", "--output", tmp_path / "out"]
    assert refused(capsys, ["avc", "train", *flags]).endswith(" (see l3flow avc train --help)\n")
    assert refused(capsys, ["avc", "trian"]).endswith(" (see l3flow avc --help)\n")
    assert refused(capsys, ["runs", "--table", tmp_path]).endswith(" (see l3flow runs --help)\n")


def test_missing_flags(capsys):
    line = refused(capsys, ["embed"])
    assert "--input" in line
    assert "--output" in line


@pytest.mark.parametrize("before", [["--strict"], ["--hop", "1"], ["--direct_num_workers", "1"]])
def test_an_argument_too_many(capsys, corpus, before):
    assert "'stray'" in refused(capsys, embed(corpus, *before, "stray"))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--model", "l4"], ["--model", "'l4'", "l3, l3-narrow, edgel3-sea-64"]),
        (
            ["--grid", "centre"],
            ["--grid", "'centre'", "center, nocenter, paper", "did you mean 'center'"],
        ),
        (["--hop", "x"], ["--hop", "'x'", "number"]),
        (["--hop", "0"], ["--hop", "0", "positive"]),
        (["--hop", "-1"], ["--hop", "-1", "positive"]),
        (["--hop", "nan"], ["--hop", "nan", "positive"]),
        (["--embedding-size", "x"], ["--embedding-size", "'x'", "whole number"]),
        (["--embedding-size", "9"], ["--embedding-size", "9", "one of 8"]),
        (["--content", "env"], ["--content", "fake", "'env'"]),
        (["--precision", "half"], ["--precision", "'half'", "float32, mixed_bfloat16, mixed_float16"]),
        (["--precision", "mixed_float16"], ["--precision", "'mixed_float16'", "fake", "float32"]),
        (["--resampler", "sox"], ["--resampler", "'sox'", "soxr_hq", "resampy"]),
        (["--engine", "torch"], ["--engine", "'torch'", "tensorflow"]),
        (["--weights", "random:x"], ["--weights", "'random:x'", "whole number"]),
        (["--model-option", "x"], ["--model-option", "'x'", "KEY=VALUE"]),
        (["--model-option", "x=1"], ["--model-option", "'x'", "fake"]),
        (["--runner", "spark"], ["--runner", "'spark'", "local"]),
        (["--input", ""], ["--input", "empty"]),
        (["--input", "a**b.wav"], ["--input", "a**b.wav", "**"]),
        (["--input", "nosuch://bucket/*.wav"], ["--input", "nosuch"]),
        (["--output", "nosuch://bucket/table"], ["--output", "nosuch"]),
        (["--direct_num_workers", "x"], ["--direct_num_workers", "'x'"]),
    ],
)
def test_a_value_that_is_not_allowed(capsys, corpus, flags, words):
    line = refused(capsys, embed(corpus, *flags))
    for word in words:
        assert word in line
    assert not (corpus.parent / "table").exists()


def test_weights_that_are_not_there(capsys, corpus):
    line = refused(capsys, embed(corpus, "--weights", "/no/such.h5"))
    assert "/no/such.h5" in line
    assert "--weights" in line


def test_a_table_in_the_place_of_a_file(capsys, corpus):
    place = corpus / "000.wav"
    assert str(place) in refused(capsys, embed(corpus, "--output", place))


def test_a_table_where_none_can_be_made(capsys, corpus):
    """Below a file there is no folder: one line, whichever of the two codes."""
    place = corpus / "000.wav" / "table"
    argv = list(map(str, embed(corpus, "--output", place)))
    assert main(argv) in (1, 2)
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert str(place.parent) in err


def test_flags_of_beam_are_handed_on(corpus):
    more = ["--quiet", "--direct_num_workers", "2", "--direct_running_mode=multi_threading"]
    assert main(list(map(str, embed(corpus, *more)))) == 0


def test_a_table_of_another_layout(capsys, corpus):
    assert main(list(map(str, embed(corpus, "--quiet")))) == 0
    (entry,) = (corpus.parent / "table/_l3flow/journal").iterdir()
    entry.write_text(entry.read_text().replace('"layout": 1', '"layout": 99'))
    assert "layout 99" in refused(capsys, embed(corpus))
