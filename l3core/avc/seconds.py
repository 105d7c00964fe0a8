"""A second of sound, put together from what a decoder gives."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

MARGIN_S = 0.1  # of sound around a second, so that it can be resampled
LACKING_S = 0.05  # of a second that may be missing: what a codec cuts of its padding


class Second:
    """A second and its margins, at the rate of the file.

    Args:
        start_s: presentation time of its first sample.

    Attributes:
        begin_s: of the margin before it.
        end_s: of the margin behind it.
        samples: float32, zero where nothing came.
        rate: of the samples, in Hz.
    """

    samples: "np.ndarray"

    def __init__(self, start_s: float) -> None:
        self.begin_s, self.end_s = start_s - MARGIN_S, start_s + 1 + MARGIN_S
        self.rate = 0
        self._missing: np.ndarray
        self._start_s = start_s
        self._mixed = False

    def put(self, time_s: float, samples: "np.ndarray", rate: int) -> None:
        """Put samples `(n,)` where they belong."""
        import numpy as np

        if not self.rate:
            self.rate = rate
            size = round((self.end_s - self.begin_s) * rate)
            self.samples, self._missing = np.zeros(size, np.float32), np.ones(size, bool)
        if rate != self.rate:
            self._mixed = True
            return
        at = round((time_s - self.begin_s) * rate)
        first, last = max(0, at), min(len(self.samples), at + len(samples))
        if first < last:
            self.samples[first:last] = samples[first - at : last - at]
            self._missing[first:last] = False

    @property
    def problem(self) -> str | None:
        """Why it is no second of sound; None if it is one."""
        import numpy as np

        margin = round(MARGIN_S * self.rate)
        where = f"the sound at {self._start_s:.3f} s"
        if not self.rate or self._missing[margin : margin + self.rate].sum() > LACKING_S * self.rate:
            return f"{where} is missing"
        if self._mixed:
            return f"{where} changes its sample rate"
        if not np.isfinite(self.samples).all():
            return f"{where} is not finite"
        return None
