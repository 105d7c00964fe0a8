"""`l3flow similar` and `l3flow index`: what people type and what they read."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from launch.main import main
from tests.corpus import FLAGS, upload, write_audio, write_files

REPO = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Six clips, a copy of one, one of silence and one that is no audio; ids that a terminal minds."""
    folder = tmp_path_factory.mktemp("similar")
    corpus = write_files(folder / "corpus", 6)
    write_audio(corpus / "copy of 2.wav", seed=2)
    soundfile.write(corpus / "silence.wav", np.zeros(8_000, np.float32), 8_000)
    (corpus / "text.wav").write_bytes(b"no audio" * 20)
    write_audio(corpus / "red \x1b[31m.wav", seed=7)
    command = ["embed", "--input", str(corpus), "--output", str(folder / "table"), *FLAGS]
    assert main([*command, "--quiet"]) == 0
    return folder / "table"


def asked(capsys, table, *flags):
    assert main(["similar", "--table", str(table), *flags, "--json"]) == 0
    return json.loads(capsys.readouterr().out)["queries"]


def test_a_copy_is_the_nearest(table, capsys):
    assert main(["similar", "--table", str(table), "002.wav", "-k", "2"]) == 0
    first, second, third = capsys.readouterr().out.splitlines()
    assert first == "rank  similarity  clip_id"
    assert second == "   1      1.0000  copy of 2.wav"
    assert third.startswith("   2  ")


def test_many_queries_are_answered_in_order(table, capsys):
    [two, three] = asked(capsys, table, "002.wav", "003.wav")
    assert (two["query"], three["query"]) == ("002.wav", "003.wav")
    assert two["neighbours"][0]["clip_id"] == "copy of 2.wav"
    for found in (two, three):
        names = [one["clip_id"] for one in found["neighbours"]]
        assert len(set(names)) == 7  # neither itself nor silence nor what is no audio
        assert not {found["query"], "silence.wav", "text.wav"} & set(names)


def test_itself_and_silence_if_asked_for(table, capsys):
    [found] = asked(capsys, table, "002.wav", "--itself", "--silent", "--by", "window")
    names = [one["clip_id"] for one in found["neighbours"]]
    assert names[:2] == ["002.wav", "copy of 2.wav"]
    assert "silence.wav" in names


def test_a_new_file_is_embedded_as_the_table_was(table, tmp_path, capsys):
    """Also where its weights are only in the table: the spec says `random:0`, its copy is read."""
    new = write_audio(tmp_path / "new.wav", seed=3)
    other = write_audio(tmp_path / "other.flac", seed=4)
    first, second = asked(capsys, table, "--file", str(new), str(other), "--by", "window")
    assert (first["query"], first["clip_id"]) == (str(new), None)
    best = first["neighbours"][0]
    assert best["clip_id"] == "003.wav"
    assert best["similarity"] == pytest.approx(1, abs=1e-6)
    assert best["start_s"] == best["query_start_s"]
    assert second["neighbours"][0]["clip_id"] == "004.wav"
    [clip, file] = asked(capsys, table, "003.wav", "--itself", "--file", str(new))
    for one, same in zip(clip["neighbours"], file["neighbours"], strict=True):
        assert one["clip_id"] == same["clip_id"]
        assert one["similarity"] == pytest.approx(same["similarity"], abs=1e-6)


def test_a_time_in_a_clip(table, capsys):
    [found] = asked(capsys, table, "002.wav", "--at", "0.5", "--per", "window", "-k", "1")
    assert found["query"] == "002.wav at 0.5 s"
    [one] = found["neighbours"]
    # windows are 0.25 s long and as far apart; the one around 0.5 s begins 0.125 s before
    assert (one["clip_id"], one["window"], one["start_s"]) == ("copy of 2.wav", 2, 0.375)
    assert one["query_start_s"] == 0.375


def test_times_and_files_are_all_asked_for(table, tmp_path, capsys):
    at = ["--at", "0.2", "--at", "0.7", "0.9"]
    assert main(["similar", "--table", str(table), "002.wav", *at, "--json"]) == 0
    times = [query["query"] for query in json.loads(capsys.readouterr().out)["queries"]]
    assert times == ["002.wav at 0.2 s", "002.wav at 0.7 s", "002.wav at 0.9 s"]
    one, other = (str(write_audio(tmp_path / name)) for name in ("one.wav", "other.wav"))
    assert main(["similar", "--table", str(table), "--file", one, "--file", other, "--json"]) == 0
    files = [query["query"] for query in json.loads(capsys.readouterr().out)["queries"]]
    assert files == [one, other]


