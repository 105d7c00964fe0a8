"""A file that crashes its decoder costs its own row, and one that is too long is not read."""

import gc
import os
from pathlib import Path

import pytest
import soundfile

from l3core import read_windows
from l3core.decoder import decoders
from l3core.durations import LIMIT
from l3core.table import shard
from launch.main import main
from tests import bad_corpus
from tests.corpus import ledger
from tests.vorbis_bomb import bomb

SPEC = ["--model", "fake", "--engine", "fake", "--weights", "random:0"]
BOMB = "05 bomb.ogg"


def embed(corpus, table, *flags):
    command = ["embed", "--input", str(corpus), "--output", str(table), "--root", str(corpus)]
    return main([*command, *SPEC, "--quiet", *flags])


@pytest.fixture(autouse=True)
def no_limit_left(monkeypatch):
    monkeypatch.delenv(LIMIT, raising=False)


@pytest.fixture
def corpus(tmp_path):
    """Eleven good files of several kinds, of which two are long enough for several segments."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    kinds = [("wav", "WAV", "PCM_16"), ("flac", "FLAC", "PCM_16"), ("ogg", "OGG", "VORBIS")]
    for number in range(11):
        extension, format_, subtype = kinds[number % 3]
        samples = bad_corpus.sound(40 if number in (3, 7) else 2, 8_000) * (number + 1) / 11
        place = folder / f"{number:02} good.{extension}"
        soundfile.write(place, samples, 8_000, format=format_, subtype=subtype)
    return folder


def rows_of(table):
    metadata, vectors = read_windows(str(table))
    return metadata.to_pylist(), vectors.tobytes()


def test_a_file_that_crashes_its_decoder_costs_its_row(corpus, tmp_path):
    assert embed(corpus, tmp_path / "without") == 0
    (corpus / BOMB).write_bytes(bomb(125))  # among the others
    assert embed(corpus, tmp_path / "with") == 0
    assert rows_of(tmp_path / "with") == rows_of(tmp_path / "without")
    rows = ledger(tmp_path / "with")
    assert len(rows) == 12
    row = rows.pop(BOMB)
    assert (row["status"], row["error"]) == ("unreadable", "the decoder crashed (SIGSEGV)")
    assert row["windows_written"] == 0
    ours = ("clip_id", "status", "error", "frames", "codec", "windows_written", "windows_expected")
    for name, other in ledger(tmp_path / "without").items():
        assert [rows[name][key] for key in ours] == [other[key] for key in ours]
        assert other["status"] == "ok"
    assert main(["verify", "--table", str(tmp_path / "with"), "--quiet"]) == 0
    assert embed(corpus, tmp_path / "with", "--strict") == 3  # known by now, and not decoded again


def test_decoders_that_crashed_leave_no_memory_while_their_shard_goes_on(corpus, tmp_path, monkeypatch):
    def memories():
        names = [os.path.realpath(each) for each in Path("/proc/self/fd").iterdir()]
        return sum("memfd:l3flow" in name for name in names)

    decoders.close()
    gc.collect()
    seen, real, others = [], shard._without_failed, memories()  # of recordings that other tests keep

    def looking(file, written, outcomes):
        if any(outcome.error for outcome in outcomes):
            seen.append((memories() - others, len(decoders.idle)))
        return real(file, written, outcomes)

    monkeypatch.setattr(shard, "_without_failed", looking)
    for number in range(2):
        (corpus / f"{number} {BOMB}").write_bytes(bomb(125))
    assert embed(corpus, tmp_path / "table") == 0
    assert seen
    assert all(held <= idle for held, idle in seen), seen


def test_a_recording_that_is_too_long_has_its_row(corpus, tmp_path):
    def run(*flags):
        assert embed(corpus, tmp_path / "table", *flags) == 0
        return {name[:2]: row for name, row in ledger(tmp_path / "table").items()}

    rows = run("--max-duration", "0.01")  # 36 s
    assert [name for name, row in rows.items() if row["status"] == "too-large"] == ["03", "07"]
    assert rows["03"]["error"] == "longer than 0.01 hours: --max-duration allows more"
    embedded = {name: row["embedded_at"] for name, row in rows.items()}
    rows = run("--max-duration", "0.01")
    assert {name: row["embedded_at"] for name, row in rows.items()} == embedded  # nothing was tried
    rows = run()
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert [name for name, row in rows.items() if row["embedded_at"] != embedded[name]] == ["03", "07"]


def test_workers_know_how_long_a_recording_may_be(corpus, tmp_path):
    from pipelines.job import EmbedJob
    from pipelines.workers import table_of

    assert embed(corpus, tmp_path / "table", "--max-duration", "0.01") == 0
    job = EmbedJob(table="t", run_id="r", fingerprint="f", spec={}, weights="w")
    assert job.max_duration == 0.01
    embed(corpus, tmp_path / "table", "--dry-run")
    assert EmbedJob(table="t", run_id="r", fingerprint="f", spec={}, weights="w").max_duration == 336
    table_of(job)
    assert EmbedJob(table="t", run_id="r", fingerprint="f", spec={}, weights="w").max_duration == 0.01
