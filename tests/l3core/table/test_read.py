"""`read_windows`: rows in order, parts of them, and a whole commit while another is published."""

import threading

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from l3core.errors import TableError
from l3core.spec import EmbeddingSpec
from l3core.table.layout import windows_schema
from l3core.table.maintenance import compact
from l3core.table.read import METADATA, read_clip_vectors, read_windows
from l3core.table.scan import iter_windows, scan_windows
from tests.corpus import PlainRun, expected_rows, replace_file, write_files

OTHER = EmbeddingSpec(model="fake", engine="fake", weights="random:0", hop_s=0.5)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("read")
    corpus, table = write_files(folder / "corpus", 3), folder / "table"
    return corpus, table, PlainRun(corpus, table, "run-1").all().plan.fingerprint


def rows_of(metadata, vectors):
    return [(*row.values(), vector.tobytes()) for row, vector in zip(metadata.to_pylist(), vectors)]


def test_all_windows_in_order(made):
    corpus, table, _ = made
    metadata, vectors = read_windows(str(table))
    assert metadata.column_names == list(METADATA)
    assert metadata.schema.types == [pa.string(), pa.int32(), pa.float64(), pa.bool_()]
    assert (vectors.dtype, vectors.shape) == (np.float32, (15, 8))
    assert rows_of(metadata, vectors) == expected_rows(corpus)


def test_some_columns(made):
    corpus, table, _ = made
    metadata, vectors = read_windows(str(table), columns=["start_s"])
    assert metadata.column_names == ["start_s"]
    expected = expected_rows(corpus)
    assert metadata["start_s"].to_pylist() == [row[2] for row in expected]
    assert [vector.tobytes() for vector in vectors] == [row[4] for row in expected]


def test_some_clips(made):
    corpus, table, _ = made
    found = read_windows(str(table), clips=["002.wav", "000.wav"])
    assert rows_of(*found) == [row for row in expected_rows(corpus) if row[0] != "001.wav"]


@pytest.mark.parametrize("read", [read_windows, iter_windows, scan_windows])
def test_a_clip_that_is_not_there_is_told_with_near_names(made, read):
    _, table, _ = made
    with pytest.raises(TableError, match=r"no clip '00l\.wav' in .*, did you mean .*001\.wav"):
        read(str(table), clips=["000.wav", "00l.wav"])
    with pytest.raises(TableError, match=r"no clip '' in [^,]*$"):
        read(str(table), clips="")


@pytest.mark.parametrize("where", [None, pc.field("start_s") < 99])
def test_a_clip_without_windows_has_none(tmp_path, where):
    corpus = write_files(tmp_path / "corpus", 2)
    (corpus / "bad.wav").write_bytes(b"no audio")
    PlainRun(corpus, tmp_path / "table", "run-0").all()
    metadata, vectors = read_windows(tmp_path / "table", clips="bad.wav", where=where)
    assert (metadata.num_rows, vectors.shape) == (0, (0, 8))
    assert list(iter_windows(tmp_path / "table", clips=["bad.wav"], where=where)) == []


def test_relative_paths_and_trailing_slashes(made, monkeypatch):
    corpus, table, _ = made
    monkeypatch.chdir(table.parent)
    assert rows_of(*read_windows("table/")) == expected_rows(corpus)


def test_one_spec_at_a_time(tmp_path):
    corpus, table = write_files(tmp_path / "corpus", 2), tmp_path / "table"
    first = PlainRun(corpus, table, "run-1").all().plan.fingerprint
    second = PlainRun(corpus, table, "run-2", spec=OTHER).all().plan.fingerprint
    with pytest.raises(TableError, match="several specs"):
        read_windows(str(table))
    assert rows_of(*read_windows(str(table), spec=first)) == expected_rows(corpus)
    assert rows_of(*read_windows(str(table), spec=second[:6])) == expected_rows(corpus, OTHER)


def test_no_table(tmp_path):
    with pytest.raises(TableError, match="no table at"):
        read_windows(str(tmp_path))


def test_an_unknown_column(made):
    with pytest.raises((KeyError, ValueError), match="loudness"):
        read_windows(str(made[1]), columns=["loudness"])


