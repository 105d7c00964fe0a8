"""Resampling in blocks at fixed absolute places: a recording's samples are the same whoever asks.

A resampler's output depends in its last bits on where it was started, and the dB scale of a
near-silent window turns those bits into whole decibels. So a recording is cut at fixed places, each
block is resampled by itself with some of its neighbours as context, and whoever needs a part of the
recording computes the very same blocks. The cuts are whole multiples of both sides of the reduced
ratio of the rates, where source and target samples coincide exactly.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np

from l3core.numba_cache import find_numba_a_cache
from l3core.silence import zero_runs

RESAMPLERS = ("soxr_hq", "resampy")
BLOCK_S = 10
# Samples of the lower of the two rates on each side of a block. The longest filters here (resampy's
# kaiser_best: 64 zero crossings; soxr HQ: about as many) have died away well before.
CONTEXT = 256
Read = Callable[[int, int], np.ndarray]


@dataclass(frozen=True)
class Resampling:
    """From `source_hz` to `target_hz`, both whole numbers of Hz.

    Attributes:
        source_hz, target_hz: the two rates, Hz.
        method: one of `RESAMPLERS`.
    """

    source_hz: int
    target_hz: int
    method: str = "soxr_hq"

    def __post_init__(self) -> None:
        if self.source_hz < 1 or self.target_hz < 1:
            raise ValueError(
                f"rates must be positive whole Hz, got {self.source_hz} and {self.target_hz}"
            )
        if self.method not in RESAMPLERS:
            raise ValueError(f"resampler must be one of {', '.join(RESAMPLERS)}, got {self.method!r}")

    @property
    def ratio(self) -> tuple[int, int]:
        """(target, source) samples of the shortest stretch that is whole in both rates."""
        common = math.gcd(self.source_hz, self.target_hz)
        return self.target_hz // common, self.source_hz // common

    @property
    def block_units(self) -> int:
        """Shortest stretches in a block: ten seconds, more where the context would be longer."""
        common = math.gcd(self.source_hz, self.target_hz)
        return max(BLOCK_S * common, self._context_units)

    @property
    def _context_units(self) -> int:
        return -(-CONTEXT // min(self.ratio))

    @property
    def block_target(self) -> int:
        """Length of a block in target samples."""
        return self.block_units * self.ratio[0]

    @property
    def block_source(self) -> int:
        """Length of a block in source samples."""
        return self.block_units * self.ratio[1]

    def length(self, source_samples: int) -> int:
        """Target samples of a recording of `source_samples`: cut off as resampy does, but never none."""
        target, source = self.ratio
        return max(1, source_samples * target // source) if source_samples > 0 else 0

    def source_span(self, start: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The source samples `[first, last)` that target samples `[start, stop)` lie on."""
        target, source = self.ratio
        return start * source // target, -(-stop * source // target)

    def block(self, index: int, read: Read, source_samples: int) -> np.ndarray:
        """Block `index` of a recording, float32 `(<= block_target,)`.

        Args:
            index: which block, from 0.
            read: gives mono source samples `[start, stop)` as float32; less where the recording breaks
                off, and then the block is shorter, too.
            source_samples: length of the whole recording.
        """
        first = index * self.block_source
        last = min(first + self.block_source, source_samples)
        if self.source_hz == self.target_hz:
            return read(first, last)
        target, source = self.ratio
        context = self._context_units
        before = min(context * source, first)
        until = min(last + context * source, source_samples)
        chunk = read(first - before, until)
        if len(chunk) <= before:  # the recording breaks off before this block
            return np.empty(0, np.float32)
        wanted = min(self.block_target, self.length(source_samples) - index * self.block_target)
        if len(chunk) < until - (first - before):
            wanted = min(wanted, (len(chunk) - before) * target // source)
        resampled = _resample(chunk, self)
        self._restore_silence(resampled, chunk)
        skip = before // source * target
        block = resampled[skip : skip + wanted]
        if len(block) < wanted:  # a resampler may end a sample early at the end of a recording
            block = np.pad(block, (0, wanted - len(block)))
        return block

    def _restore_silence(self, resampled: np.ndarray, chunk: np.ndarray) -> None:
        """Make samples zero again that lie in zeros, further from any sound than the filter reaches.

        A resampler leaves rounding noise of about 1e-7 there, which the dB scale of a silent window
        would blow up to full level.
        """
        target, source = self.ratio
        margin = self._context_units * source
        begins, ends = zero_runs(chunk)
        long = ends - begins > 2 * margin
        for begin, end in zip(begins[long].tolist(), ends[long].tolist()):
            first = -(-(begin + margin) * target // source)
            resampled[first : (end - margin) * target // source] = 0.0


def _resample(signal: np.ndarray, rates: Resampling) -> np.ndarray:
    if rates.method == "resampy":
        return resampy_best(signal, rates.source_hz, rates.target_hz)
    import soxr

    return soxr.resample(signal, rates.source_hz, rates.target_hz, quality="HQ")


def resampy_best(signal: np.ndarray, source_hz: float, target_hz: float) -> np.ndarray:
    """openl3's resampling of a whole signal: resampy's `kaiser_best`, in the signal's own dtype."""
    find_numba_a_cache()
    import resampy

    if int(len(signal) * float(target_hz) / source_hz) < 1:
        return np.zeros(1, dtype=signal.dtype)  # too short for resampy, which would raise
    return resampy.resample(signal, sr_orig=source_hz, sr_new=target_hz, filter="kaiser_best")


def resampler_major_version(method: str) -> int:
    """Major version of the library behind a resampler: part of a spec's identity."""
    library = {"soxr_hq": "soxr", "resampy": "resampy"}[method]
    return int(version(library).split(".")[0])
