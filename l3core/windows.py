"""The window grids: how many windows a signal has, and where each one starts.

Everything here counts samples at the model's own rate. A start may be negative and a window may reach
past the end of the signal; what lies outside the signal is zeros, except for `steps`, whose network is
told where the signal begins and ends.

    center     openl3's default: half a window of zeros in front, so that window `i` is centred on
               sample `i * hop`; zeros after the end until the last sample is in a window.
    nocenter   openl3's `center=False`: as above without the zeros in front.
    paper      the code of Cramer et al. (ICASSP 2019): a tail that fills no window is dropped, and a
               signal shorter than a window stands in the middle of its zeros.
    dense      as nocenter, with a hop that lets windows share a network's work: only for models that
               have it (`l3core.dense`).
    steps      a network's own steps in time, side by side: only for models that have them
               (`l3core.steps`).

A signal without samples has no windows; any other has at least one.
"""

import math
from dataclasses import dataclass

import numpy as np

from l3core.steps import Steps

GRIDS = ("center", "nocenter", "paper")
DENSE = "dense"
STEPS = "steps"
MAX_HOP_S = 86_400


@dataclass(frozen=True, kw_only=True)
class WindowGrid:
    """Windows of `window_samples` every `hop_samples`.

    Attributes:
        kind: one of `GRIDS`, `DENSE` or `STEPS`.
        window_samples: length of a window, samples.
        hop_samples: distance of two starts, samples, >= 1; may exceed the window (gaps).
        context: samples (before, after) a window that its vector depends on, too.
        steps: of a network, where these are the windows.
    """

    kind: str
    window_samples: int
    hop_samples: int
    context: tuple[int, int] = (0, 0)
    steps: Steps | None = None

    def __post_init__(self) -> None:
        kinds = (*GRIDS, DENSE, STEPS)
        if self.kind not in kinds:
            raise ValueError(f"grid must be one of {', '.join(kinds)}, got {self.kind!r}")
        if self.window_samples < 1 or self.hop_samples < 1:
            raise ValueError(
                "window and hop must be at least one sample, "
                f"got {self.window_samples} and {self.hop_samples}"
            )

    def count(self, samples: int) -> int:
        """Number of windows of a signal of `samples` samples."""
        if samples <= 0:
            return 0
        if self.steps:
            return self.steps.count(samples)
        if self.kind == "center":
            samples += self.window_samples // 2
        rest = samples - self.window_samples
        if rest <= 0:
            return 1
        if self.kind == "paper":
            return 1 + rest // self.hop_samples
        return 1 + -(-rest // self.hop_samples)

    def offset(self, samples: int) -> int:
        """First sample of window 0, <= 0."""
        if self.kind == "center":
            return -(self.window_samples // 2)
        if self.kind == "paper" and samples < self.window_samples:
            return -((self.window_samples - samples) // 2)
        return self.steps.offset if self.steps else 0

    @property
    def outside(self) -> float:
        """What stands for a sample outside of a recording: steps must see where it begins and ends."""
        return math.nan if self.steps else 0.0

    def starts(self, samples: int, windows: range | None = None) -> np.ndarray:
        """First sample of each window, int64 `(windows,)`; only those of `windows` if it is given."""
        if windows is None:
            windows = range(self.count(samples))
        index = np.arange(windows.start, windows.stop, dtype=np.int64)
        return self.offset(samples) + index * self.hop_samples


def hop_in_samples(hop_s: float, sample_rate_hz: int) -> int:
    """`hop_s` in whole samples, cut off as openl3 does: `int(hop * rate)`.

    A hop that is no whole number of samples is therefore a little shorter than asked for; the start
    times of a table are those of the samples, so they do not drift as `i * hop_s` would.

    Raises:
        ValueError: the hop is not a positive number or shorter than one sample.
    """
    if not math.isfinite(hop_s) or not 0 < hop_s <= MAX_HOP_S:
        raise ValueError(f"hop must be a positive number of seconds, at most a day, got {hop_s!r}")
    samples = int(hop_s * sample_rate_hz)
    if samples < 1:
        raise ValueError(f"hop must be at least one sample at {sample_rate_hz} Hz, got {hop_s!r} s")
    return samples
