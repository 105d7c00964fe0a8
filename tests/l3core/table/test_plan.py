"""Plans: what has to be embedded, and how it is cut into shards."""

import json
import os

import pytest

from l3core import storage
from l3core.errors import UsageError
from l3core.table import pieces as cutting
from l3core.table import plan as planning
from l3core.table import rewrite as rewriting
from l3core.table.layout import TablePaths
from l3core.table.pieces import Piece, shard_windows
from l3core.table.planned import Plan, load_pieces, load_plan
from l3core.table.verify import verify_table
from l3core.weights import to_h5
from tests.corpus import (
    SPEC,
    PlainRun,
    expected_rows,
    ledger,
    replace_file,
    table_rows,
    write_audio,
    write_files,
)


@pytest.fixture
def table(tmp_path):
    return tmp_path / "table"


def pieces_of(run):
    """Pieces of all shards, in the order of the shards."""
    return [
        piece for shard in run.plan.shards for piece in load_pieces(run.paths, run.run_id, shard.name)
    ]


def test_everything_is_new_at_first(tmp_path, table):
    corpus = write_files(tmp_path / "corpus", 3)
    run = PlainRun(corpus, table, "run-1").make_plan()
    assert run.plan.counts == {"new": 3}
    assert run.plan.matched == 3
    assert run.plan.base == 0
    assert run.plan.root == str(corpus)
    for piece, name in zip(pieces_of(run), ("000.wav", "001.wav", "002.wav")):
        info = (corpus / name).stat()
        # 16044 bytes at 120,000 a second are 0.13 s, less than one hop of 0.25 s: one window at least
        version = str(info.st_mtime_ns)
        expected = Piece(name, f"{corpus}/{name}", info.st_size, version, None, 0, None, 1)
        assert piece == expected


def test_what_is_known_is_told_apart(tmp_path, table, monkeypatch):
    corpus = write_files(tmp_path / "corpus", 5)
    first = PlainRun(corpus, table, "run-1").make_plan()
    away = (corpus / "003.wav").rename(tmp_path / "away.wav")
    first.embed().commit()  # 003.wav vanished
    away.rename(corpus / "003.wav")
    replace_file(corpus / "001.wav", 2.0, seed=50)
    info = (corpus / "002.wav").stat()
    os.utime(corpus / "002.wav", ns=(0, info.st_mtime_ns + 1))  # the same size, a nanosecond later
    write_audio(corpus / "0.wav")
    (corpus / "004.wav").unlink()
    run = PlainRun(corpus, table, "run-2").make_plan()
    assert run.plan.counts == {"new": 1, "unchanged": 1, "changed": 2, "retried": 1}
    assert (run.plan.gone, run.plan.pruned) == (1, 0)
    assert run.plan.base == 1
    assert [piece.clip_id for piece in pieces_of(run)] == ["0.wav", "001.wav", "002.wav", "003.wav"]
    again = PlainRun(corpus, table, "run-3", full=True).make_plan().plan
    assert again.counts == run.plan.counts
    assert again.base == 2  # what run-2 left is taken over: it cannot commit any more


def test_full_takes_unchanged_objects_too(tmp_path, table):
    corpus = write_files(tmp_path / "corpus", 3)
    PlainRun(corpus, table, "run-1").all()
    assert PlainRun(corpus, table, "run-2").make_plan().plan.shards == ()
    run = PlainRun(corpus, table, "run-3", full=True).make_plan()
    assert run.plan.counts == {"unchanged": 3}
    assert len(pieces_of(run)) == 3


def test_a_plan_is_read_back(tmp_path, table):
    run = PlainRun(write_files(tmp_path / "corpus", 3), table, "run-1").make_plan()
    assert load_plan(run.paths, "run-1") == run.plan
    assert Plan.from_json(json.loads(json.dumps(run.plan.to_json()))) == run.plan


def test_an_object_outside_the_root_is_refused(tmp_path, table):
    corpus = write_files(tmp_path / "corpus", 1)
    PlainRun(corpus, table, "run-1").all()
    elsewhere = write_audio(tmp_path / "elsewhere/x.wav")
    with pytest.raises(UsageError, match=r"elsewhere/x\.wav is not below the root"):
        PlainRun(elsewhere, table, "run-2").make_plan()


def test_shard_windows(monkeypatch):
    # 256 MiB of vectors of 32 bytes are 8,388,608; ten minutes at 5000 windows/s 3,000,000
    assert shard_windows(SPEC) == 3_000_000
    monkeypatch.setattr(cutting, "SHARD_BYTES", 32 * 100 + 31)
    assert shard_windows(SPEC) == 100
    monkeypatch.setattr(cutting, "SHARD_BYTES", 1)
    assert shard_windows(SPEC) == 1


