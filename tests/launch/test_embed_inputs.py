"""`l3flow embed`: which files it takes, what they are called, and how it ends."""

import json
import os
import shutil

import pytest

from launch.main import main
from tests.corpus import FLAGS, expected_rows, ledger, snapshot, table_rows, write_audio, write_files

NAMES = [
    "with space.wav",
    'it\'s "quoted".wav',
    "number #1.wav",
    "100%.wav",
    "50%25 off.wav",
    "a=b&c=d.wav",
    "Grüße aus Köln.wav",
    "日本語.wav",
    "two\nlines.wav",
    "brackets [1].wav",
    "star*?.wav",
    "back\\slash.wav",
    "a::b.wav",
    "UPPER.WAV",
    "folder.wav/inside.wav",
    "spec=x/clip.wav",
    "~tilde.wav",
]


def embed(*inputs, output, more=()):
    return main(["embed", "--input", *map(str, inputs), "--output", str(output), *FLAGS, *more])


def test_inputs_are_all_taken_however_they_are_told(tmp_path):
    """A flag that is given again adds to what it was given before."""
    for folder in ("a", "b", "c"):
        write_audio(tmp_path / "in" / folder / f"{folder}.wav")
    a, b, c = (str(tmp_path / "in" / folder) for folder in ("a", "b", "c"))
    assert embed(a, output=tmp_path / "table", more=["--input", b, c, "--quiet"]) == 0
    assert sorted(ledger(tmp_path / "table")) == ["a/a.wav", "b/b.wav", "c/c.wav"]


def one_line(capsys):
    """The one line of stderr; nothing may be on stdout."""
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("\n")
    assert err.count("\n") == 1, err
    return err


def test_names_of_all_kinds(tmp_path):
    corpus, table = tmp_path / "corpus", tmp_path / "table"
    for seed, name in enumerate(NAMES):
        write_audio(corpus / name, 0.3, seed=seed)
    assert embed(corpus, output=table, more=["--quiet"]) == 0
    assert {clip_id: row["status"] for clip_id, row in ledger(table).items()} == dict.fromkeys(
        NAMES, "ok"
    )
    assert table_rows(table) == expected_rows(corpus)


def test_a_name_that_is_no_utf8_stops_nobody(tmp_path):
    corpus, table = write_files(tmp_path / "corpus", 2), tmp_path / "table"
    os.rename(write_audio(tmp_path / "x.wav"), os.fsencode(corpus) + b"/caf\xe9.wav")
    assert embed(corpus, output=table, more=["--quiet"]) == 0
    rows = ledger(table)
    assert len(rows) == 3  # under whatever name
    assert rows["000.wav"]["status"] == rows["001.wav"]["status"] == "ok"


def test_a_link_to_nowhere_stops_nobody(tmp_path):
    corpus, table = write_files(tmp_path / "corpus", 2), tmp_path / "table"
    (corpus / "dangling.wav").symlink_to(tmp_path / "nothing.wav")
    assert embed(corpus, output=table, more=["--quiet"]) == 0
    assert {"000.wav", "001.wav"} <= set(ledger(table))


def test_a_link_to_a_file_is_a_file(tmp_path):
    corpus, table = write_files(tmp_path / "corpus", 1), tmp_path / "table"
    (corpus / "link.wav").symlink_to(write_audio(tmp_path / "elsewhere.wav", seed=9))
    assert embed(corpus, output=table, more=["--quiet"]) == 0
    assert table_rows(table) == expected_rows(corpus)
    assert len(ledger(table)) == 2


def test_hidden_files_and_other_files_are_left_out_of_a_folder(tmp_path):
    corpus, table = write_files(tmp_path / "corpus", 1), tmp_path / "table"
    for name in ("._000.wav", ".hidden.wav", ".git/x.wav"):
        write_audio(corpus / name)
    (corpus / "notes.txt").write_text("not audio")
    assert embed(corpus, output=table, more=["--quiet"]) == 0
    assert list(ledger(table)) == ["000.wav"]


def test_a_file_that_several_patterns_name_counts_once(tmp_path):
    corpus, table = write_files(tmp_path / "corpus", 3), tmp_path / "table"
    patterns = [corpus, f"{corpus}/*.wav", corpus / "001.wav", f"{corpus}/../corpus/00[01].wav"]
    assert embed(*patterns, output=table, more=["--quiet"]) == 0
    assert table_rows(table) == expected_rows(corpus)
    assert len(ledger(table)) == 3


