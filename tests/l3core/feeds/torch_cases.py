"""`torch_dataset`: workers, ranks and epochs. Run by test_torch.py, where there is PyTorch."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from l3core.errors import UsageError
from l3core.feeds import torch_dataset
from l3core.table.read import read_windows
from tests.corpus import upload
from tests.training import AWKWARD, make_table, rows_of

LABELS = {name: number for number, name in enumerate(AWKWARD)}
COLUMNS = ["clip_id", "window"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    table = make_table(tmp_path_factory.mktemp("torch"))
    return table, [(row[0], row[1], row[4]) for row in rows_of(*read_windows(table))]


def rows(loader):
    return [
        (clip, int(window), np.array(vector.tolist(), np.float32).tobytes())
        for batch in loader
        for clip, window, vector in zip(batch["clip_id"], batch["window"], batch["embedding"])
    ]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("seed", [None, 3])
def test_workers_have_each_row_once(made, workers, seed):
    table, everything = made
    single = torch_dataset(table, columns=COLUMNS, seed=seed)
    assert sorted(rows(DataLoader(single, batch_size=9, num_workers=workers))) == everything
    batches = torch_dataset(table, columns=COLUMNS, seed=seed, batch_size=9)
    assert sorted(rows(DataLoader(batches, batch_size=None, num_workers=workers))) == everything


def test_ranks_have_each_row_once(made):
    table, everything = made
    ranks = [torch_dataset(table, columns=COLUMNS, seed=3, share=(rank, 2)) for rank in range(2)]
    found = [rows(DataLoader(rank, batch_size=4, num_workers=2)) for rank in ranks]
    assert sorted(row for rank in found for row in rank) == everything
    assert abs(len(found[0]) - len(found[1])) <= 1


def test_ranks_of_torch_distributed(made, tmp_path):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1
    )
    try:
        assert torch_dataset(made[0])._my_share() == (0, 1)
    finally:
        torch.distributed.destroy_process_group()


def test_epochs_reach_workers_that_are_kept(made):
    table, everything = made
    dataset = torch_dataset(table, columns=COLUMNS, seed=3, buffer_rows=20)
    loader = DataLoader(dataset, batch_size=9, num_workers=1, persistent_workers=True)
    epochs = []
    for epoch in (0, 1, 0):
        dataset.set_epoch(epoch)
        epochs.append(rows(loader))
    assert epochs[0] == epochs[2] != epochs[1]
    assert all(sorted(epoch) == everything for epoch in epochs)
    del loader


def test_elements(made):
    vector, label = next(iter(torch_dataset(made[0], labels=LABELS)))
    assert (vector.shape, vector.dtype, label.shape, label.dtype) == (
        (8,),
        torch.float32,
        (),
        torch.int64,
    )
    vectors, labels = next(
        iter(torch_dataset(made[0], labels=dict(zip(AWKWARD, np.eye(4))), batch_size=5))
    )
    assert (vectors.shape, labels.shape, labels.dtype) == ((5, 8), (5, 4), torch.float32)
    assert list(next(iter(torch_dataset(made[0])))) == ["embedding"]
    with pytest.raises(UsageError, match="batch_size must be at least 1, got 0"):
        torch_dataset(made[0], batch_size=0)


def test_in_a_bucket(made, gcs):
    """Workers are forked: each has connections of its own."""
    bucket = gcs.make_bucket("feeds")
    upload(made[0], f"{bucket}/table")
    dataset = torch_dataset(f"{bucket}/table", columns=COLUMNS, seed=3)
    assert sorted(rows(DataLoader(dataset, batch_size=9, num_workers=2))) == made[1]
