"""The vectors that others have written, and how far they are from ours."""

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePath

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from l3core.table.read import read_windows

Vectors = Mapping[str, np.ndarray]


def table_vectors(table: Path) -> Vectors:
    """The vectors of a table's clips, float32 `(windows, d)`, by the files' names without endings."""
    windows, vectors = read_windows(table, columns="clip_id")
    return dict(_by_name(np.asarray(windows["clip_id"]), vectors))


def npz_vectors(folder: Path) -> Vectors:
    """The same of a folder of .npz files as openl3 writes them, but those that were cut off."""
    found = {}
    for path in sorted(folder.glob("*.npz")):
        with (
            suppress(zipfile.BadZipFile),
            path.open("rb") as opened,
            np.load(opened, allow_pickle=False) as file,
        ):
            found[path.stem] = file["embedding"]
    return found


def parquet_vectors(folder: Path) -> Vectors:
    """The same of Parquet files whose rows are windows: `path`, `start_s`, `embedding`."""
    files = []
    for path in sorted(folder.glob("*.parquet")):
        with suppress(pa.ArrowInvalid):
            files.append(pq.read_table(path, columns=["path", "start_s", "embedding"]))
    if not files:
        return {}
    rows = pa.concat_tables(files).sort_by([("path", "ascending"), ("start_s", "ascending")])
    values = rows["embedding"].combine_chunks()
    lists = getattr(values, "storage", values)  # of Ray's tensors
    vectors = lists.flatten().to_numpy().reshape(len(rows), -1)
    return dict(_by_name(np.asarray(rows["path"]), vectors))


READERS = {".npz": npz_vectors, ".parquet": parquet_vectors}


def _by_name(paths: np.ndarray, vectors: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Parts of the rows, which are sorted by path."""
    names, starts = np.unique(paths, return_index=True)
    for name, part in zip(names, np.split(vectors, starts[1:])):
        yield PurePath(name).stem, part


def relative_l2(theirs: np.ndarray, ours: np.ndarray) -> float:
    """The largest relative distance of a window's vector from ours.

    Args:
        theirs: `(windows, d)`.
        ours: the same windows.
    """
    distances = np.linalg.norm(theirs - ours, axis=1) / np.linalg.norm(ours, axis=1)
    return float(distances.max())
