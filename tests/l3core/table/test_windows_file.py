"""Windows files: row groups, encodings, all or nothing."""

import hashlib
import io

import numpy as np
import pyarrow.parquet as pq
import pytest

from l3core.table import windows_file
from l3core.table.layout import windows_schema
from l3core.table.windows_file import clip_rows, file_facts, is_compact, writing_windows

SIZE = 4


def vectors_of(clip, count):
    return np.random.default_rng(clip).normal(size=(count, SIZE)).astype(np.float32)


def write(uri, clips, *, parts=1, compact=False):
    """A file of clips c0, c1, ... with those numbers of windows, each appended in parts."""
    with writing_windows(str(uri), SIZE, compact=compact) as writer:
        for clip, count in enumerate(clips):
            vectors = vectors_of(clip, count)
            for part in np.array_split(np.arange(count), parts):
                first = int(part[0])
                writer.append(
                    f"c{clip}",
                    first_window=first,
                    start_s=part * 0.5 - 0.25,
                    silent=part % 2 == 1,
                    vectors=vectors[part],
                )
        assert writer.rows == sum(clips)
    return writer.written


def rows(uri):
    table = pq.ParquetFile(uri).read()
    return [tuple(row.values()) for row in table.to_pylist()]


def expected(clips, leave_out=()):
    return [
        (
            f"c{clip}",
            window,
            window * 0.5 - 0.25,
            window % 2 == 1,
            vectors_of(clip, count)[window].tolist(),
        )
        for clip, count in enumerate(clips)
        if f"c{clip}" not in leave_out
        for window in range(count)
    ]


@pytest.fixture
def groups_of_ten(monkeypatch):
    monkeypatch.setattr(windows_file, "ROW_GROUP_BYTES", 4 * SIZE * 10)


@pytest.mark.parametrize("parts", [1, 3])
def test_rows_are_as_they_were_given(tmp_path, parts):
    uri = tmp_path / "a.parquet"
    write(uri, [3, 7], parts=parts)
    assert pq.ParquetFile(uri).schema_arrow.equals(windows_schema(SIZE))
    assert rows(uri) == expected([3, 7])


def groups(uri):
    metadata = pq.ParquetFile(uri).metadata
    return [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]


@pytest.mark.parametrize(
    ("clips", "sizes"),
    [([3], [3]), ([10], [10]), ([3, 4, 3], [10]), ([25], [10, 10, 5]), ([7, 7, 7, 7], [10, 10, 8])],
)
def test_row_groups(tmp_path, groups_of_ten, clips, sizes):
    uri = tmp_path / "a.parquet"
    write(uri, clips)
    assert groups(uri) == sizes
    assert rows(uri) == expected(clips)


def test_row_groups_are_about_32_mb():
    # 32 MiB of 6144 float32: 1365 rows
    writer = windows_file.WindowsWriter(io.BytesIO(), windows_schema(6144))
    assert writer._group_rows == 1365
    writer.close()


def test_encodings(tmp_path):
    write(tmp_path / "a.parquet", [50])
    metadata = pq.ParquetFile(tmp_path / "a.parquet").metadata
    columns = {
        metadata.row_group(0).column(n).path_in_schema.partition(".")[0]: metadata.row_group(0).column(n)
        for n in range(5)
    }
    assert {column.compression for column in columns.values()} == {"ZSTD"}
    assert [name for name, column in columns.items() if column.has_dictionary_page] == ["clip_id"]
    assert set(columns["embedding"].encodings) == {"PLAIN", "RLE"}  # RLE: the levels of the list
    assert all(column.has_offset_index for column in columns.values())


def test_compact_vectors_are_the_same_in_another_encoding(tmp_path):
    written = write(tmp_path / "a.parquet", [50], compact=True)
    parquet = pq.ParquetFile(tmp_path / "a.parquet")
    encodings = {column: parquet.metadata.row_group(0).column(column).encodings for column in range(5)}
    assert "BYTE_STREAM_SPLIT" in encodings[4]
    assert "PLAIN" not in encodings[4]
    assert [column for column in range(4) if "BYTE_STREAM_SPLIT" in encodings[column]] == []
    assert rows(tmp_path / "a.parquet") == expected([50])
    assert is_compact(parquet)
    assert file_facts(written, "a")["compact"] is True
    plain = write(tmp_path / "b.parquet", [50])
    assert not is_compact(pq.ParquetFile(tmp_path / "b.parquet"))
    assert "compact" not in file_facts(plain, "b")


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    def write_half():
        with writing_windows(str(tmp_path / "a.parquet"), SIZE) as writer:
            silent, vectors = np.zeros(2, bool), vectors_of(0, 2)
            writer.append("c0", first_window=0, start_s=np.zeros(2), silent=silent, vectors=vectors)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert list(tmp_path.iterdir()) == []


def test_rows_of_each_clip_are_counted(tmp_path, groups_of_ten):
    written = write(tmp_path / "a.parquet", [4, 25, 6])
    assert clip_rows(str(tmp_path / "a.parquet")) == written.clips == {"c0": 4, "c1": 25, "c2": 6}


def test_what_a_record_says_of_a_file(tmp_path):
    written = write(tmp_path / "a.parquet", [4, 3])
    content = (tmp_path / "a.parquet").read_bytes()
    assert file_facts(written, "windows/spec=s1/a.parquet") == {
        "path": "windows/spec=s1/a.parquet",
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "rows": 7,
        "clips": 2,
        "first_clip": "c0",
        "last_clip": "c1",
        "vector_bytes": 112,  # 7 rows of 4 float32
    }
