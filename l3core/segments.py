"""From a recording to segments: stretches of signal at the model's rate, each with its windows.

A segment holds about one block of the resampler, so a recording of any length takes the same memory.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from l3core.audio import Source
from l3core.errors import AudioError
from l3core.resampling import Resampling
from l3core.silence import SilenceLog
from l3core.windows import WindowGrid


class Segment(NamedTuple):
    """Windows that follow one another, and the signal that they lie on.

    Attributes:
        signal: float32 `(samples,)` at the model's rate; what lies outside the recording is
            `WindowGrid.outside`.
        starts: int64 `(windows,)`, each window's first sample within `signal`.
        silent: bool `(windows,)`, true where every source sample of the window is zero.
        follows_by: samples from the last window of the segment before to the first of this one, where
            they lie on the same signal; None where nothing is shared.
    """

    signal: np.ndarray
    starts: np.ndarray
    silent: np.ndarray
    follows_by: int | None = None


def cut_segments(
    source: Source, *, grid: WindowGrid, resampling: Resampling, windows: range
) -> Iterator[Segment]:
    """The windows `windows` of a recording, in order.

    The windows and their context come out the same, bit for bit, whatever range they are asked for in.

    Raises:
        AudioError: from the source; `truncated` if it breaks off, after the windows that lie wholly
            before the break with their context.
    """
    if not windows:
        return
    frames = source.info.frames
    samples = resampling.length(frames)
    offset, hop, length = grid.offset(samples), grid.hop_samples, grid.window_samples
    before, after = grid.context
    silence = _silence_log(resampling, frames, length)
    block_length = resampling.block_target
    first_start = offset + windows.start * hop - before
    last_stop = offset + (windows.stop - 1) * hop + length + after
    last_block = (min(samples, last_stop) - 1) // block_length
    first_block = min(max(0, first_start) // block_length, last_block)
    tape = _Tape(first_start, grid.outside)
    next_window = windows.start
    follows_by = None
    for index in range(first_block, last_block + 1):
        next_start = offset + next_window * hop - before
        if index < last_block and (index + 1) * block_length <= next_start:
            continue  # a hop longer than a block leaves it out
        core = index * resampling.block_source

        def read(start: int, stop: int, core: int = core) -> np.ndarray:
            chunk = source.read(start, stop)
            silence.add(core, chunk[core - start : core - start + resampling.block_source])
            return chunk

        block = resampling.block(index, read, frames)
        tape.add(index * block_length, block)
        rest = samples - index * block_length
        broken = len(block) < min(block_length, rest)
        broken |= rest <= block_length and source.damage is not None
        if index == last_block and not broken:
            ready = windows.stop  # what lies behind the end is known
        else:
            ready = (tape.end - length - after - offset) // hop + 1
        for some in _runs(range(next_window, min(ready, windows.stop)), grid):
            starts = offset + np.arange(some.start, some.stop, dtype=np.int64) * hop
            spans = resampling.source_span(starts, starts + length)
            first = int(starts[0]) - before
            signal = tape.cut(first, int(starts[-1]) + length + after)
            yield Segment(signal, starts - first, silence.covers(*spans), follows_by)
            next_window = some.stop
            follows_by = hop if hop <= length else None
        if broken:
            raise AudioError("truncated", source.damage or "the recording breaks off")
        tape.forget(offset + next_window * hop - before)


def _silence_log(resampling: Resampling, frames: int, window_samples: int) -> SilenceLog:
    target, source = resampling.ratio
    return SilenceLog(frames=frames, shortest=max(1, window_samples * source // target - 1))


def _runs(windows: range, grid: WindowGrid) -> Iterator[range]:
    """Windows that share a stretch of signal; with gaps between them each one stands alone."""
    if grid.hop_samples <= grid.window_samples:
        if windows:
            yield windows
        return
    for window in windows:
        yield range(window, window + 1)


class _Tape:
    """The part of a signal that windows still need; `outside` stands for what lies outside."""

    def __init__(self, start: int, outside: float) -> None:
        self._start = start
        self._outside = outside
        self._signal: np.ndarray = np.full(max(0, -start), outside, dtype=np.float32)

    @property
    def end(self) -> int:
        """Behind the last sample."""
        return self._start + len(self._signal)

    def add(self, start: int, block: np.ndarray) -> None:
        """The block that begins at sample `start`; what lies before the first window is left out."""
        if start > self.end:  # blocks in between were not needed
            self._start, self._signal = start, block
        else:
            self._signal = np.concatenate([self._signal, block[self.end - start :]])

    def cut(self, start: int, stop: int) -> np.ndarray:
        """Samples `[start, stop)`."""
        signal = self._signal[max(0, start - self._start) : stop - self._start]
        lacking = stop - start - len(signal)
        return np.pad(signal, (0, lacking), constant_values=self._outside) if lacking else signal

    def forget(self, before: int) -> None:
        """Drop samples before `before`."""
        drop = min(max(0, before - self._start), len(self._signal))
        self._signal = self._signal[drop:]
        self._start += drop
