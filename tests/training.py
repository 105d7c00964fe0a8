"""A table to train on, for the tests of what trains."""

from pathlib import Path

import pyarrow.parquet as pq

from l3core.table.layout import windows_schema
from tests.corpus import PlainRun, replace_file, write_mixed

AWKWARD = {"a b.wav": 2.0, 'it\'s "x".wav': 1.0, "k=v/50%.wav": 1.3, "müßig ä.wav": 0.7}


def make_table(folder):
    """Several files of row groups of 7; silent, cut and unreadable clips, and ids that need quotes."""
    corpus, table = write_mixed(folder / "corpus"), folder / "table"
    PlainRun(corpus, table, "run-1").all()
    for number, (name, seconds) in enumerate(AWKWARD.items()):
        (corpus / name).parent.mkdir(exist_ok=True)
        replace_file(corpus / name, seconds, seed=70 + number)
    PlainRun(corpus, table, "run-2").all()
    assert regroup(table, 7) > 4
    return table


def regroup(table, rows):
    """Write windows files again with so many rows in a row group; returns how many there are."""
    groups = 0
    for path in sorted(Path(table).glob("windows/*/*.parquet")):
        windows = pq.read_table(path, partitioning=None)
        size = windows.schema.field("embedding").type.list_size
        pq.write_table(windows.cast(windows_schema(size)), path, row_group_size=rows)
        groups += pq.ParquetFile(path).num_row_groups
    return groups


def rows_of(metadata, vectors):
    """Rows of windows: (metadata ..., vector bytes)."""
    return [(*row.values(), vector.tobytes()) for row, vector in zip(metadata.to_pylist(), vectors)]
