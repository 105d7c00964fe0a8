"""Building an index of nearest neighbours: vectors sorted into lists around centres, of which a search
reads a few (FAISS's IVF).

The table is read twice: for a sample, from which the centres come, and for all vectors. The index is in
memory while it is built, and beside it the sample and what is being read: `needed_bytes`.
"""

import io
import secrets
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from l3core import storage
from l3core.checksums import checksum_of
from l3core.errors import TableError
from l3core.machine import usable_cores
from l3core.search.approximate import search_index
from l3core.search.clips import clips_in_several_files, count_embedded
from l3core.search.index_files import FORMAT, KEYS, IndexFacts, faiss_module, place_of, publish
from l3core.search.vectors import (
    Group,
    Partition,
    Rows,
    directions,
    map_groups,
    read_group,
    sum_group,
    whole_sums,
)
from l3core.table.read import vector_size

# Numbers of a vector as they are stored: bytes each, and FAISS's name.
STORED = {"f32": (4, None), "f16": (2, "QT_fp16"), "i8": (1, "QT_8bit")}
SAMPLE_BYTES = 256 * 2**20
SAMPLES_A_LIST = 39  # of fewer FAISS warns
QUERIES = 100
NEIGHBOURS = 10
NEARLY = 0.01  # of a recall
KEYS_A_GROUP = 100_000
# Row groups that are in memory at once, twice as many as threads that read them.
READERS = 2
OVERHEAD_BYTES = 400 * 2**20

# Called with what is done and how many vectors are.
Report = Callable[[str, int], None]


class Sample(NamedTuple):
    """Vectors drawn from all with equal chances.

    Attributes:
        vectors: float32 `(sample, d)` of length 1.
        clips: ids of their clips, object `(sample,)`.
    """

    vectors: np.ndarray
    clips: np.ndarray


def needed_bytes(partition: Partition, of: str, stored: str) -> int:
    """Memory that building takes, at most."""
    size = vector_size(partition.paths, partition.state, partition.fingerprint)
    count = count_vectors(partition, of)
    sample = min(SAMPLE_BYTES, 4 * size * count)
    # lists grow by doubling, and each vector has its number
    return 2 * count * (size * STORED[stored][0] + 8) + 4 * sample + OVERHEAD_BYTES


def count_vectors(partition: Partition, of: str) -> int:
    """Clips or windows that there are, silent ones among them."""
    if of == "clips":
        return count_embedded(partition)
    state = partition.state
    return sum(state.files[path]["rows"] for path in state.windows(partition.fingerprint))


def build_index(
    partition: Partition,
    *,
    of: str,
    stored: str = "f32",
    recall: float = 0.95,
    report: Report = lambda what, done: None,
) -> IndexFacts:
    """Build an index and let it be the partition's.

    Args:
        partition: of which table and spec.
        of: `clips` or `windows`.
        stored: how numbers are stored, of `STORED`.
        recall: share of the ten nearest that searches shall find. As many lists are read as that takes
            for a sample of the vectors, without those of their own clips.
        report: told how far it is.

    Raises:
        TableError: nothing to index, or a damaged file.
        FileNotFoundError: a later commit has taken a file away.
    """
    faiss = faiss_module()
    faiss.omp_set_num_threads(usable_cores())
    sample = draw_sample(partition, of, report)
    if not len(sample.vectors):
        raise TableError(f"{partition.paths.root} has nothing to index: no {of} that are not silent")
    index = _trained(faiss, sample.vectors, count_vectors(partition, of), stored)
    truth = Truth(Sample(sample.vectors[:QUERIES].copy(), sample.clips[:QUERIES]))
    del sample
    name = f"{of}-{partition.commit:08d}-{secrets.token_hex(4)}"
    _fill(partition, of, index, truth, place_of(partition, f"{name}.parquet"), report)
    probes, reached = _probes(index, truth, recall)
    place = place_of(partition, f"{name}.faiss")
    with storage.writing(place) as file:
        faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))
    with storage.reading(place) as file:
        checksum, size_bytes = checksum_of(file), file.seek(0, io.SEEK_END)
    facts = IndexFacts(
        format=FORMAT,
        fingerprint=partition.fingerprint,
        of=of,
        commit=partition.commit,
        vectors=index.ntotal,
        size=index.d,
        stored=stored,
        lists=index.nlist,
        probes=probes,
        recall=reached,
        queries=len(truth.queries.vectors),
        index=f"{name}.faiss",
        keys=f"{name}.parquet",
        index_bytes=size_bytes,
        checksum=checksum,
        built_at=datetime.now(timezone.utc).isoformat(),
    )
    publish(partition, facts)
    return facts


