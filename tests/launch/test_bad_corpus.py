"""Every file of the bad corpus has its row, and none of them touches its neighbours."""

import io

import pyarrow.parquet as pq
import pytest
import soundfile

from l3core import read_windows
from l3core.embedding import Embedder
from l3core.spec import EmbeddingSpec
from launch.main import main
from tests import bad_corpus

SPEC = ["--model", "fake", "--engine", "fake", "--weights", "random:0"]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    corpus = bad_corpus.build(folder / "corpus")
    command = ["embed", "--input", f"{corpus}/**", "--output", str(folder / "table"), *SPEC]
    assert main([*command, "--quiet"]) == 0
    assert main([*command, "--quiet", "--strict"]) == 3
    return folder / "table"


@pytest.fixture(scope="module")
def ledger(table):
    return {row["clip_id"]: row for row in pq.read_table(table / "clips").to_pylist()}


def test_there_is_one_row_for_every_file(table, ledger):
    assert set(ledger) == {*bad_corpus.KINDS, bad_corpus.GONE_LINK}
    assert pq.read_table(table / "clips").num_rows == len(ledger)
    assert len(ledger) > 50


@pytest.mark.parametrize("name", bad_corpus.KINDS, ids=lambda name: name[:30])
def test_a_row_says_what_became_of_the_file(ledger, name):
    row, kind = ledger[name], bad_corpus.KINDS[name]
    assert row["status"] == kind.status, row["error"]
    if kind.status == "ok":
        assert row["error"] is None
        assert row["windows_written"] == row["windows_expected"] > 0
        assert len(row["files"]) == 1
    else:
        assert kind.message in row["error"]
        assert row["windows_written"] < max(1, row["windows_expected"])
    assert "Error(" not in (row["error"] or "")  # for people, not a traceback


def test_a_link_to_nowhere_is_accounted_for(ledger):
    assert ledger[bad_corpus.GONE_LINK]["status"] == "vanished"


def test_windows_before_a_cut_are_kept(ledger):
    # half of 2 s at 4 kHz is 3989 frames behind the header; centred windows of 1000 begin at -500 and
    # every 1000: those that end at 500, 1500, 2500 and 3500 are whole, of 9 for 8000 frames
    assert ledger["cut.wav"]["windows_written"] == 4
    assert ledger["cut.wav"]["windows_expected"] == 9
    for name in ("cut.flac", "cut.ogg", "cut.mp3"):
        assert ledger[name]["windows_written"] > 5
    assert ledger["claims 10 hours.wav"]["windows_written"] == 8  # ending at 500 ... 7500
    assert ledger["claims 10 hours.wav"]["duration_s"] == 36_000


def test_the_neighbours_are_what_they_are_alone(table, ledger):
    metadata, vectors = read_windows(str(table))
    ids = metadata["clip_id"].to_pylist()
    assert len(ids) == sum(row["windows_written"] for row in ledger.values())
    assert set(ids) == {name for name, row in ledger.items() if row["windows_written"]}
    embedder = Embedder(EmbeddingSpec(model="fake", engine="fake", weights="random:0"))
    samples, rate = soundfile.read(io.BytesIO(bad_corpus.WAV), dtype="float32")
    alone = embedder.embed(samples, rate)
    for name in ("good.wav", "🎺.wav", "new\nline.wav"):
        rows = [number for number, clip in enumerate(ids) if clip == name]
        assert (vectors[rows] == alone.vectors).all()
    silent = metadata.filter([clip == "silence.wav" for clip in ids])["silent"].to_pylist()
    assert silent == [True] * 9
