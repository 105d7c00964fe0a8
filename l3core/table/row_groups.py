"""Windows files of a commit, opened row group by row group."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from l3core import storage
from l3core.table.damage import naming_damage
from l3core.table.layout import TablePaths
from l3core.table.places import first_there, places_of
from l3core.table.state import TableState, read_spec


class OpenFile(NamedTuple):
    """A Parquet file that is open.

    Attributes:
        parquet: reads it.
        file: its bytes.
    """

    parquet: pq.ParquetFile
    file: BinaryIO


@contextmanager
def opened(paths: TablePaths, state: TableState, path: str) -> Iterator[OpenFile]:
    """A Parquet file of the state, `path` below the table.

    Raises:
        FileNotFoundError: a later commit has taken it away, or it is missing.
        DamagedError: it is.
    """
    with (
        naming_damage(paths.at(path)),
        first_there(places_of(paths, state, path), storage.reading) as file,
    ):
        yield OpenFile(pq.ParquetFile(file), file)


def vector_size(paths: TablePaths, state: TableState, fingerprint: str) -> int:
    """Numbers in a vector of a spec, as its windows tell or, where it has none, its description."""
    for path in state.windows(fingerprint):
        facts = state.files[path]
        if facts["rows"] and "vector_bytes" in facts:
            return int(facts["vector_bytes"] // (4 * facts["rows"]))
        with opened(paths, state, path) as (parquet, _):
            return int(parquet.schema_arrow.field("embedding").type.list_size)
    described = None
    if state.pending is not None and state.pending["record"].get("fingerprint") == fingerprint:
        described = state.pending["spec"]  # its file may not be there yet
    return (described or read_spec(paths, fingerprint))["spec"].get("embedding_size") or 0


def groups_with(parquet: pq.ParquetFile, clips: pa.Array | None) -> list[int]:
    """Row groups that may hold some of the clips, which are sorted; all of them for None."""
    every = range(parquet.num_row_groups)
    if clips is None:
        return list(every)
    names = clips.to_numpy(zero_copy_only=False)
    column = parquet.schema_arrow.get_field_index("clip_id")
    return [group for group in every if _may_hold(parquet.metadata.row_group(group), column, names)]


def _may_hold(group: pq.RowGroupMetaData, column: int, names: np.ndarray) -> bool:
    statistics = group.column(column).statistics
    if statistics is None or not statistics.has_min_max:
        return True
    # Parquet orders strings by their bytes in UTF-8, Python by code points: the same order
    first = np.searchsorted(names, statistics.min)
    return bool(first < len(names) and names[first] <= statistics.max)


def matrix(vectors: pa.ChunkedArray | pa.FixedSizeListArray) -> np.ndarray:
    """Vectors as float32 `(rows, d)`: Arrow's own memory where they are of one piece."""
    if isinstance(vectors, pa.ChunkedArray):
        vectors = vectors.chunk(0) if vectors.num_chunks == 1 else vectors.combine_chunks()
    return vectors.flatten().to_numpy(zero_copy_only=False).reshape(-1, vectors.type.list_size)
