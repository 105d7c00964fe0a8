"""`huggingface_dataset`: in memory and streamed, with lists of fixed length."""

import numpy as np
import pytest
from datasets import Features, List, Value
from datasets.distributed import split_dataset_by_node

from l3core.feeds import huggingface_dataset
from l3core.table.read import read_windows
from tests.corpus import PlainRun, upload
from tests.training import AWKWARD, make_table, rows_of

LABELS = {name: number for number, name in enumerate(AWKWARD)}
FEATURES = Features(
    {
        "clip_id": Value("string"),
        "window": Value("int32"),
        "start_s": Value("float64"),
        "silent": Value("bool"),
        "embedding": List(Value("float32"), length=8),
    }
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    table = make_table(tmp_path_factory.mktemp("huggingface"))
    return table, rows_of(*read_windows(table))


def rows(dataset):
    return [
        (*[row[name] for name in FEATURES][:-1], np.asarray(row["embedding"], np.float32).tobytes())
        for row in dataset
    ]


def test_in_memory(made):
    table, everything = made
    dataset = huggingface_dataset(table)
    assert dataset.features == FEATURES
    assert rows(dataset) == everything
    assert dataset.with_format("numpy")[:]["embedding"].shape == (len(everything), 8)


def test_streamed(made):
    table, everything = made
    dataset = huggingface_dataset(table, streaming=True)
    assert dataset.features == FEATURES
    assert sorted(rows(dataset)) == everything
    shuffled = dataset.shuffle(seed=1, buffer_size=20)
    assert sorted(rows(shuffled)) == everything
    assert rows(shuffled) == rows(shuffled) != rows(dataset)
    shares = [rows(split_dataset_by_node(dataset, rank, 2)) for rank in range(2)]
    assert sorted(row for share in shares for row in share) == everything


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("values", "feature"),
    [(range(4), Value("int64")), (np.eye(4), List(Value("float32"), length=4))],
)
def test_labels(made, streaming, values, feature):
    labels = dict(zip(AWKWARD, values))
    dataset = huggingface_dataset(made[0], columns="clip_id", labels=labels, streaming=streaming)
    assert dataset.features["label"] == feature
    found = list(dataset)
    assert len(found) == sum(row[0] in labels for row in made[1])
    assert all(row["label"] == np.asarray(labels[row["clip_id"]]).tolist() for row in found)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_table_without_windows(tmp_path, streaming):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/bad.wav").touch()
    PlainRun(tmp_path / "corpus", tmp_path / "table", "run-1").all()
    dataset = huggingface_dataset(tmp_path / "table", streaming=streaming)
    assert dataset.features == FEATURES
    assert list(dataset) == []


def test_in_a_bucket(made, gcs):
    bucket = gcs.make_bucket("feeds")
    upload(made[0], f"{bucket}/table")
    assert rows(huggingface_dataset(f"{bucket}/table")) == made[1]
    assert sorted(rows(huggingface_dataset(f"{bucket}/table", streaming=True))) == made[1]
