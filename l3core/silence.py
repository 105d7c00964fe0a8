"""Digital silence: runs of samples that are exactly zero."""

import numpy as np


def zero_runs(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where runs of zeros begin and end, int64 `(runs,)` each; ends are behind the last zero."""
    is_zero = np.zeros(len(samples) + 2, dtype=bool)
    np.equal(samples, 0, out=is_zero[1:-1])
    edges = np.flatnonzero(is_zero[1:] != is_zero[:-1])
    return edges[::2], edges[1::2]


class SilenceLog:
    """Which stretches of a recording hold nothing but zeros, learnt block by block in order.

    Runs of zeros are kept if they have at least `shortest` samples; a shorter one can only matter where
    it touches the border of a block, and is kept there until the next block shows how long it is.

    Args:
        frames: length of the recording; all beyond counts as silent.
        shortest: samples.
    """

    def __init__(self, *, frames: int, shortest: int) -> None:
        self._frames = frames
        self._shortest = shortest
        self._starts: list[int] = []
        self._stops: list[int] = []

    def add(self, start: int, samples: np.ndarray) -> None:
        """Take in the samples that begin at frame `start`."""
        begins, ends = zero_runs(samples)
        keep = (ends - begins >= self._shortest) | (begins == 0) | (ends == len(samples))
        for begin, end in zip((begins[keep] + start).tolist(), (ends[keep] + start).tolist()):
            if self._stops and self._stops[-1] == begin:
                self._stops[-1] = end
            else:
                self._starts.append(begin)
                self._stops.append(end)

    def covers(self, first: np.ndarray, last: np.ndarray) -> np.ndarray:
        """Whether all of `[first, last)` is silent, bool, for arrays of frames."""
        first = np.clip(first, 0, self._frames)
        last = np.clip(last, 0, self._frames)
        outside = first >= last
        if not self._starts:
            return outside
        run = np.searchsorted(self._starts, first, side="right") - 1
        return outside | ((run >= 0) & (np.asarray(self._stops)[run] >= last))
