"""Exact search: the same as a few lines of NumPy over all vectors, whatever files they lie in."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from l3core.errors import TableError, UsageError
from l3core.search import exact
from l3core.search.exact import nearest
from l3core.search.queries import clip_queries, time_queries
from l3core.search.ranking import Query, Search, nearly_top
from l3core.search.vectors import Partition
from l3core.table.layout import TablePaths, windows_schema
from l3core.table.maintenance import compact
from l3core.table.read import following_commits, read_windows
from l3core.table.state import existing_state
from launch.benchmarks.similar import make_table
from launch.benchmarks.vectors import Part, write_table
from tests.corpus import SPEC, PlainRun, replace_file, write_files

REPO = Path(__file__).parents[3]
SIZE = 8


def partition_of(table, **kwargs):
    paths = TablePaths(str(table))
    state = existing_state(paths)
    return Partition(paths, state, state.fingerprints[0], **kwargs)


def parts_of(generator, names):
    """Clips of one to twelve windows, some silent, some zero, some alike."""
    for name in names:
        count = int(generator.integers(1, 13))
        vectors = generator.standard_normal((count, SIZE)).astype(np.float32)
        vectors[generator.random(count) < 0.1] = 0.0
        yield Part(name, vectors, silent=generator.random(count) < 0.2)


def regroup(table, rows):
    for path in sorted(Path(table).glob("windows/*/*.parquet")):
        windows = pq.read_table(path, partitioning=None).cast(windows_schema(SIZE))
        pq.write_table(windows, path, row_group_size=rows)


def awkward_table(folder, seed):
    """Three files with row groups of seven rows; one clip begins in the first and ends in the third."""
    generator = np.random.default_rng(seed)
    names = [f"{letter}/{number:02d} ä.wav" for letter in "abc" for number in range(6)]
    parts = list(parts_of(generator, names))
    split = [Part("b/split.wav", generator.standard_normal((5, SIZE), np.float32), n) for n in (0, 5)]
    copy = Part("c/copy.wav", parts[13].vectors, silent=parts[13].silent)
    files = [[*parts[:6], split[0]], parts[6:12], [split[1], *parts[12:], copy]]
    write_table(folder, SPEC, [sorted(file, key=lambda part: part.clip_id) for file in files])
    regroup(folder, 7)
    return folder


def clips_that_count(table, silent=False):
    """Those that have a direction."""
    rows, vectors = read_windows(table)
    counted = vectors.any(axis=1) & (~rows["silent"].to_numpy() | silent)
    return sorted({clip for clip, count in zip(rows["clip_id"].to_pylist(), counted) if count})


def unit(vectors):
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)


def brute(table, clip, search, silent=False):
    """The answer by the book: everything in memory, float64, sorted."""
    rows, vectors = read_windows(table)
    vectors = vectors.astype(np.float64)
    kept = ~rows["silent"].to_numpy() | silent
    ids, window = np.array(rows["clip_id"].to_pylist(), object)[kept], rows["window"].to_numpy()[kept]
    vectors = vectors[kept]
    own = vectors[ids == clip]
    query = unit(own[own.any(axis=1)] if search.by == "window" else own.sum(axis=0, keepdims=True))
    if search.of_means:
        names = sorted(set(ids))
        sums = unit(np.array([vectors[ids == name].sum(axis=0) for name in names]))
        units = [(float(s @ query[0]), name, None) for name, s in zip(names, sums) if s.any()]
    else:
        near = (unit(vectors) @ query.T).max(axis=1)
        units = [(s, *key) for s, *key, v in zip(near, ids, window, vectors) if v.any()]
    units = [one for one in units if one[1] != clip or search.itself]
    units.sort(key=lambda one: (-round(one[0], 9), one[1], one[2] or 0))
    if search.per == "clip":
        seen = set()
        units = [one for one in units if one[1] not in seen and not seen.add(one[1])]
    return units[: search.k]


@pytest.mark.parametrize("by", ["mean", "window"])
@pytest.mark.parametrize("per", ["clip", "window"])
@pytest.mark.parametrize("silent", [False, True])
def test_the_nearest_are_those_of_numpy(tmp_path, by, per, silent):
    for seed in range(2):
        table = awkward_table(tmp_path / f"{seed}", seed)
        partition = partition_of(table, silent=silent)
        search = Search(by=by, per=per, k=7, itself=seed == 1)
        clips = clips_that_count(table, silent)
        assert "b/split.wav" in clips
        found = nearest(partition, clip_queries(partition, clips, by=by), search)
        for clip, neighbours in zip(clips, found):
            expected = brute(table, clip, search, silent)
            got = [(n.clip_id, n.window if per == "window" else None) for n in neighbours]
            wanted = [(n[1], n[2] if per == "window" else None) for n in expected]
            assert got == wanted, (seed, clip)
            np.testing.assert_allclose(
                [n.similarity for n in neighbours], [n[0] for n in expected], atol=2e-6
            )


def test_copies_come_in_the_order_of_their_names(tmp_path):
    """In any place of a file and of a matrix product a vector is as near as anywhere else."""
    vectors = np.random.default_rng(0).standard_normal((3, SIZE), np.float32)
    names = [f"{number:03d}.wav" for number in range(200)]
    files = [[Part(name, vectors) for name in names[place::3]] for place in range(3)]
    write_table(tmp_path, SPEC, files)
    partition = partition_of(tmp_path)
    queries = clip_queries(partition, ["100.wav"], by="mean")
    for search in (Search(k=20), Search(k=20, by="window")):
        [found] = nearest(partition, queries, search)
        assert [one.clip_id for one in found] == names[:20]
        assert {one.similarity for one in found} == {found[0].similarity}


def test_a_pair_of_windows_says_which_they_are(tmp_path):
    """Of two clips of unit vectors one pair is alike: the query's window 2 and the other's window 1."""
    eye = np.eye(SIZE, dtype=np.float32)
    write_table(tmp_path, SPEC, [[Part("a.wav", eye[:3]), Part("b.wav", eye[[5, 2, 6]])]])
    partition = partition_of(tmp_path)
    queries = clip_queries(partition, ["a.wav"], by="window")
    [[found]] = nearest(partition, queries, Search(by="window"))
    # a hop is 0.25 s and the first window begins 0.125 s before the recording
    assert found == (1.0, "b.wav", 1, 0.125, 0.375)


def test_a_time_is_the_window_around_it(tmp_path):
    eye = np.eye(SIZE, dtype=np.float32)
    silent = np.array([False, False, True, False])
    write_table(tmp_path, SPEC, [[Part("a.wav", eye[:4], silent=silent), Part("b.wav", eye[4:6])]])
    partition = partition_of(tmp_path)
    # middles of windows are 0, 0.25, 0.5, 0.75
    found = time_queries(partition, "a.wav", [0.0, 0.2, 0.75])
    assert [query.vectors[0].argmax() for query in found] == [0, 1, 3]
    assert [query.start_s[0] for query in found] == [-0.125, 0.125, 0.625]
    with pytest.raises(TableError, match=r"--at 0\.45: 'a\.wav' is silent there"):
        time_queries(partition, "a.wav", [0.45])
    [found] = time_queries(partition_of(tmp_path, silent=True), "a.wav", [0.45])
    assert found.vectors[0].argmax() == 2
    with pytest.raises(TableError, match=r"--at 0\.8: outside of 'a\.wav', which lasts 0\.75 s"):
        time_queries(partition, "a.wav", [0.8])


def test_what_is_no_query(tmp_path):
    one = np.ones((2, SIZE), np.float32)
    parts = [Part("dogs/bark.wav", one), Part("quiet.wav", one, silent=np.ones(2, bool))]
    write_table(tmp_path, SPEC, [[*parts, Part("zero.wav", 0 * one)]], without=["text.wav"])
    partition = partition_of(tmp_path)
    for clip, message in [
        ("dogs/brak.wav", r"no clip 'dogs/brak\.wav' in .*, did you mean dogs/bark\.wav\?"),
        ("elsewhere/bark.wav", r"did you mean dogs/bark\.wav"),
        ("xyz", r"no clip 'xyz' in \S+$"),
        ("text.wav", r"clip 'text\.wav' has no windows \(unreadable: not audio\)"),
        ("quiet.wav", r"'quiet\.wav' has only silent windows: --silent"),
        ("zero.wav", r"'zero\.wav' has no direction"),
    ]:
        with pytest.raises(TableError, match=message):
            clip_queries(partition, [clip], by="mean")


def test_only_files_of_the_commit_are_read_and_a_damaged_one_is_named(tmp_path):
    table = awkward_table(tmp_path / "table", 0)
    first, *_ = sorted(table.glob("windows/*/*.parquet"))
    (first.parent / "stray.parquet").write_bytes(b"no Parquet")
    partition = partition_of(table)
    queries = clip_queries(partition, ["a/00 ä.wav"], by="mean")
    assert len(nearest(partition, queries, Search())[0]) == 10
    content = bytearray(first.read_bytes())
    content[: len(content) // 2] = bytes(len(content) // 2)
    first.write_bytes(content)
    with pytest.raises(TableError, match=rf"{first.name} cannot be read, see l3flow verify"):
        nearest(partition, queries, Search())


def test_a_commit_in_between_is_followed(tmp_path):
    corpus, table = write_files(tmp_path / "corpus", 3), tmp_path / "table"
    PlainRun(corpus, table, "run-1").all()
    replace_file(corpus / "001.wav", 1.5, seed=9)
    PlainRun(corpus, table, "run-2").all()
    paths = TablePaths(str(table))
    tries = []

    def search(state):
        tries.append(state.commits)
        partition = Partition(paths, state, state.fingerprints[0])
        if len(tries) == 1:
            assert compact(paths, partition.fingerprint, "run-3") is not None
        return nearest(partition, [Query("ones", None, np.ones((1, SIZE), "f4"), np.zeros(1))], Search())

    [found] = following_commits(paths, search)
    assert tries == [2, 3]
    assert sorted(one.clip_id for one in found) == ["000.wav", "001.wav", "002.wav"]


def test_more_windows_than_one_reading_takes_are_several(tmp_path, monkeypatch):
    partition = partition_of(awkward_table(tmp_path, 5))
    search = Search(by="window", per="window", k=5)
    clips = clips_that_count(tmp_path)
    queries = clip_queries(partition, clips, by="window")
    together = nearest(partition, queries, search)
    longest = max(len(query.vectors) for query in queries)
    monkeypatch.setattr(exact, "MOST_WINDOWS", longest)
    assert len(list(exact._rounds(queries))) > 4
    assert nearest(partition, queries, search) == together
    monkeypatch.setattr("l3core.search.queries.MOST_WINDOWS", 9)
    with pytest.raises(UsageError, match=r"b/split\.wav has 10 windows, a query may have 9: --by mean"):
        clip_queries(partition, ["b/split.wav"], by="window")
    monkeypatch.setattr("l3core.search.queries.MOST_WINDOWS", 100)
    monkeypatch.setattr("l3core.search.queries.MOST_BYTES", 8 * SIZE * 10)
    clips = ["c/copy.wav", "b/00 ä.wav", "a/00 ä.wav", "a/01 ä.wav", "a/02 ä.wav"]
    with pytest.raises(UsageError, match=r"windows, at once there may be 10: fewer clips"):
        clip_queries(partition, clips, by="window")


def test_what_is_nearly_as_large_is_looked_at_again():
    numbers = np.array([1, 3, 2 + 1e-6, 3, 2, -np.inf, 2], np.float32)
    assert nearly_top(numbers, 2, -np.inf).tolist() == [1, 3]
    assert nearly_top(numbers, 3, -np.inf).tolist() == [1, 2, 3, 4, 6]
    assert nearly_top(numbers, 9, 2).tolist() == [1, 2, 3, 4, 6]
    assert nearly_top(numbers, 9, 2 + 5e-6).tolist() == [1, 2, 3, 4, 6]
    assert nearly_top(numbers, 9, 2.1).tolist() == [1, 3]
    assert nearly_top(numbers, 9, -np.inf).tolist() == [0, 1, 2, 3, 4, 6]


PEAK = """
import sys
from launch.benchmarks.similar import search_alone
from launch.memory import peak_rss_bytes
search_alone(int(sys.argv[1]), sys.argv[2])
print(peak_rss_bytes())
"""


def peak_mb(count, table):
    environment = os.environ | {"PYTHONPATH": str(REPO)}
    command = [sys.executable, "-c", PEAK, str(count), str(table)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout) / 1e6


def test_memory_does_not_grow_with_the_table(tmp_path):
    """From 184 to 442 MB of vectors; of fewer Arrow's pools do not come to their full size."""
    make_table(tmp_path / "small", 2_500)
    make_table(tmp_path / "large", 6_000)
    assert peak_mb(6_000, tmp_path / "large") - peak_mb(2_500, tmp_path / "small") < 70