def test_a_small_run_is_about_sixteen_shards(tmp_path, table):
    corpus = write_files(tmp_path / "corpus", 64, 0.01)
    plan = PlainRun(corpus, table, "run-1").make_plan().plan
    assert [shard.pieces for shard in plan.shards] == [4] * 16
    assert [shard.first_clip for shard in plan.shards] == [f"{n:03d}.wav" for n in range(0, 64, 4)]


def test_each_worker_adds_sixteen_shards(tmp_path, table):
    """A killed run loses what each had in its hands: at 90 % that must be a small part."""
    corpus = write_files(tmp_path / "corpus", 64, 0.01)
    plan = PlainRun(corpus, table, "run-1").make_plan(workers=2).plan
    assert [shard.pieces for shard in plan.shards] == [2] * 32


def test_a_shard_has_not_too_many_clips(tmp_path, table, monkeypatch):
    monkeypatch.setattr(planning, "SHARD_CLIPS", 3)
    monkeypatch.setattr(planning, "SHARDS_WANTED", 1)
    plan = PlainRun(write_files(tmp_path / "corpus", 7, 0.01), table, "run-1").make_plan().plan
    assert [shard.pieces for shard in plan.shards] == [3, 3, 1]


def test_the_longest_shards_come_first(tmp_path, table):
    # 120,000 bytes are about a second, four windows: 16 bits at 8 kHz give 0.53, 1.07 and 2.67 s
    corpus = tmp_path / "corpus"
    for seconds in (4, 20, 8):
        write_audio(corpus / f"{seconds:02d}.wav", seconds)
    plan = PlainRun(corpus, table, "run-1").make_plan().plan
    assert [shard.first_clip for shard in plan.shards] == ["04.wav", "08.wav", "20.wav"]
    assert [(shard.first_clip, shard.estimate) for shard in plan.to_embed] == [
        ("20.wav", 11),
        ("08.wav", 4),
        ("04.wav", 2),
    ]


def test_a_long_recording_is_cut(tmp_path, table, monkeypatch):
    corpus = tmp_path / "corpus"
    write_audio(corpus / "long.wav", 10.0)  # 40,000 samples at 4 kHz: 1 + ceil(39,500 / 1000) = 41
    monkeypatch.setattr(cutting, "PROBE_BYTES", 100_000)
    monkeypatch.setattr(cutting, "SHARD_BYTES", 32 * 10)
    write_audio(corpus / "short.wav", 1.0)
    run = PlainRun(corpus, table, "run-1").make_plan()
    cuts = [(p.clip_id, p.first_window, p.last_window, p.estimate) for p in pieces_of(run)]
    assert cuts == [
        ("long.wav", 0, 10, 10),
        ("long.wav", 10, 20, 10),
        ("long.wav", 20, 30, 10),
        ("long.wav", 30, 40, 10),
        ("long.wav", 40, None, 1),
        ("short.wav", 0, None, 1),
    ]
    assert [shard.pieces for shard in run.plan.shards] == [1, 1, 1, 1, 2]


@pytest.mark.parametrize(
    ("name", "rate", "channels"),
    [("x.wav", 8_000, 1), ("x.wav", 11_024, 1), ("x.flac", 44_100, 2), ("x.ogg", 11_024, 1)],
)
@pytest.mark.parametrize("windows", [1, 7])
def test_cut_recordings_give_the_same_rows(tmp_path, table, monkeypatch, name, rate, channels, windows):
    corpus = tmp_path / "corpus"
    write_audio(corpus / name, 5.0, rate=rate, channels=channels)
    write_audio(corpus / "a.wav", 0.5, seed=1)
    write_audio(corpus / "z.wav", 0.5, seed=2)
    monkeypatch.setattr(cutting, "PROBE_BYTES", 0)
    monkeypatch.setattr(cutting, "SHARD_BYTES", 32 * windows)
    monkeypatch.setattr(rewriting, "MOST_SMALL", 100)
    run = PlainRun(corpus, table, "run-1").all()
    # 5 s are 20,000 samples at 4 kHz: 1 + ceil(19,500 / 1000) = 21 windows
    # Vorbis does not seek exactly, so it is one piece
    cuts = 1 if name == "x.ogg" else 21 // windows
    assert sum(shard.pieces for shard in run.plan.shards) >= cuts + 2
    assert table_rows(table) == expected_rows(corpus)
    row = ledger(table)[name]
    assert (row["status"], row["windows_expected"], row["windows_written"]) == ("ok", 21, 21)
    # every piece is a file of its own here
    assert len(row["files"]) == cuts


