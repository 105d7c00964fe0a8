"""Building an index of nearest neighbours: vectors sorted into lists around centres, of which a search
reads a few (FAISS's IVF).

The table is read twice: for a sample, from which the centres come, and for all vectors. The index is in
memory while it is built, and beside it the sample and what is being read: `needed_bytes`.
"""

import io
import secrets
from datetime import datetime, timezone
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from l3core import storage
from l3core.checksums import checksum_of
from l3core.errors import TableError
from l3core.machine import usable_cores
from l3core.search.clips import count_embedded
from l3core.search.index_files import (
    FORMAT,
    KEYS,
    IndexFacts,
    changing,
    faiss_module,
    place_of,
    publish,
)
from l3core.search.sampling import (
    QUERIES,
    SAMPLE_BYTES,
    Report,
    Sample,
    Truth,
    clip_of_rows,
    draw_sample,
    indexed_rows,
)
from l3core.search.vectors import Partition, Rows
from l3core.table.row_groups import vector_size

# Numbers of a vector as they are stored: bytes each, and FAISS's name.
STORED = {"f32": (4, None), "f16": (2, "QT_fp16"), "i8": (1, "QT_8bit")}
SAMPLES_A_LIST = 39  # of fewer FAISS warns
NEARLY = 0.01  # of a recall
KEYS_A_GROUP = 100_000
OVERHEAD_BYTES = 400 * 2**20


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
        RunError: no file can be written there.
    """
    name = f"{of}-{partition.commit:08d}-{secrets.token_hex(4)}"
    with changing(partition):
        storage.write_bytes(place_of(partition, f"{name}.tmp"), b"")  # can it? before anything is read
        storage.remove(place_of(partition, f"{name}.tmp"))
        return _build(partition, name, of, stored, recall, report)


def _build(
    partition: Partition, name: str, of: str, stored: str, recall: float, report: Report
) -> IndexFacts:
    faiss = faiss_module()
    faiss.omp_set_num_threads(usable_cores())
    sample = draw_sample(partition, of, report)
    if not len(sample.vectors):
        raise TableError(f"{partition.paths.root} has nothing to index: no {of} that are not silent")
    index = _trained(faiss, sample.vectors, count_vectors(partition, of), stored)
    truth = Truth(Sample(sample.vectors[:QUERIES].copy(), sample.clips[:QUERIES]))
    del sample
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
    ids = pa.array(clip_of_rows(rows), pa.string())
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
