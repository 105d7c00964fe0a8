"""The ledger: rows go through Parquet and JSON unchanged, and several files are read as one."""

import dataclasses
import json
from datetime import datetime, timezone

import pyarrow.parquet as pq
import pytest

from l3core.table import ledger as module
from l3core.table.layout import LEDGER_SCHEMA, STATUSES, TRANSIENT, WITH_WINDOWS, LedgerRow, TablePaths
from l3core.table.ledger import read_ledger, write_ledger

WHEN = datetime(2026, 1, 2, 3, 4, 5, 678901, timezone.utc)
FULL = LedgerRow(
    clip_id="Köln #1\n.wav",
    uri="/x/Köln #1\n.wav",
    size_bytes=2**40,
    version="1700000000123456789",
    checksum="crc32c:AAAA",
    status="truncated",
    error="the file ends",
    sample_rate=44_100,
    channels=2,
    frames=2**33,
    duration_s=2**33 / 44_100,
    codec="WAV/PCM_16",
    windows_expected=10,
    windows_written=7,
    files=("windows/spec=s1/a.parquet", "windows/spec=s1/b.parquet"),
    run_id="run-1",
    embedded_at=WHEN,
)


def bare(clip_id):
    """A row with what every object has."""
    return LedgerRow(clip_id=clip_id, uri="/" + clip_id, size_bytes=1, version="v", embedded_at=WHEN)


@pytest.mark.parametrize("row", [FULL, bare("a")])
def test_rows_through_parquet_and_json(tmp_path, row):
    assert write_ledger(f"{tmp_path}/a.parquet", [row]) == 1
    assert list(read_ledger(TablePaths(str(tmp_path)), ["a.parquet"])) == [row]
    assert LedgerRow.from_json(json.loads(json.dumps(row.to_json()))) == row


def test_the_schema_has_the_fields_of_a_row_in_their_order(tmp_path):
    write_ledger(f"{tmp_path}/a.parquet", [FULL])
    assert pq.ParquetFile(tmp_path / "a.parquet").schema_arrow == LEDGER_SCHEMA
    # the list of the design
    assert LEDGER_SCHEMA.names == [
        "clip_id",
        "uri",
        "size_bytes",
        "version",
        "checksum",
        "status",
        "error",
        "sample_rate",
        "channels",
        "frames",
        "duration_s",
        "codec",
        "windows_expected",
        "windows_written",
        "files",
        "run_id",
        "embedded_at",
    ]
    assert LEDGER_SCHEMA.names == [field.name for field in dataclasses.fields(LedgerRow)]


def test_statuses_are_a_closed_list():
    assert set(STATUSES) == {
        *("ok", "empty", "unreadable", "truncated", "forbidden"),
        *("too-large", "changed", "vanished", "storage-error", "gone"),
    }
    assert {"changed", "vanished", "storage-error"} == TRANSIENT
    assert {"ok", "truncated"} == WITH_WINDOWS


def test_files_are_merged_by_clip_id(tmp_path):
    write_ledger(f"{tmp_path}/a.parquet", map(bare, ["a", "c", "é"]))
    write_ledger(f"{tmp_path}/b.parquet", map(bare, ["Z", "b", "d"]))
    rows = read_ledger(TablePaths(str(tmp_path)), ["a.parquet", "b.parquet"])
    assert [row.clip_id for row in rows] == ["Z", "a", "b", "c", "d", "é"]


@pytest.mark.parametrize("count", [0, 1, 19, 20, 21, 45])
def test_many_rows_go_in_batches(tmp_path, monkeypatch, count):
    monkeypatch.setattr(module, "BATCH_ROWS", 2)  # 20 rows in a row group
    rows = [bare(f"{number:04d}") for number in range(count)]
    assert write_ledger(f"{tmp_path}/a.parquet", iter(rows)) == count
    assert list(read_ledger(TablePaths(str(tmp_path)), ["a.parquet"])) == rows


def test_no_files_no_rows(tmp_path):
    assert list(read_ledger(TablePaths(str(tmp_path)), [])) == []
