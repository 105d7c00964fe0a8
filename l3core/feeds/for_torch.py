"""A table as a dataset of PyTorch."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow.compute as pc
import torch
from torch.utils.data import IterableDataset, get_worker_info

from l3core.feeds.feed import BUFFER_ROWS, EMBEDDING, LABEL, Feed, Share, make_feed


class WindowsDataset(IterableDataset):
    """The rows of a feed as tensors; see `torch_dataset`.

    Args:
        feed: the rows.
        batch_size: rows in an element; None for single rows.
        share: of a process among several; None asks `torch.distributed`.
    """

    def __init__(self, feed: Feed, batch_size: int | None, share: Share | None) -> None:
        self._feed = feed
        self._batch_size = batch_size
        self._share = share
        # workers that a DataLoader keeps are told as well
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Give the iterations that begin from now on the order of an epoch."""
        self._epoch.fill_(epoch)

    def __iter__(self) -> Iterator[Any]:
        """The rows of this process and worker."""
        pair = self._feed.labels is not None and not self._feed.columns
        for arrays in self._feed.arrays(int(self._epoch), self._my_share(), self._batch_size):
            tensors = {name: _tensor(array) for name, array in arrays.items()}
            if self._batch_size is not None:
                yield (tensors[EMBEDDING], tensors[LABEL]) if pair else tensors
            elif pair:
                yield from zip(tensors[EMBEDDING], tensors[LABEL])
            else:
                yield from (dict(zip(tensors, row)) for row in zip(*tensors.values()))

    def _my_share(self) -> Share:
        share = self._share
        if share is None and torch.distributed.is_available() and torch.distributed.is_initialized():
            share = Share(torch.distributed.get_rank(), torch.distributed.get_world_size())
        number, of = share or Share()
        worker = get_worker_info()
        if worker is None:
            return Share(number, of)
        return Share(number * worker.num_workers + worker.id, of * worker.num_workers)


def torch_dataset(
    table: str | os.PathLike[str],
    spec: str | None = None,
    *,
    columns: str | Sequence[str] = (),
    clips: str | Sequence[str] | None = None,
    where: pc.Expression | Sequence[Any] | None = None,
    labels: Mapping[str, Any] | None = None,
    seed: int | None = None,
    buffer_rows: int = BUFFER_ROWS,
    batch_size: int | None = None,
    share: tuple[int, int] | None = None,
) -> WindowsDataset:
    """The windows of a table's last commit, one by one or in batches, for a `DataLoader`.

    Elements are (embedding, label) if there are labels and no columns, else dicts with `embedding`, the
    columns and `label`. The workers of a DataLoader and the ranks of `torch.distributed` have each row
    once between them; the shares of ranks differ by a row at most where no `where` and no labels leave
    rows out, so a loop over all ranks has to expect that one ends first.

    Args:
        table: path or URI.
        spec: as of `l3core.read_windows`.
        columns: of the metadata, beside the embedding.
        clips: as of `l3core.read_windows`.
        where: as there.
        labels: clip id -> number, or as many numbers for each; windows of other clips are left out.
        seed: shuffles rows, by row group and among `buffer_rows`, anew after `set_epoch`; None for the
            table's order.
        buffer_rows: held in memory for that, in each worker.
        batch_size: rows in an element, the last one of each worker excepted, for a DataLoader with
            `batch_size=None`; None for single rows.
        share: (rank, ranks); None asks `torch.distributed`, if it is in use.

    Raises:
        UsageError: labels that are no numbers or of no clip of the table, no such batch, share or seed.
        TableError: as `l3core.read_windows`.
    """
    feed = make_feed(
        table,
        spec,
        columns=columns,
        clips=clips,
        where=where,
        labels=labels,
        seed=seed,
        buffer_rows=buffer_rows,
        batch_size=batch_size,
        share=share,
    )
    return WindowsDataset(feed, batch_size, None if share is None else Share(*share))


def _tensor(array: np.ndarray) -> Any:
    """A tensor of numbers, on the same memory; a list of strings."""
    if array.dtype == object:
        return array.tolist()
    # not from_numpy: that needs a PyTorch that was built for this NumPy
    flat = torch.frombuffer(np.ascontiguousarray(array), dtype=getattr(torch, array.dtype.name))
    return flat.reshape(array.shape)
