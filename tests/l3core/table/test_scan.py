"""`iter_windows`, `where` and scans: what is asked for, once, of one commit, in bounded memory."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from l3core.errors import TableError
from l3core.spec import EmbeddingSpec
from l3core.table import read, scan
from l3core.table.layout import windows_schema
from l3core.table.maintenance import compact
from l3core.table.read import read_windows
from l3core.table.row_groups import opened
from l3core.table.scan import iter_windows, scan_windows
from tests.corpus import PlainRun, expected_rows, replace_file, upload, write_files
from tests.training import AWKWARD, make_table, regroup, rows_of

REPO = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scan")
    corpus, table = folder / "corpus", make_table(folder)
    everything = rows_of(*read_windows(table))
    whole = [row for row in everything if row[0] != "cut.flac"]
    assert whole == [row for row in expected_rows(corpus) if row[0] != "cut.flac"]
    return table, everything


def test_batches_are_of_one_size_and_hold_each_row_once(made):
    table, everything = made
    for batch_size in (1, 5, 1000):
        batches = list(iter_windows(table, batch_size=batch_size))
        assert [len(batch.vectors) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
        assert sorted(row for batch in batches for row in rows_of(*batch)) == everything


def test_batches_have_the_columns_that_are_asked_for(made):
    table, everything = made
    for metadata, vectors in iter_windows(table, columns="start_s", batch_size=9):
        assert metadata.column_names == ["start_s"]
        assert len(metadata) == len(vectors)
    (none,) = iter_windows(table, columns=(), batch_size=10_000)
    assert none.metadata.column_names == []
    assert len(none.vectors) == len(everything)


CONDITIONS = {
    "silent windows": (pc.field("silent"), lambda row, _: row[3]),
    "a list as filters are": ([("start_s", ">=", 0.5)], lambda row, _: row[2] >= 0.5),
    "windows and ledger": (
        (pc.field("window") > 2) & (pc.field("duration_s") < 1.5),
        lambda row, seconds: row[1] > 2 and seconds[row[0]] < 1.5,
    ),
    "the ledger alone": (pc.field("status") == "truncated", lambda row, _: row[0] == "cut.flac"),
    "an awkward id": (
        pc.field("clip_id").isin(['it\'s "x".wav', "müßig ä.wav"]),
        lambda row, _: row[0] in ('it\'s "x".wav', "müßig ä.wav"),
    ),
    "nothing": (pc.field("window") > 10_000, lambda row, _: False),
}


@pytest.mark.parametrize(("where", "holds"), CONDITIONS.values(), ids=CONDITIONS)
def test_rows_where_something_holds(made, where, holds):
    table, everything = made
    ledger = pq.read_table(table / "clips", columns=["clip_id", "duration_s"], partitioning=None)
    seconds = dict(zip(*ledger.to_pydict().values()))
    expected = [row for row in everything if holds(row, seconds)]
    assert rows_of(*read_windows(table, where=where)) == expected
    found = iter_windows(table, where=where, batch_size=4)
    assert sorted(row for batch in found for row in rows_of(*batch)) == expected


def test_row_groups_larger_than_what_is_decoded_at_once(made, monkeypatch):
    """Three vectors of 8 numbers at a time, of row groups of seven."""
    monkeypatch.setattr(read, "DECODED_BYTES", 96)
    monkeypatch.setattr(scan, "CHUNK_BYTES", 96)
    table, everything = made
    assert rows_of(*read_windows(table)) == everything
    expected = [row for row in everything if row[1] % 2 or row[2] > 1.5]
    odd = pc.field("window").isin([*range(1, 99, 2)])
    where = odd | (pc.field("start_s") > 1.5)
    assert rows_of(*read_windows(table, where=where)) == expected
    found = iter_windows(table, where=where, batch_size=4)
    assert sorted(row for batch in found for row in rows_of(*batch)) == expected
    some = scan_windows(table)
    (whole, *_) = some.pieces()
    parts = [whole._replace(stop=2), whole._replace(start=2, stop=5), whole._replace(start=5)]
    assert [row for part in some.read(parts) for row in rows_of(*part)] == [
        row for part in some.read([whole]) for row in rows_of(*part)
    ]
    assert [sum(len(part.vectors) for part in some.read([one])) for one in parts] == [2, 3, 2]


def test_conditions_and_clips_together(made):
    table, everything = made
    found = read_windows(table, clips=[*AWKWARD], where=pc.field("window") == 0, columns="clip_id")
    assert found[0]["clip_id"].to_pylist() == sorted(AWKWARD)
    first = {row[0]: row[4] for row in everything if row[1] == 0}
    assert [vector.tobytes() for vector in found[1]] == [first[name] for name in sorted(AWKWARD)]


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (pc.field("loudness") > 1, "loudness.*Columns are clip_id, window"),
        (pc.field("embedding") == 1, "embedding"),
        (pc.field("window") > "1", "cannot be evaluated"),
        (pc.field("window"), "must evaluate to bool"),
        ("silent", "must be an expression"),
        ([("silent",)], "must be an expression"),
    ],
)
def test_conditions_that_cannot_be(made, where, message):
    for ask in (read_windows, iter_windows):
        with pytest.raises(TableError, match=message):
            ask(made[0], where=where)


def test_other_errors_come_at_once(made, tmp_path):
    with pytest.raises(TableError, match="no table at"):
        iter_windows(tmp_path)
    with pytest.raises(TableError, match="batch_size must be at least 1, got 0"):
        iter_windows(made[0], batch_size=0)
    with pytest.raises(TableError, match="columns must be of"):
        iter_windows(made[0], columns="loudness")


def test_row_groups_are_skipped_by_their_statistics(made):
    asked = scan_windows(made[0], where=(pc.field("clip_id") > "m") & (pc.field("status") == "ok"))
    few, every = asked.pieces(), scan_windows(made[0]).pieces()
    assert 0 < len(few) < len(every)
    for piece in {*every} - {*few}:
        with opened(asked.paths, asked.state, piece.path) as (parquet, _):
            assert parquet.metadata.row_group(piece.group).column(0).statistics.max <= "m"
    by_clips = scan_windows(made[0], clips=["müßig ä.wav"])
    assert 0 < len(by_clips.pieces()) < len(every)


def test_a_matrix_without_a_copy(tmp_path):
    """One file in order: the memory is Arrow's. Rows of it, or of several files, are copied once."""
    corpus, table = write_files(tmp_path / "corpus", 3), tmp_path / "table"
    run = PlainRun(corpus, table, "run-1").all()
    compact(run.paths, run.plan.fingerprint, "compact-1")
    assert regroup(table, 4) == 4
    before = pa.total_allocated_bytes()
    _, vectors = read_windows(table)
    assert not vectors.flags.owndata
    assert not vectors.flags.writeable
    assert pa.total_allocated_bytes() - before >= vectors.nbytes
    _, some = read_windows(table, where=pc.field("window") > 0)
    assert some.flags.owndata
    np.testing.assert_array_equal(some, vectors.reshape(3, 5, 8)[:, 1:].reshape(-1, 8))


