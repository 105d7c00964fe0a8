"""The ledger: rows go through Parquet and JSON unchanged, and several files are read as one."""

import dataclasses
import json
from datetime import datetime, timezone
from random import Random

import pyarrow.parquet as pq
import pytest

from l3core.table import ledger as module
from l3core.table.layout import (
    LEDGER_SCHEMA,
    STATUSES,
    TRANSIENT,
    WITH_WINDOWS,
    LedgerRow,
    TablePaths,
    ledger_batch,
)
from l3core.table.ledger import (
    Known,
    Moved,
    find_rows,
    read_known,
    read_ledger,
    resettled,
    update_ledger,
    write_ledger,
)

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


def write(path, rows):
    """A ledger of those rows, given one by one."""
    return write_ledger(str(path), (ledger_batch([row]) for row in rows)).rows


def bare(clip_id):
    """A row with what every object has."""
    return LedgerRow(clip_id=clip_id, uri="/" + clip_id, size_bytes=1, version="v", embedded_at=WHEN)


@pytest.mark.parametrize("row", [FULL, bare("a")])
def test_rows_through_parquet_and_json(tmp_path, row):
    assert write(tmp_path / "a.parquet", [row]) == 1
    assert list(read_ledger(TablePaths(str(tmp_path)), ["a.parquet"])) == [row]
    assert LedgerRow.from_json(json.loads(json.dumps(row.to_json()))) == row


def test_the_schema_has_the_fields_of_a_row_in_their_order(tmp_path):
    write(tmp_path / "a.parquet", [FULL])
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
    write(tmp_path / "a.parquet", map(bare, ["a", "c", "é"]))
    write(tmp_path / "b.parquet", map(bare, ["Z", "b", "d"]))
    rows = read_ledger(TablePaths(str(tmp_path)), ["a.parquet", "b.parquet"])
    assert [row.clip_id for row in rows] == ["Z", "a", "b", "c", "d", "é"]