def draw_sample(partition: Partition, of: str, report: Report = lambda what, done: None) -> Sample:
    """A fair sample in a random order: of numbers drawn for all vectors those with the smallest."""
    size = vector_size(partition.paths, partition.state, partition.fingerprint)
    most = max(QUERIES, SAMPLE_BYTES // (4 * max(1, size)))
    generator = np.random.default_rng(0)
    drawn: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    held = done = 0
    for rows in indexed_rows(partition, of):
        drawn.append((generator.random(len(rows.vectors)), rows.vectors, _clip_of_rows(rows)))
        held += len(rows.vectors)
        done += len(rows.vectors)
        if held > 2 * most:
            drawn = [_smallest(drawn, most)]
            held = most
        report("read", done)
    if not drawn:
        return Sample(np.empty((0, size), np.float32), np.empty(0, object))
    return Sample(*_smallest(drawn, most)[1:])


def _smallest(
    drawn: list[tuple[np.ndarray, np.ndarray, np.ndarray]], most: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    numbers, vectors, clips = (np.concatenate(parts) for parts in zip(*drawn))
    order = np.argsort(numbers)[:most]
    return numbers[order], vectors[order], clips[order]


def indexed_rows(partition: Partition, of: str) -> Iterator[Rows]:
    """What is indexed, in the order of the files; vectors have length 1, those of no direction lack.

    Of clip means each is a run of its own, without window and time.
    """
    if of == "clips":
        several = clips_in_several_files(partition)
        groups = map_groups(partition, partial(sum_group, partition, several=several), threads=READERS)
        for sums in whole_sums(groups, several):
            count = len(sums.whole)
            nothing, silent = np.full(count, np.nan), np.zeros(count, bool)
            yield from _kept(Rows(sums.whole, np.arange(count), nothing, nothing, silent, sums.sums))
    else:
        for parts in map_groups(partition, partial(_read, partition), threads=READERS):
            for rows in parts:
                yield from _kept(rows)


def _read(partition: Partition, group: Group) -> list[Rows]:
    return list(read_group(partition, group))


def _kept(rows: Rows) -> Iterator[Rows]:
    vectors = directions(rows.vectors).astype(np.float32)
    known = vectors.any(axis=1)
    if not known.any():
        return
    counts = np.add.reduceat(known.astype(np.int64), rows.begins)
    clips = [clip for clip, count in zip(rows.clips, counts) if count]
    begins = np.cumsum([0, *counts[counts > 0][:-1]])
    yield Rows(
        clips, begins, rows.window[known], rows.start_s[known], rows.silent[known], vectors[known]
    )


def _clip_of_rows(rows: Rows) -> np.ndarray:
    return np.repeat(np.array(rows.clips, object), rows.ends - rows.begins)


def _trained(faiss: Any, sample: np.ndarray, count: int, stored: str) -> Any:
    size = sample.shape[1]
    lists = max(1, min(round(count**0.5), len(sample) // SAMPLES_A_LIST))
    quantizer, kind = faiss.IndexFlatIP(size), STORED[stored][1]
    if kind is None:
        index = faiss.IndexIVFFlat(quantizer, size, lists, faiss.METRIC_INNER_PRODUCT)
    else:
        kind = getattr(faiss.ScalarQuantizer, kind)
        index = faiss.IndexIVFScalarQuantizer(quantizer, size, lists, kind, faiss.METRIC_INNER_PRODUCT)
    index.cp.min_points_per_centroid = 1  # it would warn of a tiny table on the screen
    index.train(sample)
    return index


class Truth:
    """The exact neighbours of some vectors, as all vectors go by.

    Args:
        queries: vectors; those of a query's own clip are not its neighbours.

    Attributes:
        queries: the same.
        own: clip id -> places of its vectors, of the queries' clips.
        places: int64 `(queries, NEIGHBOURS)`; -1 where there are no more.
    """

    def __init__(self, queries: Sample) -> None:
        shape = len(queries.vectors), NEIGHBOURS
        self.queries = queries
        self.own: dict[str, list[int]] = {clip: [] for clip in queries.clips}
        self.places = np.full(shape, -1, np.int64)
        self._similarities = np.full(shape, -np.inf, np.float32)
        self._count = 0

    def add(self, rows: Rows) -> None:
        """The next vectors."""
        found = self.queries.vectors @ rows.vectors.T
        for clip, begin, end in zip(rows.clips, rows.begins, rows.ends):
            if clip in self.own:
                self.own[clip] += range(self._count + int(begin), self._count + int(end))
                found[self.queries.clips == clip, begin:end] = -np.inf
        numbers = np.arange(self._count, self._count + len(rows.vectors))
        self._count += len(numbers)
        similarities = np.concatenate([self._similarities, found], axis=1)
        places = np.concatenate([self.places, np.tile(numbers, (len(found), 1))], axis=1)
        best = np.argpartition(-similarities, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
        self._similarities = np.take_along_axis(similarities, best, axis=1)
        self.places = np.where(
            self._similarities > -np.inf, np.take_along_axis(places, best, axis=1), -1
        )

    def recall(self, index: Any, probes: int) -> float:
        """Share of the exact neighbours that an index finds; 1 if there are none."""
        hits = 0
        for vector, clip, exact in zip(self.queries.vectors, self.queries.clips, self.places):
            _, found = search_index(
                index, vector[np.newaxis], NEIGHBOURS, probes=probes, without=self.own[clip]
            )
            hits += len({*found[0].tolist()} & {*exact[exact >= 0].tolist()})
        return hits / max(1, int((self.places >= 0).sum())) if (self.places >= 0).any() else 1.0


def _fill(partition: Partition, of: str, index: Any, truth: Truth, keys: str, report: Report) -> None:
    with (
        storage.writing(keys) as file,
        pq.ParquetWriter(file, KEYS, compression="zstd", write_page_checksum=True) as writer,
    ):
        waiting: list[pa.RecordBatch] = []
        for rows in indexed_rows(partition, of):
            truth.add(rows)
            index.add(rows.vectors)
            waiting.append(_key_batch(rows, of))
            if sum(map(len, waiting)) >= KEYS_A_GROUP:
                writer.write_table(pa.Table.from_batches(waiting))
                waiting = []
            report("indexed", index.ntotal)
        if waiting:
            writer.write_table(pa.Table.from_batches(waiting))


def _key_batch(rows: Rows, of: str) -> pa.RecordBatch:
    ids = pa.array(_clip_of_rows(rows), pa.string())
    if of == "clips":
        columns = [ids, pa.nulls(len(ids), pa.int32()), pa.nulls(len(ids), pa.float64())]
    else:
        columns = [ids, pa.array(rows.window, pa.int32()), pa.array(rows.start_s)]
    return pa.RecordBatch.from_arrays(columns, schema=KEYS)


def _probes(index: Any, truth: Truth, recall: float) -> tuple[int, float]:
    """(how many lists are read so that the recall is reached, the recall): 1, 2, 4, ... or all.

    Where even all do not reach it, for numbers are stored coarsely, as few as come near to what all do.
    """
    tried = [(1, truth.recall(index, 1))]
    while tried[-1][1] < recall and tried[-1][0] < index.nlist:
        probes = min(2 * tried[-1][0], index.nlist)
        tried.append((probes, truth.recall(index, probes)))
    enough = recall if tried[-1][1] >= recall else max(reached for _, reached in tried) - NEARLY
    return next(one for one in tried if one[1] >= enough)
