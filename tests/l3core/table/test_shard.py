"""`embed_shard`: one file and one manifest, whatever happens to the objects meanwhile."""

import json
import os
import uuid
from pathlib import Path

import google_crc32c
import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from l3core import storage
from l3core.audio import Recording
from l3core.errors import RunError
from l3core.table import plan as planning
from l3core.table.shard import embed_shard
from l3core.table.stopwatch import KINDS
from l3core.table.windows_file import WindowsWriter
from tests.corpus import (
    SPEC,
    Guarded,
    PlainRun,
    expected_rows,
    ledger,
    noise,
    replace_file,
    table_rows,
    write_audio,
    write_files,
)


@pytest.fixture
def one_shard(monkeypatch):
    monkeypatch.setattr(planning, "SHARDS_WANTED", 1)


@pytest.fixture
def table(tmp_path):
    return tmp_path / "table"


def done(run):
    return run.paths.at(f"_l3flow/staging/{run.run_id}/done")


def test_the_manifest(tmp_path, table, one_shard):
    corpus = write_files(tmp_path / "corpus", 2)
    (corpus / "bad.wav").write_text("no audio")
    run = PlainRun(corpus, table, "run-1").make_plan()
    manifest = embed_shard(run.paths, "run-1", "000000", run.embedder)
    assert json.loads(storage.read_bytes(f"{done(run)}/000000.json")) == json.loads(json.dumps(manifest))
    assert [(c["clip_id"], c["status"], c["windows_written"]) for c in manifest["clips"]] == [
        ("000.wav", "ok", 5),
        ("001.wav", "ok", 5),
        ("bad.wav", "unreadable", 0),
    ]
    assert len(manifest["pieces"]) == 3
    file = manifest["file"]
    assert file["path"] == f"windows/spec={run.plan.fingerprint}/run-1-000000.parquet"
    assert file["rows"] == 10
    assert manifest["staged"].startswith("run-1-000000-")
    assert file["sha256"] == storage.sha256_of(f"{done(run)}/{manifest['staged']}")
    assert file["bytes"] == os.path.getsize(f"{done(run)}/{manifest['staged']}")
    assert (file["clips"], file["first_clip"], file["last_clip"]) == (2, "000.wav", "001.wav")
    checksums = [clip["checksum"] for clip in manifest["clips"]]
    contents = [(corpus / clip["clip_id"]).read_bytes() for clip in manifest["clips"]]
    assert checksums == [f"crc32c:{google_crc32c.value(content):08x}" for content in contents]
    assert [clip["files"] for clip in manifest["clips"]] == [[file["path"]], [file["path"]], []]
    assert set(manifest["busy_s"]) == set(KINDS)
    worked = {kind: seconds for kind, seconds in manifest["busy_s"].items() if "wait" not in kind}
    assert all(seconds > 0 for seconds in worked.values())
    assert manifest["bytes_read"] > 0


def test_a_shard_that_is_done_is_left_as_it_is(tmp_path, table, one_shard):
    run = PlainRun(write_files(tmp_path / "corpus", 2), table, "run-1").make_plan()
    manifest = embed_shard(run.paths, "run-1", "000000", run.embedder)
    inode = os.stat(f"{done(run)}/{manifest['staged']}").st_ino
    assert json.loads(json.dumps(embed_shard(run.paths, "run-1", "000000", run.embedder))) == json.loads(
        json.dumps(manifest)
    )
    assert os.stat(f"{done(run)}/{manifest['staged']}").st_ino == inode
    assert len(os.listdir(done(run))) == 2


def test_a_try_that_died_before_its_manifest_is_done_again(tmp_path, table, one_shard):
    corpus = write_files(tmp_path / "corpus", 2)
    run = PlainRun(corpus, table, "run-1").make_plan().embed()
    os.unlink(f"{done(run)}/000000.json")
    with open(f"{done(run)}/run-1-000000-0123.parquet", "wb") as file:
        file.write(b"half a file")
    run.embed().commit()
    assert table_rows(table) == expected_rows(corpus)