@pytest.mark.parametrize("count", [0, 1, 19, 20, 21, 45])
def test_many_rows_go_in_batches(tmp_path, monkeypatch, count):
    monkeypatch.setattr(module, "BATCH_ROWS", 2)
    monkeypatch.setattr(module, "GROUP_ROWS", 20)
    rows = [bare(f"{number:04d}") for number in range(count)]
    assert write(tmp_path / "a.parquet", rows) == count
    groups = pq.ParquetFile(tmp_path / "a.parquet").metadata.num_row_groups
    assert groups == -(-count // 20)
    assert list(read_ledger(TablePaths(str(tmp_path)), ["a.parquet"])) == rows


def test_no_files_no_rows(tmp_path):
    assert list(read_ledger(TablePaths(str(tmp_path)), [])) == []


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(module, "BATCH_ROWS", 4)


def test_what_is_known_is_the_same_rows(tmp_path):
    write(tmp_path / "a.parquet", [FULL, bare("b")])
    known = read_known(TablePaths(str(tmp_path)), ["a.parquet"])
    assert list(known) == [
        Known(*(list(value) if name == "files" else value for name, value in zip(Known._fields, row)))
        for row in ([getattr(full, name) for name in Known._fields] for full in (FULL, bare("b")))
    ]


def updated(tmp_path, names, changes, moved=None):
    """Rows of a ledger of those clips after an update."""
    write(tmp_path / "a.parquet", map(bare, names))
    batches = update_ledger(
        TablePaths(str(tmp_path)),
        ["a.parquet"] if names else [],
        iter(sorted(changes.items())),
        moved or {},
    )
    write_ledger(f"{tmp_path}/b.parquet", batches)
    return list(read_ledger(TablePaths(str(tmp_path)), ["b.parquet"]))


@pytest.mark.parametrize("names", ["", "a", "acegikmoqsuwy", "bcdefgh"])
@pytest.mark.parametrize("changed", ["", "a", "z", "bdf", "aceg", "abcdefghijklmnopqrstuvwxyz"])
def test_an_update_changes_and_adds_rows(tmp_path, small_batches, names, changed):
    def change(clip_id):
        return lambda old: dataclasses.replace(bare(clip_id), error="new" if old is None else "changed")

    rows = updated(tmp_path, names, {clip_id: change(clip_id) for clip_id in changed})
    assert [(row.clip_id, row.error) for row in rows] == [
        (name, None if name not in changed else "changed" if name in names else "new")
        for name in sorted({*names, *changed})
    ]


def test_an_update_says_where_the_windows_are_now(tmp_path, small_batches):
    names = [f"{number:02d}" for number in range(12)]
    rows = [dataclasses.replace(bare(name), files=("old", "other")[: int(name) % 3]) for name in names]
    write(tmp_path / "a.parquet", rows)
    moved = {"old": [Moved("new-1", "00", "05"), Moved("new-2", "05", "11")]}
    new = dataclasses.replace(bare("12"), files=("old", "kept"))
    changes = iter([("12", lambda old: new)])
    batches = update_ledger(
        TablePaths(str(tmp_path)), ["a.parquet"], changes, moved | {"kept": [Moved("k", "12", "12")]}
    )
    write_ledger(f"{tmp_path}/b.parquet", batches)
    found = {row.clip_id: row.files for row in read_ledger(TablePaths(str(tmp_path)), ["b.parquet"])}
    assert found["00"] == ()
    assert found["01"] == ("new-1",)
    assert found["02"] == ("new-1", "other")
    assert found["05"] == ("new-1", "new-2", "other")
    assert found["07"] == ("new-2",)
    assert found["12"] == ("k",)  # no new file of `old` reaches as far


@pytest.mark.parametrize("seed", range(20))
def test_files_are_followed_as_a_row_alone_would_be(tmp_path, small_batches, seed):
    """Most rows stay Arrow; each has the files that `resettled` gives it."""
    random = Random(seed)
    names = [f"{number:02d}" for number in range(30)]
    rows = [
        dataclasses.replace(
            bare(name), files=tuple(random.sample("abcdef", random.choice((0, 1, 1, 2))))
        )
        for name in names
    ]
    write(tmp_path / "a.parquet", rows)
    # a file becomes none, one or two; several may become the same one
    moved = {
        old: [Moved(random.choice("xyz"), *sorted(random.sample(names, 2))) for _ in range(places)]
        for old, places in zip("abcd", (1, 1, 2, random.choice((0, 1))))
    }
    changes = {name: lambda old: dataclasses.replace(old, error="new") for name in names[::7]}
    batches = update_ledger(TablePaths(str(tmp_path)), ["a.parquet"], iter(changes.items()), moved)
    write_ledger(f"{tmp_path}/b.parquet", batches)
    found = list(read_ledger(TablePaths(str(tmp_path)), ["b.parquet"]))
    expected = [changes[row.clip_id](row) if row.clip_id in changes else row for row in rows]
    assert found == [resettled(row, moved) for row in expected]


def test_rows_of_rewritten_files_do_not_become_python(tmp_path, small_batches, monkeypatch):
    rows = [dataclasses.replace(bare(f"{number:02d}"), files=("old",)) for number in range(10)]
    write(tmp_path / "a.parquet", rows)
    monkeypatch.setattr(LedgerRow, "from_json", None)
    moved = {"old": [Moved("new", "00", "09")]}
    batches = list(update_ledger(TablePaths(str(tmp_path)), ["a.parquet"], iter(()), moved))
    assert [files for batch in batches for files in batch["files"].to_pylist()] == [["new"]] * 10


def test_rows_of_some_clips(tmp_path, small_batches):
    rows = [bare(f"{number:02d}") for number in range(0, 20, 2)]
    write(tmp_path / "a.parquet", rows)
    wanted = ["00", "01", "05", "06", "18", "19", "99"]
    found = find_rows(
        TablePaths(str(tmp_path)), ["a.parquet"], ((name, name.upper()) for name in wanted)
    )
    known = {row.clip_id: row for row in rows}
    assert list(found) == [(name, known.get(name)) for name in wanted]