def test_relative_paths(tmp_path, monkeypatch):
    write_files(tmp_path / "corpus", 2)
    monkeypatch.chdir(tmp_path)
    assert embed("corpus/*.wav", output="table", more=["--quiet"]) == 0
    monkeypatch.chdir("/")
    assert embed(tmp_path / "corpus", output=tmp_path / "table", more=["--quiet"]) == 0
    rows = ledger(tmp_path / "table")
    assert [(row["clip_id"], row["uri"]) for row in rows.values()] == [
        (name, str(tmp_path / "corpus" / name)) for name in ("000.wav", "001.wav")
    ]
    assert len({row["run_id"] for row in rows.values()}) == 1


def test_the_root_is_what_the_first_patterns_share_and_stays(tmp_path, capsys):
    corpus, table = tmp_path / "corpus", tmp_path / "table"
    write_files(corpus / "day1", 2)
    write_files(corpus / "day2", 2)
    assert embed(corpus / "day1", corpus / "day2", output=table) == 0
    assert f"clip ids are paths below {corpus}\n" in capsys.readouterr().out
    write_audio(corpus / "day2/002.wav", seed=5)
    assert embed(corpus / "day2", output=table, more=["--quiet"]) == 0  # a part: the same ids
    assert table_rows(table) == expected_rows(corpus)
    assert len(ledger(table)) == 5


def test_root_says_what_clip_ids_are(tmp_path, capsys):
    corpus, table = write_files(tmp_path / "all/corpus", 2), tmp_path / "table"
    root = ["--root", f"{tmp_path}/all/"]
    assert embed(corpus, output=table, more=["--quiet", *root]) == 0
    assert sorted(ledger(table)) == ["corpus/000.wav", "corpus/001.wav"]
    assert embed(corpus, output=table, more=["--quiet", *root]) == 0  # the same again is fine
    capsys.readouterr()
    before = snapshot(table)
    assert embed(corpus, output=table, more=["--root", str(corpus)]) == 2
    line = one_line(capsys)
    assert "--root" in line
    assert str(corpus) in line
    assert f"{tmp_path}/all" in line
    assert snapshot(table) == before


def test_files_outside_the_root_are_refused(tmp_path, capsys):
    corpus, table = write_files(tmp_path / "corpus", 1), tmp_path / "table"
    assert embed(corpus, output=table, more=["--quiet"]) == 0
    before = snapshot(table)
    other = write_audio(tmp_path / "corpus2/x.wav")  # "corpus" is the beginning of its path
    assert embed(corpus, other, output=table) == 2
    assert f"{other} is not below the root {corpus}" in one_line(capsys)
    assert snapshot(table) == before
    assert embed(corpus, output=table, more=["--quiet"]) == 0  # and the lock is free


def test_no_matching_file(tmp_path, capsys):
    table = tmp_path / "table"
    assert embed(tmp_path / "*.wav", output=table) == 2
    line = one_line(capsys)
    assert f"--input {tmp_path}/*.wav matches no file" in line
    assert "--allow-empty" in line
    assert snapshot_files(table) == []
    assert embed(tmp_path / "*.wav", output=table, more=["--allow-empty", "--quiet"]) == 0
    assert len(list((table / "runs").iterdir())) == 1
    write_files(tmp_path, 1)
    assert embed(tmp_path / "*.wav", output=table, more=["--quiet"]) == 0
    assert len(ledger(table)) == 1


def snapshot_files(table):
    return [
        path for name in ("windows", "clips", "runs", "specs") for path in table.glob(f"{name}/**/*")
    ]


def test_strict_commits_all_the_same(tmp_path):
    corpus, table = write_files(tmp_path / "corpus", 1), tmp_path / "table"
    assert embed(corpus, output=table, more=["--quiet", "--strict"]) == 0
    (corpus / "bad.wav").write_text("no audio")
    assert embed(corpus, output=table, more=["--quiet", "--strict"]) == 3
    assert {clip_id: row["status"] for clip_id, row in ledger(table).items()} == {
        "000.wav": "ok",
        "bad.wav": "unreadable",
    }


