"""The clips of a map: the means of pandas, and the same sample however the table lies."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from l3core.errors import TableError
from l3core.maps.clips import clip_means, default_sample, draw_rows, map_clips
from l3core.maps.placing import pca
from l3core.search.vectors import Partition
from l3core.table.layout import TablePaths, windows_schema
from l3core.table.maintenance import compact
from l3core.table.state import existing_state
from launch.benchmarks.similar import make_table
from launch.benchmarks.vectors import Part, write_table
from tests.corpus import SPEC

REPO = Path(__file__).parents[3]
SIZE = 8


def partition_of(table):
    paths = TablePaths(str(table))
    state = existing_state(paths)
    return Partition(paths, state, state.fingerprints[0])


def made(folder, *, silent=0.2, regrouped=True):
    """Three files, row groups of seven rows, a clip in two files, and one that is silent."""
    generator = np.random.default_rng(3)
    parts = []
    for letter in "abc":
        for number in range(6):
            vectors = generator.standard_normal((int(generator.integers(1, 13)), SIZE)).astype(
                np.float32
            )
            quiet = generator.random(len(vectors)) < silent
            quiet[0] = False
            parts.append(Part(f"{letter}/{number} ä.wav", vectors, silent=quiet))
    split = [Part("b/split.wav", generator.standard_normal((5, SIZE), np.float32), n) for n in (0, 5)]
    mute = Part("c/mute.wav", np.ones((3, SIZE), np.float32), silent=np.ones(3, bool))
    files = [[*parts[:6], split[0]], [*parts[6:12], mute], [split[1], *parts[12:]]]
    write_table(folder, SPEC, [sorted(file, key=lambda part: part.clip_id) for file in files])
    for path in sorted(folder.glob("windows/*/*.parquet")) if regrouped else ():
        windows = pq.read_table(path, partitioning=None).cast(windows_schema(SIZE))
        pq.write_table(windows, path, row_group_size=7)
    return folder


def means_of_pandas(table):
    """Clip id -> mean of the windows that are not silent."""
    frames = [pd.read_parquet(path) for path in sorted(Path(table).glob("windows/*/*.parquet"))]
    windows = pd.concat(frames)
    heard = windows[~windows["silent"]]
    return heard.groupby("clip_id")["embedding"].apply(lambda rows: np.stack(rows).mean(axis=0))


def test_means_are_those_of_pandas(tmp_path):
    table = made(tmp_path / "table")
    found = map_clips(partition_of(table), 100)
    expected = means_of_pandas(table)
    clips = found.rows["clip_id"].to_pylist()
    assert sorted(clips) == sorted(expected.index)
    assert "c/mute.wav" not in clips
    assert (found.available, found.silent) == (20, 1)
    np.testing.assert_allclose(found.means, np.stack(expected[clips]), rtol=1e-5, atol=1e-6)
    assert found.means.dtype == np.float32


def test_clips_that_are_not_asked_for_are_not_in_the_means(tmp_path):
    table = made(tmp_path / "table")
    clips = ["b/split.wav", "c/mute.wav", "a/3 ä.wav"]
    means, counts = clip_means(partition_of(table), clips)
    expected = means_of_pandas(table)
    assert counts.tolist()[:2] == [10, 0]
    np.testing.assert_allclose(means[[0, 2]], np.stack(expected[[clips[0], clips[2]]]), rtol=1e-5)


def test_a_sample_depends_on_ids_and_seed_alone(tmp_path):
    table = made(tmp_path / "table", regrouped=False)

    def drawn(sample, seed):
        rows, available = draw_rows(partition_of(table), sample, seed=seed)
        assert available == 20
        return rows["clip_id"].to_pylist()

    seven = drawn(7, 0)
    assert len(set(seven)) == 7
    assert seven == drawn(7, 0)
    assert drawn(12, 0)[:7] == seven  # a larger one has the smaller one
    assert drawn(7, 1) != seven
    assert sorted(drawn(20, 0)) == sorted(drawn(50, 5))
    compact(TablePaths(str(table)), existing_state(TablePaths(str(table))).fingerprints[0], "run-9")
    assert len(list(table.glob("windows/*/*.parquet"))) < 3
    assert drawn(7, 0) == seven


def test_a_sample_has_everybody_with_the_same_chance(tmp_path):
    """20 clips, 5 of them drawn 400 times: each 100 times, give or take five deviations of 8.7."""
    partition = partition_of(made(tmp_path / "table"))
    counts = pd.Series(
        clip
        for seed in range(400)
        for clip in draw_rows(partition, 5, seed=seed)[0]["clip_id"].to_pylist()
    ).value_counts()
    assert len(counts) == 20
    assert counts.between(57, 143).all()


def test_nothing_but_silence_is_no_map(tmp_path):
    mute = Part("mute.wav", np.ones((3, SIZE), np.float32), silent=np.ones(3, bool))
    write_table(tmp_path / "table", SPEC, [[mute]])
    with pytest.raises(TableError, match="nothing to show: no clip with a sound"):
        map_clips(partition_of(tmp_path / "table"), 10)


def test_vectors_that_are_no_numbers_are_named(tmp_path):
    bad = np.ones((2, SIZE), np.float32)
    bad[1, 3] = np.nan
    parts = [Part("bad.wav", bad), Part("good.wav", np.ones((2, SIZE), np.float32))]
    write_table(tmp_path / "table", SPEC, [parts])
    with pytest.raises(TableError, match=r"vectors of 1 clips hold NaN or infinity, 'bad.wav'"):
        map_clips(partition_of(tmp_path / "table"), 10)


def test_large_numbers_are_numbers(tmp_path):
    large = np.full((1, SIZE), 1e38, np.float32)
    write_table(tmp_path / "table", SPEC, [[Part("a.wav", large), Part("b.wav", -large)]])
    found = map_clips(partition_of(tmp_path / "table"), 10)
    assert np.abs(found.means).tolist() == [large[0].tolist()] * 2
    points = pca(found.means).points
    assert np.isfinite(points).all()
    assert np.ptp(points[:, 0]) > 1e38


CHILD = """
import resource, sys
from l3core.maps.clips import map_clips
from launch.benchmarks.similar import open_partition
partition = open_partition(sys.argv[1])
map_clips(partition, 1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
clips = map_clips(partition, 100)
print(len(clips.means), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_memory_is_that_of_the_sample(tmp_path):
    """A table of 184 MB in row groups of 32 MB, whose 100 clips take 0.2 MB."""
    make_table(tmp_path / "table", 2_500)
    assert default_sample(partition_of(tmp_path / "table")) == 20_000
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path / "table")],
        cwd=REPO,
        env=os.environ | {"PYTHONPATH": str(REPO)},
        capture_output=True,
        text=True,
        check=True,
    )
    clips, grown = json.loads(f"[{done.stdout.replace(' ', ',')}]")
    assert clips == 100
    assert grown < 100
