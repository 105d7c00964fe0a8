"""Labels of a table's clips: those of a known dataset, or a CSV of one's own."""

from collections.abc import Mapping
from typing import Any

from l3core import storage
from l3core.datasets import Dataset, DatasetError, read_dataset
from l3core.datasets.tables import parse_csv
from l3core.errors import UsageError
from l3core.features import join_clips
from l3core.search.vectors import Partition
from l3core.table.ledger import read_ledger

# column -> clip id -> value
Labels = dict[str, dict[str, Any]]


def dataset_labels(partition: Partition, dataset: Dataset, root: str) -> Labels:
    """Label, fold and source of the clips of a dataset that a table has.

    Raises:
        DatasetError: no such dataset there, or the table has none of its clips.
    """
    copy = read_dataset(dataset, root, allow_partial=True)
    rows = read_ledger(partition.paths, partition.state.ledger(partition.fingerprint))
    found = join_clips(copy.clips, rows)
    pairs = [(clip_id, clip) for clip_id, clip in zip(found, copy.clips) if clip_id is not None]
    if not pairs:
        raise DatasetError(f"{copy.root}: {partition.paths.root} has none of its {len(found)} clips")
    return {
        "label": {clip_id: clip.label for clip_id, clip in pairs},
        "fold": {clip_id: clip.fold for clip_id, clip in pairs},
        "source": {clip_id: clip.source for clip_id, clip in pairs},
    }


def read_labels(uri: str) -> Labels:
    """Columns of a CSV that has one named clip_id; those that hold nothing but numbers are numbers.

    Raises:
        UsageError: it is no such CSV.
    """
    try:
        text = storage.read_bytes(uri).decode("utf-8")
    except FileNotFoundError:
        raise UsageError(f"{uri} is not there") from None
    except UnicodeDecodeError:
        raise UsageError(f"{uri} is no text in UTF-8") from None
    header, *rows = parse_csv(text, name=uri) or [[]]
    if "clip_id" not in header or len(header) < 2 or len(set(header)) < len(header):
        raise UsageError(
            f"{uri} needs a first line with clip_id and other columns, each once, got "
            f"{', '.join(header)}"
        )
    for row in rows:
        if len(row) != len(header):
            raise UsageError(f"{uri} needs {len(header)} values in each row, got {len(row)}: {row[0]}")
    ids = [row[header.index("clip_id")] for row in rows]
    return {
        name: _typed({clip: row[place] for clip, row in zip(ids, rows) if row[place]})
        for place, name in enumerate(header)
        if name != "clip_id"
    }


def _typed(values: Mapping[str, str]) -> dict[str, Any]:
    for kind in (int, float):
        try:
            return {clip: kind(value) for clip, value in values.items()}
        except ValueError:
            continue
    return dict(values)