def test_two_tries_at_once_leave_one_file(tmp_path, table, one_shard, monkeypatch):
    """A runner may give a slow element to another worker: the first manifest counts."""
    corpus = write_files(tmp_path / "corpus", 3)
    run = PlainRun(corpus, table, "run-1").make_plan()
    create = storage.create
    manifests = []

    def slow(uri, content):
        """The other try finishes while this one is about to."""
        monkeypatch.setattr(storage, "create", create)
        manifests.append(embed_shard(run.paths, "run-1", "000000", run.embedder))
        return create(uri, content)

    monkeypatch.setattr(storage, "create", slow)
    manifests.append(embed_shard(run.paths, "run-1", "000000", run.embedder))
    assert len({manifest["staged"] for manifest in manifests}) == 1
    assert sorted(os.listdir(done(run))) == ["000000.json", manifests[0]["staged"]]
    run.commit()
    assert table_rows(table) == expected_rows(corpus)


def test_a_file_that_does_not_hold_what_was_written_is_refused(tmp_path, table, one_shard, monkeypatch):
    """What the ledger says of windows is counted from the file."""
    run = PlainRun(write_files(tmp_path / "corpus", 3), table, "run-1").make_plan()
    append = WindowsWriter.append

    def forget(self, clip_id, **rows):
        if clip_id != "001.wav":
            append(self, clip_id, **rows)

    monkeypatch.setattr(WindowsWriter, "append", forget)
    with pytest.raises(RunError, match="does not hold what was written"):
        run.embed()


def test_a_shard_without_windows_has_no_file(tmp_path, table, one_shard):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "bad.wav").touch()
    run = PlainRun(corpus, table, "run-1").make_plan().embed()
    assert os.listdir(done(run)) == ["000000.json"]
    run.commit()
    assert ledger(table)["bad.wav"]["status"] == "empty"
    assert table_rows(table) == []


def first_run(corpus, table):
    PlainRun(corpus, table, "run-1").all()
    return ledger(table), expected_rows(corpus)


def test_replaced_between_plan_and_embedding(tmp_path, table, one_shard):
    corpus = write_files(tmp_path / "corpus", 3)
    old, rows = first_run(corpus, table)
    replace_file(corpus / "001.wav", 2.0, seed=50)
    run = PlainRun(corpus, table, "run-2").make_plan()
    replace_file(corpus / "001.wav", 3.0, seed=51)
    run.embed().commit()
    assert run.record["clips"] == {"changed": 1}
    assert table_rows(table) == rows  # the old good ones
    row = ledger(table)["001.wav"]
    assert row["error"].startswith("changed: ")
    assert row | {"error": None} == old["001.wav"]
    PlainRun(corpus, table, "run-3").all()  # and the next run gets it right
    assert table_rows(table) == expected_rows(corpus)
    assert ledger(table)["001.wav"]["error"] is None


def test_vanished_between_plan_and_embedding(tmp_path, table, one_shard):
    corpus = write_files(tmp_path / "corpus", 3)
    _, rows = first_run(corpus, table)
    replace_file(corpus / "001.wav", 2.0, seed=50)
    write_audio(corpus / "new.wav")
    run = PlainRun(corpus, table, "run-2").make_plan()
    (corpus / "001.wav").unlink()
    (corpus / "new.wav").unlink()
    run.embed().commit()
    assert run.record["clips"] == {"vanished": 2}
    assert table_rows(table) == rows
    found = ledger(table)
    assert found["001.wav"]["status"] == "ok"
    assert found["001.wav"]["error"].startswith("vanished: ")
    assert (found["new.wav"]["status"], found["new.wav"]["files"]) == ("vanished", [])