@pytest.mark.parametrize("bad", [True, False])
def test_json_is_the_run_record(tmp_path, capsys, bad):
    corpus, table = write_files(tmp_path / "corpus", 2), tmp_path / "table"
    if bad:
        (corpus / "bad.wav").touch()
    assert embed(corpus, output=table, more=["--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    (record,) = (table / "runs").iterdir()
    said = json.loads(out)
    assert said.pop("table") == str(table)
    assert said.pop("peak_rss_bytes") > 10_000_000
    assert (said.pop("status"), said.pop("exit_code"), said.pop("message")) == ("ok", 0, "")
    assert said == json.loads(record.read_text())
    assert said["clips"] == {"ok": 2} | ({"empty": 1} if bad else {})


def test_strict_also_counts_what_could_not_be_read_before(tmp_path, capsys):
    corpus, table = write_files(tmp_path / "corpus", 2), tmp_path / "table"
    assert embed(corpus, output=table, more=["--strict"]) == 0
    (corpus / "bad.wav").touch()
    assert embed(corpus, output=table, more=["--strict"]) == 3
    assert embed(corpus, output=table, more=["--strict"]) == 3
    assert "(2 unchanged, 1 failed before)" in capsys.readouterr().out


def test_a_table_among_its_input_is_not_its_input(tmp_path):
    corpus = write_files(tmp_path / "corpus", 2)
    table = corpus / "table"
    for _ in range(2):
        assert embed(corpus / "**", output=table, more=["--quiet", "--strict"]) == 0
    assert sorted(ledger(table)) == ["000.wav", "001.wav"]


def test_quiet_says_nothing(tmp_path, capfd):
    corpus, table = write_files(tmp_path / "corpus", 2), tmp_path / "table"
    (corpus / "bad.wav").touch()
    assert embed(corpus, output=table, more=["--quiet"]) == 0
    assert embed(corpus, output=table, more=["--quiet"]) == 0
    assert capfd.readouterr() == ("", "")


def test_trouble_is_shown(tmp_path, capsys):
    corpus, table = write_files(tmp_path / "corpus", 1), tmp_path / "table"
    for number in range(7):
        (corpus / f"bad\x1b{number}.wav").touch()
    assert embed(corpus, output=table) == 0
    out, _ = capsys.readouterr()
    assert "1 ok, 7 empty" in out
    assert "  empty: bad\\x1b0.wav: the file has no bytes\n" in out  # nothing a terminal acts on
    assert "... and 2 more" in out  # five are shown
    assert "\x1b" not in out


def test_a_table_that_was_copied_without_its_journal_is_not_begun_anew(tmp_path, capsys):
    """Its old files would stay beside the new ones, and every engine would read both."""
    corpus, table = write_files(tmp_path / "corpus", 2), tmp_path / "table"
    command = ["embed", "--input", str(corpus), "--output", str(table), *FLAGS]
    assert main(command) == 0
    shutil.rmtree(table / "_l3flow")
    before = snapshot(table)
    capsys.readouterr()
    assert main(command) == 2
    assert "has a table.json and no journal" in capsys.readouterr().err
    assert snapshot(table) == before


@pytest.mark.parametrize("pattern", ["corpsu", "corpus/x.wav", "unmounted/*.wav"])
def test_an_input_that_is_not_there_is_no_empty_listing(tmp_path, capsys, pattern):
    """A misspelt folder, or one that is not mounted tonight: nothing is gone because of it."""
    corpus, table = write_files(tmp_path / "corpus", 2), tmp_path / "table"
    command = ["embed", "--output", str(table), *FLAGS, "--input", str(corpus)]
    assert main(command) == 0
    capsys.readouterr()
    assert main([*command, str(tmp_path / pattern)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"--input {tmp_path / pattern}: there is no {tmp_path}" in said
    assert main([*command, str(tmp_path / pattern), "--allow-empty"]) == 0


def test_a_folder_that_was_removed_is_gone(tmp_path):
    """It was embedded before, so it is not misspelt."""
    corpus, table = write_files(tmp_path / "corpus/a", 2).parent, tmp_path / "table"
    write_files(corpus / "b", 2)
    command = ["embed", "--output", str(table), *FLAGS, "--root", str(corpus)]
    folders = [str(corpus / "a"), str(corpus / "b")]
    assert main([*command, "--input", *folders]) == 0
    shutil.rmtree(corpus / "b")
    assert main([*command, "--input", *folders]) == 0
    statuses = {clip_id: row["status"] for clip_id, row in ledger(table).items()}
    assert statuses == {"a/000.wav": "ok", "a/001.wav": "ok", "b/000.wav": "gone", "b/001.wav": "gone"}
    (corpus / "a/000.wav").unlink()
    assert main([*command, "--input", f"{corpus}/a/000.wav", f"{corpus}/a/001.wav"]) == 0
    assert ledger(table)["a/000.wav"]["status"] == "gone"


def test_a_table_among_the_input_is_none_of_it_under_any_name(tmp_path):
    corpus = write_files(tmp_path / "corpus", 2)
    (tmp_path / "link").symlink_to(corpus)
    for _ in range(2):
        assert main(["embed", "--input", f"{tmp_path}/link/**", "--output", f"{corpus}/t", *FLAGS]) == 0
    assert sorted(ledger(corpus / "t")) == ["000.wav", "001.wav"]