def test_a_long_recording_is_replaced_as_a_whole(tmp_path, table, monkeypatch):
    corpus = tmp_path / "corpus"
    write_audio(corpus / "a.wav", 1.0)
    write_audio(corpus / "x.wav", 5.0)
    monkeypatch.setattr(cutting, "PROBE_BYTES", 0)
    monkeypatch.setattr(cutting, "SHARD_BYTES", 32 * 6)
    PlainRun(corpus, table, "run-1").all()
    replace_file(corpus / "x.wav", 4.0, seed=9)
    PlainRun(corpus, table, "run-2").all()
    assert table_rows(table) == expected_rows(corpus)


def test_what_cannot_be_probed_is_left_to_the_worker(tmp_path, table, monkeypatch):
    corpus = tmp_path / "corpus"
    write_audio(corpus / "a.mp3", 5.0)  # a seek in an MP3 reads nearly all of it: never cut
    (corpus / "text.wav").write_text("no audio")
    (corpus / "empty.wav").touch()
    monkeypatch.setattr(cutting, "PROBE_BYTES", -1)
    monkeypatch.setattr(cutting, "SHARD_BYTES", 32 * 5)
    run = PlainRun(corpus, table, "run-1").make_plan()
    assert [(p.clip_id, p.first_window, p.last_window) for p in pieces_of(run)] == [
        ("a.mp3", 0, None),
        ("empty.wav", 0, None),
        ("text.wav", 0, None),
    ]
    run.embed().commit()
    assert [row["status"] for row in ledger(table).values()] == ["ok", "empty", "unreadable"]
    assert table_rows(table) == expected_rows(corpus)


def test_the_ledger_is_in_the_order_of_the_listing(tmp_path, table):
    """`-` and `.` come before `/`: merging two orders would make known files new."""
    corpus = tmp_path / "corpus"
    for name in ("a/b.wav", "a.wav", "a-b.wav", "a0.wav", "ä.wav", "Z.wav"):
        write_audio(corpus / name, 0.1)
    PlainRun(corpus, table, "run-1").all()
    run = PlainRun(corpus, table, "run-2").make_plan()
    assert run.plan.counts == {"unchanged": 6}
    assert TablePaths(str(table)).staging("run-2") == f"{table}/_l3flow/staging/run-2"


@pytest.mark.parametrize("windows", [9, 12, 50])
def test_a_cut_recording_that_breaks_off_is_as_if_it_were_not_cut(tmp_path, table, monkeypatch, windows):
    """Pieces behind the place could be decoded, from who knows where: their windows do not count."""
    corpus = tmp_path / "corpus"
    path = write_audio(corpus / "x.flac", 12.0)  # 49 windows
    content = bytearray(path.read_bytes())
    content[len(content) // 3 : len(content) // 3 + 50] = bytes(50)
    path.write_bytes(content)
    write_audio(corpus / "z.wav", 1.0)
    whole = PlainRun(corpus, tmp_path / "whole", "run-1").all()
    monkeypatch.setattr(cutting, "PROBE_BYTES", 1_000)
    monkeypatch.setattr(cutting, "SHARD_BYTES", 32 * windows)
    run = PlainRun(corpus, table, "run-1").all()
    assert table_rows(table) == table_rows(whole.paths.root)
    names = ("status", "windows_expected", "windows_written")
    ours, other = ledger(table)["x.flac"], ledger(whole.paths.root)["x.flac"]
    assert [ours[name] for name in names] == [other[name] for name in names]
    assert ours["status"] == "truncated"
    weights, layers = run.embedder.weights, run.spec.network.layer_shapes(run.spec)
    storage.write_bytes(run.paths.weights(weights.digest), to_h5(weights, layers))
    assert list(verify_table(run.paths)) == []


def test_a_cut_recording_whose_header_lies_has_all_windows_before_its_end(tmp_path, table, monkeypatch):
    corpus = tmp_path / "corpus"
    path = write_audio(corpus / "x.wav", 9.0)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    whole = PlainRun(corpus, tmp_path / "whole", "run-1").all()
    monkeypatch.setattr(cutting, "PROBE_BYTES", 1_000)
    monkeypatch.setattr(cutting, "SHARD_BYTES", 32 * 5)
    PlainRun(corpus, table, "run-1").all()
    assert table_rows(table) == table_rows(whole.paths.root)
    assert len(table_rows(table)) == ledger(table)["x.wav"]["windows_written"] > 5
