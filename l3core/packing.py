"""Packing: windows of many clips in batches of one size, without copying a sample per window.

A batch is one flat signal and the places in it where windows start; the windows themselves are cut on
the device. At a hop of 0.1 s that moves a tenth of the bytes that finished windows would take. Segments
that follow one another share their signal there, too.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from l3core.segments import Segment
from l3core.windows import WindowGrid

K = TypeVar("K")


@dataclass(frozen=True)
class Batch(Generic[K]):
    """Input of one call of the model.

    Attributes:
        signal: float32 `(samples,)`, the signals of all windows one after the other.
        starts: int32 `(windows,)`.
        parts: whose windows they are, in order: (key, silent flags of its windows).
    """

    signal: np.ndarray
    starts: np.ndarray
    parts: list[tuple[K, np.ndarray]]


def pack(
    segments: Iterable[tuple[K, Segment]],
    *,
    batch_size: int,
    window_samples: int,
    context: tuple[int, int] = (0, 0),
) -> Iterator[Batch[K]]:
    """Batches of exactly `batch_size` windows, the last one excepted; order is kept.

    Args:
        segments: with a key each; those that follow one another have the same key.
        batch_size: windows.
        window_samples: of a window.
        context: samples (before, after) a window that go into the batch with it.
    """
    packer: _Packer[K] = _Packer(batch_size, window_samples, context)
    for key, segment in segments:
        done = 0
        while done < len(segment.starts):
            done += packer.add(key, segment, done)
            if packer.free == 0:
                yield packer.flush()
    if packer.free < batch_size:
        yield packer.flush()


def with_context(
    signal: np.ndarray, starts: np.ndarray, grid: WindowGrid
) -> tuple[np.ndarray, np.ndarray]:
    """A signal that is a whole recording, with what its windows' context needs around it.

    Args:
        signal: float32 `(samples,)`; a batch that was packed has its context, and stays as it is.
        starts: int32 `(windows,)`.
        grid: of the windows.
    """
    if grid.context == (0, 0):
        return signal, starts
    before = max(0, grid.context[0] - int(starts.min()))
    behind = max(0, int(starts.max()) + grid.window_samples + grid.context[1] - len(signal))
    if before or behind:
        signal = np.pad(signal, (before, behind), constant_values=grid.outside)
    return signal, starts + np.int32(before)


class _Packer(Generic[K]):
    def __init__(self, batch_size: int, window_samples: int, context: tuple[int, int]) -> None:
        self._batch_size = batch_size
        self._before = context[0]
        self._behind_start = window_samples + context[1]
        self._begin()

    def _begin(self) -> None:
        self.free = self._batch_size
        self._pieces: list[np.ndarray] = []
        self._starts: list[np.ndarray] = []
        self._parts: list[tuple[K, np.ndarray]] = []
        self._samples = 0

    def add(self, key: K, segment: Segment, first: int) -> int:
        """Take windows of `segment` from `first` on, as many as are free; returns how many."""
        starts = segment.starts[first : first + self.free]
        follows = first == 0 and segment.follows_by is not None and bool(self._parts)
        if follows and self._parts[-1][0] is key:
            place = int(self._starts[-1][-1]) + int(segment.follows_by or 0)
        else:
            place = self._samples + self._before
        # what the batch has of it already is left out, and what lies between windows far apart
        begin = int(starts[0]) + self._samples - place
        piece = segment.signal[begin : starts[-1] + self._behind_start]
        self._pieces.append(piece)
        self._starts.append(starts - starts[0] + place)
        self._parts.append((key, segment.silent[first : first + len(starts)]))
        self._samples += len(piece)
        self.free -= len(starts)
        return len(starts)

    def flush(self) -> Batch[K]:
        starts = np.concatenate(self._starts).astype(np.int32)
        batch = Batch(np.concatenate(self._pieces), starts, self._parts)
        self._begin()
        return batch