def test_csv_has_a_line_for_each_neighbour(table, capsys):
    command = ["similar", "--table", str(table), "002.wav", "000.wav", "-k", "9", "--format", "csv"]
    assert main([*command, "--per", "window", "--by", "window"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == 18
    assert list(rows[0]) == ["query", "rank", "similarity", "clip_id", "start_s", "query_start_s"]
    assert [row["rank"] for row in rows[:9]] == [str(rank) for rank in range(1, 10)]


def test_a_name_does_not_act_on_the_terminal(table, capsys):
    assert main(["similar", "--table", str(table), "002.wav"]) == 0
    out = capsys.readouterr().out
    assert "red \\x1b[31m.wav" in out
    assert "\x1b" not in out


def test_an_index_answers_the_same(table, capsys):
    exact = asked(capsys, table, "002.wav", "003.wav")
    assert main(["index", "--table", str(table), "--recall", "1"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert ": 8 clips indexed in" in first
    assert second == "  recall@10 1.000 of 8 queries, reading 1 of 1 lists; numbers are f32"
    found = asked(capsys, table, "002.wav", "003.wav", "--index")
    for one, other in zip(found, exact):
        names = [[n["clip_id"] for n in answer["neighbours"]] for answer in (one, other)]
        assert names[0] == names[1]
    assert main(["similar", "--table", str(table), "002.wav", "--index", "--by", "window"]) == 2
    assert "run l3flow index --of windows, or leave" in capsys.readouterr().err
    assert main(["index", "--table", str(table), "--drop", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"dropped": True}
    assert main(["index", "--table", str(table), "--drop"]) == 0
    assert capsys.readouterr().out == "there is no index of clips\n"


@pytest.mark.parametrize("more", [[], ["--drop"]])
def test_an_index_that_cannot_be_written_is_one_line_before_anything_is_read(
    table, tmp_path, capsys, monkeypatch, more
):
    """Root may write to a folder that is read-only: a file is in its place."""
    place = tmp_path / "table"
    shutil.copytree(table, place)
    shutil.rmtree(place / "_l3flow/neighbours", ignore_errors=True)
    (place / "_l3flow/neighbours").write_text("")
    monkeypatch.setattr("l3core.search.building.draw_sample", None)
    assert main(["index", "--table", str(place), *more]) == 1
    told = f"l3flow: the index lies in the table, and {place} cannot be changed: Not a directory\n"
    assert capsys.readouterr().err == told


def test_an_index_says_what_memory_it_wants(table, capsys):
    assert main(["index", "--table", str(table), "--of", "windows", "--memory", "100MB"]) == 2
    error = capsys.readouterr().err
    assert "the index of windows may take 4" in error
    assert "100.0 MB are allowed: --memory, --of clips, --stored f16 or i8" in error
    assert not list(table.glob("_l3flow/neighbours/*/*"))


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        ([], "needs a CLIP of the table, or --file PATH"),
        (["002.wva"], "no clip '002.wva' in"),
        (["002.wva"], "did you mean 002.wav"),
        (["text.wav"], "clip 'text.wav' has no windows (unreadable: "),
        (["silence.wav"], "'silence.wav' has only silent windows: --silent"),
        (["002.wav", "--at", "1.5"], "--at 1.5: outside of '002.wav', which lasts 1 s"),
        (["002.wav", "--at", "-1"], "--at: needs seconds from the beginning"),
        (["002.wav", "003.wav", "--at", "1"], "--at needs one CLIP"),
        (["silence.wav", "--at", "0.5"], "'silence.wav' is silent there"),
        (["002.wav", "-k", "0"], "needs at least 1"),
        (["002.wav", "--by", "best"], "invalid choice: 'best'"),
        (["002.wav", "--spec", "s0"], "--spec s0 is none of the specs"),
        (["002.wav", "--file", "/no/such.wav"], "--file /no/such.wav: there is no such file"),
        (["002\udcff.wav"], "no clip '002\\ue0ff.wav' in"),
        (["002.wav", "--file", __file__], "unreadable: "),
        (["002.wav", "--json", "--format", "csv"], "--json is --format json"),
        (["002.wav", "--silent", "--index"], "an index has no silent windows"),
        (["002.wav", "--index"], ": run l3flow index --of clips, or leave --index out"),
    ],
)
def test_what_cannot_be_answered(table, capsys, flags, part):
    assert main(["similar", "--table", str(table), *flags]) == 2
    captured = capsys.readouterr()
    assert part in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


@pytest.mark.parametrize("command", [["similar", "a.wav"], ["index"]])
def test_no_table(tmp_path, capsys, command):
    assert main([*command, "--table", str(tmp_path / "none")]) == 2
    assert "none: nothing was ever committed there" in capsys.readouterr().err


def test_a_damaged_file_is_named(table, tmp_path, capsys):
    broken = shutil.copytree(table, tmp_path / "table")
    windows, *_ = broken.glob("windows/*/*.parquet")
    content = windows.read_bytes()
    windows.write_bytes(content[:100] + bytes(len(content) - 200) + content[-100:])
    assert main(["similar", "--table", str(broken), "002.wav"]) == 1
    assert f"{windows.name} cannot be read, see l3flow verify" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["similar", "002.wav"], ["index"], ["query", "FROM windows"]])
def test_a_missing_file_is_named(table, tmp_path, capsys, command):
    shutil.copytree(table, tmp_path / "table")
    lost = min((tmp_path / "table").glob("windows/*/*.parquet"))
    lost.unlink()
    assert main([command[0], "--table", str(tmp_path / "table"), *command[1:]]) == 1
    assert capsys.readouterr().err == f"l3flow: {lost} is missing: l3flow verify tells more\n"


def test_a_missing_copy_of_the_weights_is_told(table, tmp_path, capsys):
    broken = shutil.copytree(table, tmp_path / "table")
    [weights] = broken.glob("_l3flow/weights/*")
    flags = ["--file", str(write_audio(tmp_path / "new.wav"))]
    weights.unlink()
    assert main(["similar", "--table", str(broken), *flags]) == 2
    assert f"{weights.name} is missing: see l3flow verify" in capsys.readouterr().err
    weights.write_bytes(b"no HDF5")
    assert main(["similar", "--table", str(broken), *flags]) == 2
    assert "is no HDF5 weights file of Keras" in capsys.readouterr().err


def test_a_table_in_a_store(table, bucket, tmp_path, capsys):
    upload(table, f"{bucket}/table")
    exact = asked(capsys, table, "002.wav", "--at", "0.5")
    assert asked(capsys, f"{bucket}/table", "002.wav", "--at", "0.5") == exact
    upload(write_audio(tmp_path / "new/new.wav", seed=3).parent, f"{bucket}/new")
    [found] = asked(capsys, f"{bucket}/table", "--file", f"{bucket}/new/new.wav")
    assert found["neighbours"][0]["clip_id"] == "003.wav"
    assert main(["index", "--table", f"{bucket}/table", "--quiet"]) == 0
    [found] = asked(capsys, f"{bucket}/table", "002.wav", "--index")
    assert found["neighbours"][0]["clip_id"] == "copy of 2.wav"
    assert main(["index", "--table", f"{bucket}/table", "--drop", "--quiet"]) == 0
    assert main(["similar", "--table", f"{bucket}/table", "002.wav", "--index"]) == 2


def test_neither_tensorflow_nor_beam_is_loaded(table):
    """Only `--file` needs the network."""
    code = (
        "import sys; from tests import fake_model; fake_model.register(); from launch.main import main; "
        "code = main(sys.argv[1:]); print(*sys.modules, file=sys.stderr); sys.exit(code)"
    )
    for command in (["similar", "002.wav"], ["index", "--drop"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *command, "--table", str(table)],
            env=os.environ | {"PYTHONPATH": str(REPO)},
            capture_output=True,
            text=True,
            check=True,
        )
        loaded = {name.partition(".")[0] for name in done.stderr.split()}
        assert {"l3core", "pyarrow"} <= loaded
        assert loaded & {"tensorflow", "keras", "apache_beam", "duckdb", "faiss"} == set()