def test_a_scan_travels(made):
    there = pickle.loads(pickle.dumps(scan_windows(made[0], where=pc.field("duration_s") > 1.0)))
    found = sorted(row for part in there.read(there.pieces()) for row in rows_of(*part))
    assert found == rows_of(*read_windows(made[0], where=pc.field("duration_s") > 1.0))


def test_a_table_without_windows(tmp_path):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/bad.wav").touch()
    PlainRun(tmp_path / "corpus", tmp_path / "table", "run-1").all()
    assert list(iter_windows(tmp_path / "table")) == []
    metadata, vectors = read_windows(tmp_path / "table", columns=["start_s", "silent"])
    assert metadata.schema.types == [pa.float64(), pa.bool_()]
    assert vectors.shape == (0, 8)


def test_one_spec_at_a_time(tmp_path):
    corpus, table = write_files(tmp_path / "corpus", 2), tmp_path / "table"
    other = EmbeddingSpec(model="fake", engine="fake", weights="random:0", hop_s=0.5)
    PlainRun(corpus, table, "run-1").all()
    second = PlainRun(corpus, table, "run-2", spec=other).all().plan.fingerprint
    with pytest.raises(TableError, match="several specs"):
        iter_windows(table)
    (found,) = iter_windows(table, second[:8])
    assert rows_of(*found) == expected_rows(corpus, other)


def changed_table(folder):
    """(table, what changes all of its files)."""
    corpus, table = write_files(folder / "corpus", 4), folder / "table"
    PlainRun(corpus, table, "run-1").all()
    replace_file(corpus / "000.wav", 1.0, seed=50)
    run = PlainRun(corpus, table, "run-2").all()
    return table, corpus, lambda: compact(run.paths, run.plan.fingerprint, "compact-1")