def test_a_table_whose_files_gave_no_windows(tmp_path):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/bad.wav").touch()
    PlainRun(tmp_path / "corpus", tmp_path / "table", "run-1").all()
    metadata, vectors = read_windows(str(tmp_path / "table"))
    assert metadata.column_names == list(METADATA)
    assert (metadata.num_rows, len(vectors)) == (0, 0)


def test_readers_see_whole_commits_while_others_are_made(tmp_path):
    """Never a mix, never a failure: each read is the corpus as it was at one of the commits."""
    corpus, table = write_files(tmp_path / "corpus", 8), tmp_path / "table"
    PlainRun(corpus, table, "run-00").all()
    commits = [expected_rows(corpus)]
    seen, errors = [], []
    stop = threading.Event()

    def read():
        while not stop.is_set():
            try:
                seen.append(rows_of(*read_windows(str(table))))
            except OSError as error:
                errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(1, 13):
        for name in ("001.wav", "005.wav"):
            replace_file(corpus / name, 1.0, seed=100 + number)
        PlainRun(corpus, table, f"run-{number:02d}").all()
        commits.append(expected_rows(corpus))
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert all(rows in commits for rows in seen)
    assert len(seen) > 5


def test_vectors_of_some_clips_among_others_in_their_files(tmp_path):
    """Several row groups, clips across their ends, in any order, and some that are not there."""
    run = PlainRun(write_files(tmp_path / "corpus", 2), tmp_path / "table", "run-1")
    run.all()
    first, second = sorted((tmp_path / "table").glob("windows/*/*.parquet"))
    rows = []
    for path, names in ((first, "abcdef"), (second, "ghij")):
        for name in names:
            for window in range(7):
                vector = np.full(8, 10 * ord(name) + window, np.float32)
                rows.append((name, window, float(window), False, vector))
        mine = [row for row in rows if row[0] in names]
        columns = [pa.array(column) for column in list(zip(*mine))[:4]]
        flat = pa.array(np.concatenate([row[4] for row in mine]))
        columns.append(pa.FixedSizeListArray.from_arrays(flat, 8))
        columns[1] = columns[1].cast(pa.int32())
        table = pa.Table.from_arrays(columns, schema=windows_schema(8))
        pq.write_table(table, path, row_group_size=10)
    asked = ["i", "none", "b", "j", "c"]
    found = read_clip_vectors(str(tmp_path / "table"), None, asked)
    assert found.clips.tolist() == [0] * 7 + [2] * 7 + [3] * 7 + [4] * 7
    np.testing.assert_array_equal(
        found.vectors[:, 3],
        [10 * ord(name) + window for name in "ibjc" for window in range(7)],
    )
    nothing = read_clip_vectors(str(tmp_path / "table"), None, ["none", "zzz"])
    assert len(nothing.vectors) == len(nothing.clips) == 0
    metadata, vectors = read_windows(str(tmp_path / "table"), clips=["j", "b"])
    assert metadata["clip_id"].to_pylist() == ["b"] * 7 + ["j"] * 7
    assert vectors[:, 0].tolist() == [10 * ord(n) + window for n in "bj" for window in range(7)]


def test_readers_meanwhile_never_see_a_mix(tmp_path):
    """Runs that replace, prune and merge, while others read: each time one of the states, whole."""
    corpus, table = write_files(tmp_path / "corpus", 6), tmp_path / "table"
    PlainRun(corpus, table, "run-0").all()
    states = [expected_rows(corpus)]
    found, stop = [], threading.Event()

    def read():
        while not stop.is_set():
            found.append(rows_of(*read_windows(str(table))))

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(1, 8):
        replace_file(corpus / f"{number % 6:03d}.wav", 1.0 + number, seed=50 + number)
        run = PlainRun(corpus, table, f"run-{number}").all()
        states.append(expected_rows(corpus))
        compact(run.paths, run.plan.fingerprint, f"compact-{number}")
    stop.set()
    for thread in threads:
        thread.join()
    assert len(found) > 20
    assert all(rows in states for rows in found)
    assert len({len(rows) for rows in found}) > 3
