"""Merging windows files: the same rows, sorted, without some clips, under other names, cut anew."""

from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l3core.table import merge as module
from l3core.table import windows_file
from l3core.table.layout import windows_schema
from l3core.table.merge import merge_windows
from l3core.table.windows_file import writing_windows

SIZE = 4
ROW_BYTES = 4 * SIZE


def vector(clip_id, window):
    return [float(ord(char)) for char in clip_id[:2].ljust(2)] + [window, 0.5]


def row(clip_id, window):
    return clip_id, window, window * 0.5 - 0.25, window % 2 == 1, vector(clip_id, window)


def write(path, clips):
    """A file of (clip id, range of windows)."""
    with writing_windows(str(path), SIZE) as writer:
        for clip_id, windows in clips:
            places = np.array(windows)
            writer.append(
                clip_id,
                first_window=windows.start,
                start_s=places * 0.5 - 0.25,
                silent=places % 2 == 1,
                vectors=np.array([vector(clip_id, window) for window in windows], np.float32),
            )
    return str(path)


def rows(uri):
    return [tuple(row.values()) for row in pq.ParquetFile(uri).read().to_pylist()]


def merge(tmp_path, sources, *, end_of=lambda place, clip_id: None, most_rows=1000, **options):
    """Merge, and check what is said of the new files."""
    merged = merge_windows(
        sources,
        lambda number: f"{tmp_path}/merged-{number}.parquet",
        end_of=end_of,
        most_bytes=most_rows * ROW_BYTES,
        **options,
    )
    for file in merged:
        found = rows(file.uri)
        assert file.written.clips == Counter(row[0] for row in found)
        assert file.written.vector_size == SIZE
        assert pq.ParquetFile(file.uri).schema_arrow.equals(windows_schema(SIZE))
    return [rows(file.uri) for file in merged]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(windows_file, "ROW_GROUP_BYTES", ROW_BYTES * 10)
    monkeypatch.setattr(module, "READ_AHEAD_BYTES", ROW_BYTES * 7)


def test_files_are_merged_in_the_order_of_clips_and_windows(tmp_path):
    sources = [
        write(tmp_path / "1.parquet", [("a", range(3)), ("c", range(10, 25)), ("z", range(2))]),
        write(tmp_path / "2.parquet", [("b", range(30)), ("c", range(10))]),
        write(tmp_path / "3.parquet", [("Z", range(1)), ("\u00e9", range(4))]),
    ]
    (merged,) = merge(tmp_path, sources)
    counts = {"Z": 1, "a": 3, "b": 30, "c": 25, "z": 2, "\u00e9": 4}
    assert merged == [row(clip_id, window) for clip_id in counts for window in range(counts[clip_id])]


def test_clips_are_left_out_of_the_file_that_they_are_named_for(tmp_path):
    sources = [
        write(tmp_path / "1.parquet", [("a", range(3)), ("b", range(4))]),
        write(tmp_path / "2.parquet", [("b", range(9)), ("c", range(2))]),
    ]
    (merged,) = merge(
        tmp_path, sources, end_of=lambda place, clip_id: 0 if (place, clip_id) == (0, "b") else None
    )
    counts = {"a": 3, "b": 9, "c": 2}
    assert merged == [row(clip_id, window) for clip_id in counts for window in range(counts[clip_id])]


def test_a_clip_ends_where_it_is_told_to(tmp_path):
    """Pieces of a recording behind the place where it broke off."""
    sources = [
        write(tmp_path / "1.parquet", [("a", range(3)), ("b", range(12))]),
        write(tmp_path / "2.parquet", [("b", range(12, 20)), ("c", range(2))]),
    ]
    (merged,) = merge(tmp_path, sources, end_of=lambda place, clip_id: 9 if clip_id == "b" else None)
    counts = {"a": 3, "b": 9, "c": 2}
    assert merged == [row(clip_id, window) for clip_id in counts for window in range(counts[clip_id])]


def test_of_a_file_that_loses_all_its_clips_no_vector_is_read(tmp_path, monkeypatch):
    sources = [write(tmp_path / f"{name}.parquet", [(name, range(3))]) for name in "ab"]
    read = []
    runs = module._runs
    monkeypatch.setattr(module, "_runs", lambda *args: read.append(args[1]) or runs(*args))
    (merged,) = merge(tmp_path, sources, end_of=lambda place, clip_id: None if place == 1 else 0)
    assert merged == [row("b", window) for window in range(3)]
    assert read == [1]


def test_without_any_clip_there_is_no_file(tmp_path):
    source = write(tmp_path / "1.parquet", [("a", range(3))])
    assert merge(tmp_path, [source], end_of=lambda place, clip_id: 0) == []
    assert [path.name for path in tmp_path.iterdir()] == ["1.parquet"]


def test_a_file_over_itself(tmp_path):
    uri = write(tmp_path / "1.parquet", [("a", range(13)), ("b", range(4))])
    merge_windows(
        [uri], lambda _: uri, end_of=lambda _, clip_id: None if clip_id == "b" else 0, most_bytes=10**9
    )
    assert rows(uri) == [row("b", window) for window in range(4)]
    assert [path.name for path in tmp_path.iterdir()] == ["1.parquet"]


def test_clips_get_other_names(tmp_path):
    source = write(tmp_path / "1.parquet", [("a", range(3)), ("b", range(2))])
    (merged,) = merge(tmp_path, [source], rename=lambda clip_id: f"sub/{clip_id}")
    assert [found[:2] for found in merged] == [
        *(("sub/a", window) for window in range(3)),
        *(("sub/b", window) for window in range(2)),
    ]
    assert [found[2:] for found in merged[:3]] == [row("a", window)[2:] for window in range(3)]


def test_a_full_file_ends_behind_a_clip(tmp_path):
    clips = [("a", range(6)), ("b", range(6)), ("c", range(6)), ("d", range(1))]
    files = merge(tmp_path, [write(tmp_path / "1.parquet", clips)], most_rows=10)
    assert [{found[0] for found in file} for file in files] == [{"a", "b"}, {"c", "d"}]


def test_a_clip_that_is_larger_than_a_file_is_cut(tmp_path):
    source = write(tmp_path / "1.parquet", [("a", range(50)), ("b", range(2))])
    files = merge(tmp_path, [source], most_rows=10)
    # a file ends at twice its size at the latest; what is read together, 7 rows, stays together
    assert [len(file) for file in files] == [21, 21, 10]
    assert [found for file in files for found in file] == [
        *(row("a", window) for window in range(50)),
        *(row("b", window) for window in range(2)),
    ]


@settings(max_examples=40, deadline=None)
@given(
    places=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 12)), min_size=1, max_size=12),
    most_rows=st.integers(1, 30),
)
def test_no_row_is_lost_or_doubled(tmp_path_factory, places, most_rows):
    """Any clips in any of three files: what comes out is what went in, sorted."""
    folder = tmp_path_factory.mktemp("merge")
    clips = {f"{number:02d}": count for number, (_, count) in enumerate(places)}
    sources = [
        write(
            folder / f"{file}.parquet",
            [(f"{n:02d}", range(count)) for n, (place, count) in enumerate(places) if place == file],
        )
        for file in sorted({place for place, _ in places})
    ]
    files = merge(folder, sources, most_rows=most_rows)
    assert [found for file in files for found in file] == [
        row(clip_id, window) for clip_id, count in clips.items() for window in range(count)
    ]
