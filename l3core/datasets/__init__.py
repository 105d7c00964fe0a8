"""The labelled corpora of the paper: what they hold, and what is there of them on a store.

`DATASETS` is the table; `read_dataset` reads the labels, folds and sources of one from a root on any
store, in whatever layout it was unpacked, and says where it is not what its authors published.
"""

from l3core.datasets.base import Dataset, DatasetError, LabelledClip, shared_sources
from l3core.datasets.dcase2013 import DCASE2013, DCASE2013_CHALLENGE
from l3core.datasets.esc50 import ESC10, ESC50
from l3core.datasets.reading import DatasetCopy, read_dataset
from l3core.datasets.urbansound8k import URBANSOUND8K

DATASETS: dict[str, Dataset] = {
    dataset.name: dataset for dataset in (URBANSOUND8K, ESC50, ESC10, DCASE2013, DCASE2013_CHALLENGE)
}

__all__ = [
    "DATASETS",
    "Dataset",
    "DatasetCopy",
    "DatasetError",
    "LabelledClip",
    "read_dataset",
    "shared_sources",
]