def test_a_commit_before_the_first_batch_goes_unseen(tmp_path):
    table, corpus, change = changed_table(tmp_path)
    batches = iter_windows(table, batch_size=3)
    change()
    assert sorted(row for batch in batches for row in rows_of(*batch)) == expected_rows(corpus)


def test_a_commit_in_the_middle_is_an_error_and_never_a_mix(tmp_path):
    table, _, change = changed_table(tmp_path)
    batches = iter_windows(table, batch_size=3)
    next(batches)
    change()
    with pytest.raises(TableError, match=r"changed by another run while it was read.*begin again"):
        list(batches)


def test_a_scan_of_an_earlier_commit_says_so(tmp_path):
    table, _, change = changed_table(tmp_path)
    earlier = scan_windows(table)
    pieces = earlier.pieces()
    change()
    for late in (lambda: list(earlier.read(pieces)), earlier.pieces):
        with pytest.raises(TableError, match="changed by another run"):
            late()


def test_a_damaged_file_is_named(tmp_path):
    table = tmp_path / "table"
    PlainRun(write_files(tmp_path / "corpus", 1), table, "run-1").all()
    (path,) = table.glob("windows/*/*.parquet")
    content = path.read_bytes()
    path.write_bytes(content[:100] + bytes(200) + content[300:])
    for ask in (read_windows, lambda table: list(iter_windows(table))):
        with pytest.raises(TableError, match=f"{path.name} cannot be read, see l3flow verify"):
            ask(table)
    path.write_bytes(content[:-20])
    with pytest.raises(TableError, match=f"{path.name} cannot be read"):
        read_windows(table)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=path.name):
        list(iter_windows(table))


def test_in_a_bucket(made, bucket):
    table, everything = made
    upload(table, f"{bucket}/table")
    where = (pc.field("silent") == False) & (pc.field("status") != "truncated")  # noqa: E712
    expected = [row for row in everything if not row[3] and row[0] != "cut.flac"]
    assert rows_of(*read_windows(f"{bucket}/table", where=where)) == expected
    found = iter_windows(f"{bucket}/table", where=where, batch_size=10)
    assert sorted(row for batch in found for row in rows_of(*batch)) == expected


MEASURE = """
import sys
from l3core import iter_windows
rows = 0
for metadata, vectors in iter_windows(sys.argv[1], batch_size=256):
    rows += len(vectors)
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(rows, peak.split()[1])
"""


def test_memory_does_not_grow_with_the_table(tmp_path):
    """192 MB and 576 MB of vectors, in eight and 24 files: the peak is the same.

    Of fewer files Arrow's pools do not always come to their full size.
    """
    sizes = {}
    for files in (8, 24):
        table = tmp_path / f"table-{files}"
        run = PlainRun(write_files(tmp_path / f"corpus-{files}", 1), table, "run-1").all()
        big_table(table, run, files)
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, str(table)],
            env=os.environ | {"PYTHONPATH": str(REPO)},
            capture_output=True,
            text=True,
            check=True,
        )
        rows, peak_kb = map(int, done.stdout.split())
        assert rows == files * 1000
        sizes[files] = peak_kb / 1024
    assert sizes[24] < sizes[8] + 40


def big_table(table, run, files):
    """Make the only windows file into `files` of 1000 vectors of 6144 numbers, in two row groups."""
    (entry,) = Path(table).glob("_l3flow/journal/*.json")
    commit = json.loads(entry.read_text())
    record = commit["record"]
    (old,) = [file for file in record["files_added"] if file["path"].startswith("windows/")]
    record["files_added"].remove(old)
    flat = pa.array(np.random.default_rng(0).random(1000 * 6144, np.float32))
    for number in range(files):
        columns = [
            pa.array([f"{number:03d}.wav"] * 1000),
            pa.array(np.arange(1000, dtype=np.int32)),
            pa.array(np.arange(1000.0)),
            pa.array(np.zeros(1000, bool)),
            pa.FixedSizeListArray.from_arrays(flat, 6144),
        ]
        path = str(Path(old["path"]).with_name(f"big-{number:02d}.parquet"))
        windows = pa.Table.from_arrays(columns, schema=windows_schema(6144))
        pq.write_table(windows, Path(table) / path, row_group_size=500, compression="none")
        record["files_added"].append(old | {"path": path})
    entry.write_text(json.dumps(commit))
