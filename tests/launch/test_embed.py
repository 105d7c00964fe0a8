"""`l3flow embed` from the command line to the table: values, ledger, readers, and second runs."""

import hashlib
import json
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from l3core.embedding import Embedder
from l3core.spec import EmbeddingSpec
from l3core.table.layout import LEDGER_SCHEMA
from l3core.table.read import read_windows
from launch.main import main
from tests.corpus import (
    FLAGS,
    MIXED,
    SPEC,
    expected_rows,
    ledger,
    replace_file,
    snapshot,
    staged_runs,
    table_rows,
    write_audio,
    write_files,
    write_mixed,
)

COLUMNS = ["clip_id", "window", "start_s", "silent", "embedding"]


def embed(*inputs, output, more=()):
    return main(["embed", "--input", *map(str, inputs), "--output", str(output), *FLAGS, *more])


class Made:
    """A corpus, its table, and its run record."""

    def __init__(self, folder):
        self.corpus = write_mixed(folder / "corpus")
        self.table = folder / "table"
        self.code = embed(self.corpus, output=self.table, more=["--quiet"])
        (self.record_file,) = (self.table / "runs").iterdir()
        self.record = json.loads(self.record_file.read_text())
        self.fingerprint = self.record["fingerprint"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return Made(tmp_path_factory.mktemp("made"))


def test_unreadable_files_do_not_stop_the_run(made):
    assert made.code == 0
    assert made.record["clips"] == {"ok": 6, "empty": 2, "unreadable": 1, "truncated": 1}
    assert made.record["matched"] == {"new": 10}


def test_every_file_is_in_the_ledger_once(made):
    rows = ledger(made.table)
    assert sorted(rows) == sorted(MIXED)
    for clip_id, (status, windows) in MIXED.items():
        row = rows[clip_id]
        assert row["status"] == status, clip_id
        assert (row["error"] is None) == (status == "ok")
        if windows is not None:
            assert (row["windows_expected"], row["windows_written"]) == (windows, windows)
        assert row["uri"] == str(made.corpus / clip_id)
        assert row["size_bytes"] == (made.corpus / clip_id).stat().st_size
        assert row["version"] == str((made.corpus / clip_id).stat().st_mtime_ns)
        assert row["run_id"] == made.record["run_id"]
    cut = rows["cut.flac"]
    assert 0 < cut["windows_written"] < cut["windows_expected"] == 121  # 30 s: 1 + ceil(119.5)


def test_the_ledger_says_what_the_decoder_says(made):
    names = ("sample_rate", "channels", "frames", "duration_s", "codec")
    told = {clip_id: tuple(row[n] for n in names) for clip_id, row in ledger(made.table).items()}
    # 1.3 s at 11025 Hz are 14332 frames, 0.7 s at 11024 Hz 7717
    assert told["a/b.flac"] == (11_025, 2, 14_332, 14_332 / 11_025, "FLAC/PCM_16")
    assert told["a/deep/c.wav"] == (11_024, 1, 7_717, 7_717 / 11_024, "WAV/PCM_16")
    assert told["bad/text.wav"] == (None, None, None, None, None)


def test_errors_are_for_people(made):
    errors = {clip_id: row["error"] for clip_id, row in ledger(made.table).items() if row["error"]}
    assert errors["bad/empty.wav"] == "the file has no bytes"
    assert errors["bad/header only.wav"] == "the file has a header but no samples"
    assert "not audio that can be decoded" in errors["bad/text.wav"]
    assert not any("object at 0x" in error for error in errors.values())


def test_values_are_those_of_the_embedder(made):
    rows = table_rows(made.table)
    whole = [row for row in rows if row[0] != "cut.flac"]
    assert whole == expected_rows(made.corpus)
    assert {row[0] for row in whole if row[3]} == {"silent.wav"}
    # window 0 is centred on the first sample: half of 1000 samples at 4 kHz lie before it
    starts = [row[2] for row in rows if row[0] == "a.wav"]
    assert starts == [-0.125, 0.125, 0.375, 0.625, 0.875]
    cut = [row[1] for row in rows if row[0] == "cut.flac"]
    assert cut == list(range(ledger(made.table)["cut.flac"]["windows_written"]))


def test_schemas_and_encodings(made):
    files = sorted((made.table / f"windows/spec={made.fingerprint}").iterdir())
    for path in files:
        parquet = pq.ParquetFile(path)
        schema = parquet.schema_arrow
        assert schema.names == COLUMNS
        wanted = [pa.string(), pa.int32(), pa.float64(), pa.bool_(), pa.list_(pa.float32(), 8)]
        assert schema.types == wanted
        column = parquet.metadata.row_group(0).column(4)
        assert column.path_in_schema.startswith("embedding")
        assert column.compression == "ZSTD"
        assert not column.has_dictionary_page
        assert set(column.encodings) == {"PLAIN", "RLE"}  # RLE: the levels of the list
        assert column.has_column_index or column.has_offset_index
        keys = [(row["clip_id"], row["window"]) for row in parquet.read(COLUMNS[:2]).to_pylist()]
        assert keys == sorted(keys)
    (clips,) = (made.table / f"clips/spec={made.fingerprint}").iterdir()
    assert pq.ParquetFile(clips).schema_arrow == LEDGER_SCHEMA
    ids = pq.ParquetFile(clips).read(["clip_id"])["clip_id"].to_pylist()
    assert ids == sorted(ids)


def test_every_engine_reads_the_same(made):
    rows = [(*row[:4], np.frombuffer(row[4], np.float32).tolist()) for row in table_rows(made.table)]
    glob = f"{made.table}/windows/*/*.parquet"
    in_duckdb = duckdb.sql(  # WINDOW is a word of SQL: the column needs its quotes
        f'SELECT clip_id, "window", start_s, silent, embedding, spec '
        f"FROM read_parquet('{glob}', hive_partitioning=true) ORDER BY ALL"
    ).fetchall()
    assert [(*row[:4], list(row[4])) for row in in_duckdb] == rows
    assert {row[5] for row in in_duckdb} == {made.fingerprint}
    in_pandas = pd.read_parquet(made.table / "windows").sort_values(["clip_id", "window"])
    assert [(*row[:4], row[4].tolist()) for row in in_pandas[COLUMNS].itertuples(index=False)] == rows
    in_polars = pl.read_parquet(glob, hive_partitioning=True).sort("clip_id", "window")
    assert in_polars["embedding"].dtype == pl.Array(pl.Float32, 8)
    assert [(*row[:4], list(row[4])) for row in in_polars.select(COLUMNS).rows()] == rows
    metadata, vectors = read_windows(str(made.table))
    ours = [
        (*(row[name] for name in COLUMNS[:4]), vector.tolist())
        for row, vector in zip(metadata.to_pylist(), vectors)
    ]
    assert ours == rows


def test_json_files_of_the_table(made):
    assert json.loads((made.table / "table.json").read_text()) == {"layout": 1, "root": str(made.corpus)}
    (spec_file,) = (made.table / "specs").iterdir()
    assert spec_file.name == f"{made.fingerprint}.json"
    spec = json.loads(spec_file.read_text())
    assert spec["fingerprint"] == made.fingerprint
    assert EmbeddingSpec(**spec["spec"]) == SPEC
    assert SPEC.fingerprint(spec["weights_digest"]) == made.fingerprint


def test_the_run_record(made):
    record = made.record
    assert made.record_file.name == f"{record['run_id']}.json"
    assert (record["layout"], record["commit"], record["files_removed"]) == (1, 1, [])
    assert record["command"] == "embed"
    assert record["input"] == [str(made.corpus)]
    assert record["windows"] == len(table_rows(made.table))
    # 2 + 1 + 14332/11025 + 7717/11024 + 0.01 + 1 (silent) seconds; of the cut one, a hop a window
    cut = 0.25 * ledger(made.table)["cut.flac"]["windows_written"]
    assert record["audio_s"] == pytest.approx(4.01 + 14_332 / 11_025 + 7_717 / 11_024 + cut)
    assert {"python", "apache-beam", "soundfile"} <= set(record["versions"])
    listed = {file["path"]: file for file in record["files_added"]}
    there = {
        path.relative_to(made.table).as_posix()
        for folder in ("windows", "clips")
        for path in (made.table / folder).rglob("*.parquet")
    }
    assert set(listed) == there
    for path, facts in listed.items():
        content = (made.table / path).read_bytes()
        assert facts["sha256"] == hashlib.sha256(content).hexdigest()
        assert facts["bytes"] == len(content)
        assert facts["rows"] == pq.ParquetFile(made.table / path).metadata.num_rows
    for row in ledger(made.table).values():
        assert set(row["files"]) <= there
        assert bool(row["files"]) == bool(row["windows_written"])


def test_nothing_of_the_run_is_left(made):
    assert staged_runs(made.table) == []
    assert list((made.table / "_l3flow/lock").iterdir()) == []
    assert not list(Path(made.table).rglob("*.tmp"))


def test_a_second_run_embeds_nothing(tmp_path, capsys):
    corpus, table = write_files(tmp_path / "corpus", 3), tmp_path / "table"
    assert embed(corpus, output=table) == 0
    said = capsys.readouterr().out
    assert "3 files matched (3 new)" in said
    assert "3 ok; 15 windows of 8 numbers from 3.0 s of audio" in said
    before = {path: sha for path, sha in snapshot(table).items() if not path.startswith("runs/")}
    assert embed(corpus, output=table) == 0
    assert "nothing to do" in capsys.readouterr().out
    after = {path: sha for path, sha in snapshot(table).items() if not path.startswith("runs/")}
    assert after == before
    assert len(list((table / "runs").iterdir())) == 2


def test_new_changed_and_broken_files(tmp_path):
    corpus, table = write_files(tmp_path / "corpus", 5), tmp_path / "table"
    assert embed(corpus, output=table, more=["--quiet"]) == 0
    first = ledger(table)["000.wav"]["run_id"]
    replace_file(corpus / "001.wav", 2.0, seed=77)
    (corpus / "002.wav").write_text("no audio any more")
    write_audio(corpus / "sub/new.wav", 0.5, seed=78)
    assert embed(corpus, output=table, more=["--json"]) == 0
    assert table_rows(table) == expected_rows(corpus)
    rows = ledger(table)
    good = ("000.wav", "001.wav", "003.wav", "004.wav", "sub/new.wav")
    statuses = {clip_id: row["status"] for clip_id, row in rows.items()}
    assert statuses == dict.fromkeys(good, "ok") | {"002.wav": "unreadable"}
    assert rows["002.wav"]["files"] == []
    old = {clip_id for clip_id, row in rows.items() if row["run_id"] == first}
    assert old == {"000.wav", "003.wav", "004.wav"}


def test_full_embeds_everything_again(tmp_path):
    corpus, table = write_files(tmp_path / "corpus", 3), tmp_path / "table"
    runs = []
    for more in ([], ["--full"]):
        assert embed(corpus, output=table, more=["--quiet", *more]) == 0
        assert table_rows(table) == expected_rows(corpus)
        runs.append({row["run_id"] for row in ledger(table).values()})
    assert runs[0].isdisjoint(runs[1])


def test_another_spec_is_another_partition(tmp_path):
    corpus, table = write_files(tmp_path / "corpus", 2), tmp_path / "table"
    assert embed(corpus, output=table, more=["--quiet"]) == 0
    assert embed(corpus, output=table, more=["--quiet", "--hop", "0.125"]) == 0
    other = EmbeddingSpec(model="fake", engine="fake", weights="random:0", hop_s=0.125)
    for spec in (SPEC, other):
        fingerprint = Embedder(spec).fingerprint
        assert table_rows(table, fingerprint) == expected_rows(corpus, spec)
        assert len(ledger(table, fingerprint)) == 2
    assert len(list((table / "specs").iterdir())) == 2
