"""From a recording to segments: stretches of signal at the model's rate, each with its windows.

A segment holds about one block of the resampler, so a recording of any length takes the same memory.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from l3core.audio import Source
from l3core.resampling import Resampling
from l3core.windows import WindowGrid


class Segment(NamedTuple):
    """Windows that follow one another, and the signal that they lie on.

    Attributes:
        signal: float32 `(samples,)` at the model's rate, zeros outside the recording included.
        starts: int64 `(windows,)`, each window's first sample within `signal`.
        silent: bool `(windows,)`, true where every source sample of the window is zero.
    """

    signal: np.ndarray
    starts: np.ndarray
    silent: np.ndarray


def cut_segments(
    source: Source, *, grid: WindowGrid, resampling: Resampling, windows: range
) -> Iterator[Segment]:
    """The windows `windows` of a recording, in order.

    The windows come out the same, bit for bit, whatever range they are asked for in.

    Raises:
        AudioError: from the source, after the windows before it.
    """
    frames = source.info.frames
    samples = resampling.length(frames)
    starts = grid.starts(samples, windows)
    if not len(starts):
        return
    block_length = resampling.block_target
    silence = _Silence(resampling, frames, grid.window_samples)
    position = int(starts[0])  # of the first sample in `signal`
    signal = np.zeros(max(0, -position), dtype=np.float32)
    first = max(0, position) // block_length
    last = (min(samples, int(starts[-1]) + grid.window_samples) - 1) // block_length
    done = 0
    for index in range(first, last + 1):
        core = index * resampling.block_source

        def read(start: int, stop: int, core: int = core) -> np.ndarray:
            chunk = source.read(start, stop)
            silence.add(core, chunk[core - start : core - start + resampling.block_source])
            return chunk

        block = resampling.block(index, read, frames)
        skip = max(0, position + len(signal) - index * block_length)
        signal = np.concatenate([signal, block[skip:]])
        if index == last:  # whatever lies after the end is zeros
            ready = len(starts)
            beyond = int(starts[-1]) + grid.window_samples - (position + len(signal))
            signal = np.pad(signal, (0, max(0, beyond)))
        else:
            end = position + len(signal) - grid.window_samples
            ready = int(np.searchsorted(starts, end, side="right"))
        if ready > done:
            part = starts[done:ready]
            yield Segment(signal, part - position, silence.of(part))
            done = ready
        if done < len(starts):
            drop = min(int(starts[done]) - position, len(signal))
            signal = signal[drop:]
            position += drop


class _Silence:
    """Which windows of a recording hold nothing but zeros, told from its source samples.

    Runs of zeros are kept if they could fill a window; a shorter one can only matter where it touches
    the border of a block, and is kept there until the next block shows how long it is.
    """

    def __init__(self, resampling: Resampling, frames: int, window_samples: int) -> None:
        self._resampling = resampling
        self._frames = frames
        self._window = window_samples
        target, source = resampling.ratio
        self._shortest = max(1, window_samples * source // target - 1)
        self._starts: list[int] = []
        self._stops: list[int] = []

    def add(self, start: int, samples: np.ndarray) -> None:
        """Take in the source samples that begin at frame `start`."""
        is_zero = np.zeros(len(samples) + 2, dtype=np.int8)
        is_zero[1:-1] = samples == 0
        edges = np.flatnonzero(np.diff(is_zero))
        begins, ends = edges[::2], edges[1::2]
        keep = (ends - begins >= self._shortest) | (begins == 0) | (ends == len(samples))
        for begin, end in zip((begins[keep] + start).tolist(), (ends[keep] + start).tolist()):
            if self._stops and self._stops[-1] == begin:
                self._stops[-1] = end
            else:
                self._starts.append(begin)
                self._stops.append(end)

    def of(self, starts: np.ndarray) -> np.ndarray:
        """Bool `(windows,)` for windows that start at these target samples."""
        first, last = self._resampling.source_span(starts, starts + self._window)
        first = np.clip(first, 0, self._frames)
        last = np.clip(last, 0, self._frames)
        if not self._starts:
            return first >= last
        run = np.searchsorted(self._starts, first, side="right") - 1
        inside = (run >= 0) & (np.asarray(self._stops)[run] >= last)
        return inside | (first >= last)