@pytest.mark.parametrize("how", ["touched", "replaced", "overwritten"])
def test_changed_while_it_is_read(tmp_path, table, one_shard, monkeypatch, how):
    """Late: after windows of it have been written. They must not stay, its neighbours must."""
    corpus = write_files(tmp_path / "corpus", 3)
    _, rows = first_run(corpus, table)
    replace_file(corpus / "001.wav", 300.0, seed=50)  # several segments
    write_audio(corpus / "002b.wav", seed=52)
    path, reads = corpus / "001.wav", []
    inode = path.stat().st_ino
    real = Recording.read

    def read(self, start, stop):
        if self.info.frames == 300 * 8_000:
            reads.append(start)
            if len(reads) == 4:
                change(path, how)
        return real(self, start, stop)

    monkeypatch.setattr(Recording, "read", read)
    run = PlainRun(corpus, table, "run-2").make_plan().embed()
    assert len(reads) >= 4
    staged = pq.read_table(next(Path(done(run)).glob("*.parquet")))
    assert set(staged["clip_id"].to_pylist()) == {"002b.wav"}
    run.commit()
    assert (path.stat().st_ino == inode) == (how != "replaced")
    monkeypatch.undo()
    assert run.record["clips"] == {"changed": 1, "ok": 1}
    new = [row for row in expected_rows(corpus) if row[0] == "002b.wav"]
    assert table_rows(table) == sorted(rows + new)
    assert ledger(table)["001.wav"]["windows_written"] == 5


def change(path, how):
    if how == "touched":
        os.utime(path)
    elif how == "replaced":
        replace_file(path, 1.0, seed=60)
    else:  # in place, as cp does: what is read next is no longer there
        path.write_bytes(path.read_bytes()[:1000])


def test_forbidden_and_broken_objects(table, one_shard):
    Guarded.register()
    folder = f"guarded://{uuid.uuid4().hex}"
    for name in ("a.wav", "broken.wav", "secret.wav"):
        with storage.writing(f"{folder}/{name}") as file:
            soundfile.write(file, noise(1.0), 8_000, format="WAV")
    run = PlainRun(folder, table, "run-1").all()
    assert run.record["clips"] == {"ok": 1, "storage-error": 1, "forbidden": 1}
    rows = ledger(table)
    assert "the wire is cut" in rows["broken.wav"]["error"]
    assert [row[0] for row in table_rows(table)] == ["a.wav"] * 5
    again = PlainRun(folder, table, "run-2").make_plan().plan
    # a cut wire may heal; what is still forbidden is no reason to load a model
    assert again.counts == {"unchanged": 1, "retried": 1, "failed before": 1}


def test_more_storage_errors_than_the_run_may_have_end_a_shard(table, one_shard):
    Guarded.register()
    folder = f"guarded://{uuid.uuid4().hex}"
    for name in ("a.wav", "broken.wav"):
        with storage.writing(f"{folder}/{name}") as file:
            soundfile.write(file, noise(1.0), 8_000, format="WAV")
    run = PlainRun(folder, table, "run-1").make_plan()
    with pytest.raises(RunError, match="could not be read from their store: 1, and"):
        embed_shard(run.paths, "run-1", "000000", run.embedder, max_storage_errors=0)
    assert storage.names_below(done(run), suffix="") == []


def test_windows_of_many_clips_share_batches(tmp_path, table, one_shard):
    """Batches of 16 windows hold clips of 5: rows must still be those of each clip alone."""
    corpus = write_files(tmp_path / "corpus", 20)
    run = PlainRun(corpus, table, "run-1").make_plan().embed()
    rows = pq.read_table(next(Path(done(run)).glob("*.parquet")))
    assert rows["clip_id"].to_pylist() == [f"{n:03d}.wav" for n in range(20) for _ in range(5)]
    assert rows["window"].to_pylist() == list(range(5)) * 20
    run.commit()
    assert table_rows(table) == expected_rows(corpus)
    assert np.unique([row[4] for row in table_rows(table)]).size == 100
    assert SPEC.size == 8
