"""Nearest neighbours: how fast all vectors are gone through beside pyarrow's reading, and the index."""

import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds

from l3core.search.exact import nearest
from l3core.search.queries import clip_queries
from l3core.search.ranking import Search
from l3core.search.vectors import Partition
from l3core.spec import EmbeddingSpec
from l3core.table.layout import TablePaths, windows_folder
from l3core.table.state import choose_spec, existing_state
from launch.benchmarks.alone import answer, in_process
from launch.benchmarks.figures import Figure, timed
from launch.benchmarks.vectors import Part, write_table

SPEC = EmbeddingSpec(weights="random:0", embedding_size=512)
CLIPS, CLIP_WINDOWS, CLIPS_IN_FILE = 15_000, 36, 3_000
CENTRES = 200
QUERIES = (1, 20)
TURNS = 3
BATCH_ROWS = 2048
SEARCHES = {"clips": Search(), "windows": Search(by="window", per="window")}


def similar(folder: Path, *, scale: float = 1.0) -> Iterator[Figure]:
    """Search a table of a gigabyte, by turns with reading it, and in processes of their own.

    Args:
        folder: for tables.
        scale: of their size, to try it out.
    """
    count = max(20, round(CLIPS * scale))
    table = folder / "similar"
    make_table(table, count)
    partition = open_partition(table)
    megabytes = count * CLIP_WINDOWS * SPEC.size * 4 / 1e6
    note = f"{count:,} clips, {count * CLIP_WINDOWS:,} windows of {SPEC.size}"
    yield from _against_reading(partition, megabytes, note)
    smaller = folder / "similar-smaller"
    make_table(smaller, count // 4)
    for place, clips in ((smaller, count // 4), (table, count)):
        found = in_process("launch.benchmarks.similar", "search", clips, place)
        peak = found["peak_mb"]
        yield Figure("similar, peak memory", peak, "MB", f"{clips * CLIP_WINDOWS:,} windows")
    if find_spec("faiss") is not None:
        yield from index_figures(partition, note)


def _against_reading(partition: Partition, megabytes: float, note: str) -> Iterator[Figure]:
    ids = [clip_name(number) for number in range(max(QUERIES))]
    for name, search in SEARCHES.items():
        for count in QUERIES:
            read_s, search_s = [], []
            chosen = clip_queries(partition, ids[:count], by="mean")
            for _ in range(TURNS):
                read_s.append(timed(partial(_read, partition)))
                search_s.append(timed(partial(nearest, partition, chosen, search)))
            what = f"{count} against all {name}, {note}"
            yield Figure("similar", megabytes / min(search_s), "MB/s", what)
            ratio = float(np.median(read_s) / np.median(search_s))
            yield Figure("similar / pyarrow reads", ratio, "", what)


def index_figures(partition: Partition, note: str) -> Iterator[Figure]:
    """Recall, size and speed of each kind of index of a table's clips; needs the extra `index`."""
    from l3core.search.approximate import nearest_by_index
    from l3core.search.building import STORED, build_index

    queries = clip_queries(partition, [clip_name(0)], by="mean")
    for stored in STORED:
        facts = asdict(build_index(partition, of="clips", stored=stored))
        search_s = timed(partial(nearest_by_index, partition, queries, Search()))
        what = f"{stored}, {facts['probes']} of {facts['lists']} lists, {note}"
        yield Figure("index, recall@10", facts["recall"], "", what)
        yield Figure("index, size", facts["index_bytes"] / 1e6, "MB", what)
        yield Figure("similar --index", 1000 * search_s, "ms", what)


def _read(partition: Partition) -> None:
    """What pyarrow does fastest: all cores read all files' vectors, in batches that a cache holds."""
    windows = ds.dataset(partition.paths.at(windows_folder(partition.fingerprint)), format="parquet")
    for _ in windows.to_batches(columns=["embedding"], batch_size=BATCH_ROWS):
        continue


def clip_name(number: int) -> str:
    """Id of a clip."""
    return f"{number:08d}.wav"


def open_partition(table: Path) -> Partition:
    """The only one of a table."""
    paths = TablePaths(os.fspath(table))
    state = existing_state(paths)
    return Partition(paths, state, choose_spec(paths, state, None))


def make_table(folder: Path, count: int) -> None:
    """A table of clips around some centres, as recordings of some kinds are."""
    parts = _clips(count)
    files = (islice(parts, CLIPS_IN_FILE) for _ in range(0, count, CLIPS_IN_FILE))
    write_table(folder, SPEC, files)


def _clips(count: int) -> Iterator[Part]:
    generator = np.random.default_rng(0)
    centres = generator.standard_normal((CENTRES, SPEC.size), np.float32)
    for number in range(count):
        own = centres[number % CENTRES] + generator.standard_normal(SPEC.size, np.float32)
        vectors = own + generator.standard_normal((CLIP_WINDOWS, SPEC.size), np.float32)
        yield Part(clip_name(number), np.maximum(vectors, 0))


def search_alone(count: int, folder: Path) -> None:
    """Both searches of a table of so many clips."""
    partition = open_partition(folder)
    queries = clip_queries(partition, [clip_name(count // 2)], by="mean")
    for search in SEARCHES.values():
        nearest(partition, queries, search)


if __name__ == "__main__":
    answer({"search": search_alone}, *sys.argv[1:])
