"""Dense windows on any engine: which columns a batch of windows needs, and their vectors from them.

A *column* is one step in time of a network's last map. Windows a hop apart are a *run*: their columns
are computed once. A run is cut in *strips*, and strips of any runs lie side by side on one map, each
between margins that keep it from its neighbours, so that a call of the network has always the same size,
whatever the lengths of recordings are. Here are the places; the arithmetic is the engine's, in two steps
that a model builds for it (`l3core.models.dense`): frames -> a map -> columns.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np

from l3core.models.dense import DenseWindows

MAP_COLUMNS = 312  # of a map, margins included: 12.6 s for `l3`, and 164 MB of its largest layer
BATCH_MAPS = 6  # in a batch, so that little of it is computed again by the next


class Compute(Protocol):
    """What an engine does for dense windows."""

    def __call__(self, signal: np.ndarray, firsts: np.ndarray, kept: np.ndarray) -> np.ndarray:
        """The columns of one map.

        Args:
            signal: float32 `(samples,)`.
            firsts: int32 `(frames,)`, the first sample of each frame in `signal`.
            kept: int32 `(frames of the map,)`, which of these make the map, a whole number of columns.

        Returns:
            float32 `(columns, rows, channels)`.
        """


class Run(NamedTuple):
    """Windows a hop apart.

    Attributes:
        start: first sample of the first window.
        windows: how many.
        columns: of all of them.
    """

    start: int
    windows: int
    columns: int


class Strip(NamedTuple):
    """Columns of a run on a map.

    Attributes:
        run: its number.
        columns: of the run.
        place: of the first one on the map.
    """

    run: int
    columns: range
    place: int


@dataclass
class Sheet:
    """A map to be computed.

    Attributes:
        strips: that lie on it.
        columns: that they take, margins included.
        frames: that they need.
    """

    strips: list[Strip] = field(default_factory=list)
    columns: int = 0
    frames: int = 0


@dataclass(frozen=True, kw_only=True)
class DenseLayout:
    """Where dense windows and their columns lie.

    Attributes:
        dense: of the model.
        hop_columns: from window to window.
        map_columns: of the largest map, margins included.
    """

    dense: DenseWindows
    hop_columns: int
    map_columns: int

    @classmethod
    def of(cls, dense: DenseWindows, hop_columns: int, batch_size: int) -> "DenseLayout":
        """The layout for batches of so many windows; a map is no larger than all of them need."""
        shared = min(hop_columns, dense.columns)
        most = (batch_size - 1) * shared + dense.columns + 2 * dense.margin_columns
        return cls(dense=dense, hop_columns=hop_columns, map_columns=min(MAP_COLUMNS, most))

    @property
    def map_frames(self) -> int:
        """Frames that become a map, at most."""
        return self.map_columns * self.dense.frames_a_column

    @property
    def most_frames(self) -> int:
        """Frames that a map needs, at most: strips as short as one window have enough room."""
        dense = self.dense
        strips = -(-self.map_columns // (dense.columns + 2 * dense.margin_columns))
        return self.map_frames + 2 * dense.reference_frames * strips

    def runs(self, starts: np.ndarray) -> list[Run]:
        """The runs of windows in a batch; windows too far apart are each a run of their own.

        Args:
            starts: first sample of each window, `(windows,)`.
        """
        hop = self.hop_columns * self.dense.stride_samples
        alone = self.hop_columns >= self.dense.columns + 2 * self.dense.margin_columns
        together = (np.diff(starts) == hop) & (not alone)
        edges = [0, *(np.flatnonzero(~together) + 1).tolist(), len(starts)]
        counts = [stop - first for first, stop in pairwise(edges)]
        return [
            Run(int(starts[first]), count, (count - 1) * self.hop_columns + self.dense.columns)
            for first, count in zip(edges, counts)
            if count
        ]

    def sheets(self, runs: list[Run]) -> Iterator[Sheet]:
        """Maps on which all columns of the runs lie, in order."""
        sheet, margins = Sheet(), 2 * self.dense.margin_columns
        for number, run in enumerate(runs):
            done = 0
            while done < run.columns:
                free = min(run.columns - done, self._free(sheet))
                if sheet.strips and free < min(run.columns - done, self.dense.columns):
                    yield sheet
                    sheet = Sheet()
                    continue
                columns = range(done, done + free)
                sheet.strips.append(Strip(number, columns, sheet.columns + self.dense.margin_columns))
                sheet.columns += free + margins
                sheet.frames += self._frames(free)
                done += free
        if sheet.strips:
            yield sheet

    def _free(self, sheet: Sheet) -> int:
        """Columns of a further strip that a map has room for; some, if it is empty."""
        columns = self.map_columns - sheet.columns
        left = self.most_frames - sheet.frames - 2 * self.dense.reference_frames
        return min(columns, left // self.dense.frames_a_column) - 2 * self.dense.margin_columns

    def _frames(self, columns: int) -> int:
        with_margins = columns + 2 * self.dense.margin_columns
        return with_margins * self.dense.frames_a_column + 2 * self.dense.reference_frames

    def frames(self, sheet: Sheet, runs: list[Run]) -> tuple[np.ndarray, np.ndarray]:
        """The frames that a map needs.

        Returns:
            The first sample of each, int64 `(frames,)`, and which of them make the map, int32.
        """
        dense = self.dense
        firsts, kept, behind = [], [], 0
        for strip in sheet.strips:
            begin = (strip.columns.start - dense.margin_columns) * dense.frames_a_column
            frames = np.arange(self._frames(len(strip.columns)))
            place = runs[strip.run].start - dense.lead_samples
            first = begin - dense.reference_frames
            firsts.append(place + (first + frames) * dense.frontend.hop_samples)
            kept.append(behind + frames[dense.reference_frames : len(frames) - dense.reference_frames])
            behind += len(frames)
        return np.concatenate(firsts), np.concatenate(kept).astype(np.int32)

    def pool(self, columns: np.ndarray, windows: int) -> np.ndarray:
        """The vectors of a run, `(windows, d)`, from its columns `(columns, rows, channels)`."""
        dense = self.dense
        width = dense.pool[1]
        largest = sliding_max(columns, width)
        places = self.hop_columns * np.arange(windows)[:, np.newaxis]
        pooled = largest[places + np.arange(0, dense.columns, width)]  # (windows, times, rows, channels)
        return pooled.transpose(0, 2, 1, 3).reshape(windows, -1)


def usual_batch_size(dense: DenseWindows, hop_columns: int) -> int:
    """As many windows as some maps hold."""
    return max(1, BATCH_MAPS * MAP_COLUMNS // min(hop_columns, dense.columns))


def embed_dense(
    signal: np.ndarray, starts: np.ndarray, *, layout: DenseLayout, compute: Compute
) -> np.ndarray:
    """The vectors of dense windows, float32 `(windows, d)`.

    Args:
        signal: float32 `(samples,)`; what lies outside is zeros.
        starts: first sample of each window, `(windows,)`.
        layout: of the windows.
        compute: of an engine.
    """
    runs = layout.runs(starts)
    strips: list[list[np.ndarray]] = [[] for _ in runs]
    for sheet in layout.sheets(runs):
        firsts, kept = layout.frames(sheet, runs)
        part, places = _cut(signal, firsts, layout.dense.frontend.n_fft)
        columns = compute(part, places, kept)
        for strip in sheet.strips:
            strips[strip.run].append(columns[strip.place : strip.place + len(strip.columns)])
    vectors = [layout.pool(np.concatenate(some), run.windows) for some, run in zip(strips, runs)]
    return np.concatenate(vectors)


def _cut(signal: np.ndarray, firsts: np.ndarray, n_fft: int) -> tuple[np.ndarray, np.ndarray]:
    """The part of a signal that frames lie on, with zeros outside of it, and their places there."""
    start, stop = int(firsts.min()), int(firsts.max()) + n_fft
    part = signal[max(0, start) : max(0, stop)]
    before = min(max(0, -start), stop - start)
    part = np.pad(part, (before, stop - start - before - len(part)))
    return part, (firsts - start).astype(np.int32)


def sliding_max(values: np.ndarray, width: int) -> np.ndarray:
    """The largest of every `width` that follow one another along the first axis."""
    done = 1
    while done < width:
        step = min(done, width - done)
        values = np.maximum(values[:-step], values[step:])
        done += step
    return values
