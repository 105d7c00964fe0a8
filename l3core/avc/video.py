"""What is known of a video before it is decoded, and which of its seconds and frames are taken."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

SAMPLE_RATE_HZ = 48_000
SECOND = SAMPLE_RATE_HZ  # samples
NEAR_S = 0.001  # more than rounding moves a frame by


@dataclass(frozen=True, kw_only=True)
class VideoLimits:
    """What one video may cost.

    Attributes:
        seconds: of decoding, by the clock on the wall; waiting for a store is not counted.
        memory_mb: address space of the process that decodes, in MiB.
        bytes: of the object; None: any number.
    """

    seconds: float = 300.0
    memory_mb: int = 4096
    bytes: int | None = None

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise ValueError(f"seconds needs a number above 0, got {self.seconds}")
        if self.memory_mb < 1:
            raise ValueError(f"memory_mb needs at least 1, got {self.memory_mb}")
        if self.bytes is not None and self.bytes < 1:
            raise ValueError(f"bytes needs at least 1, got {self.bytes}")


class VideoFacts(NamedTuple):
    """What a video is; None where it does not tell.

    Attributes:
        duration_s: from the first frame or sample to the end of the last, as found.
        width: of a frame as it lies in the file, in pixels.
        height: the same.
        frames_per_s: on average.
        sample_rate: of the sound, in Hz.
        channels: of the sound.
        video_codec: FFmpeg's name of it.
        audio_codec: FFmpeg's name of it.
        rotation: degrees counter-clockwise by which a frame is turned to stand upright; one that is
            mirrored is turned upside down before that.
    """

    duration_s: float | None
    width: int | None
    height: int | None
    frames_per_s: float | None
    sample_rate: int | None
    channels: int | None
    video_codec: str | None
    audio_codec: str | None
    rotation: int | None


class Chosen(NamedTuple):
    """A second of sound, and a frame that is shown in it.

    Attributes:
        audio_start_s: presentation time of the second's first sample.
        image_s: presentation time of the frame, `audio_start_s <= image_s < audio_start_s + 1`.
    """

    audio_start_s: float
    image_s: float


class _Run(NamedTuple):
    """Neighbouring samples `first..last` of a span at each of which a moment may begin."""

    span_s: float
    first: int
    last: int


class Choices:
    """All moments that a video has: a second that is all sound, with at least one frame in it.

    Args:
        spans_s: `(n, 2)`, beginning and end of each part of the sound that has no gap, in seconds; none
            overlaps another one.
        frames_s: `(n,)`, when frames are shown, in order.
    """

    def __init__(self, spans_s: np.ndarray, frames_s: np.ndarray) -> None:
        self._frames_s = frames_s
        self._runs = [run for span in spans_s for run in _runs(float(span[0]), float(span[1]), frames_s)]
        self._ends = np.cumsum([run.last - run.first + 1 for run in self._runs], dtype=np.int64)

    def __len__(self) -> int:
        """How many beginnings there are."""
        return int(self._ends[-1]) if len(self._ends) else 0

    def draw(self, generator: np.random.Generator) -> Chosen:
        """One of the beginnings, and one of the frames in its second; each is as likely."""
        place = int(generator.integers(len(self)))
        number = int(np.searchsorted(self._ends, place, side="right"))
        run = self._runs[number]
        start = run.last - int(self._ends[number]) + 1 + place
        start_s = run.span_s + start / SAMPLE_RATE_HZ
        frames_s = _between(self._frames_s, start_s, start_s + 1)
        first, last = np.searchsorted(_places(frames_s, run.span_s), [start, start + SECOND])
        frame_s = float(frames_s[int(generator.integers(first, last))])
        return Chosen(min(start_s, frame_s), frame_s)


def _between(frames_s: np.ndarray, begin_s: float, end_s: float) -> np.ndarray:
    """The frames of a time and a few about it, found without looking at the others."""
    first, last = np.searchsorted(frames_s, [begin_s - NEAR_S, end_s + NEAR_S])
    return frames_s[first:last]


def _places(frames_s: np.ndarray, span_s: float) -> np.ndarray:
    """The sample of a span during which each frame comes."""
    # what is a sample's time but for the last digits is that sample
    return np.floor((frames_s - span_s) * SAMPLE_RATE_HZ + 1e-4).astype(np.int64)


def _runs(begin_s: float, end_s: float, frames_s: np.ndarray) -> Iterator[_Run]:
    most = int(np.floor((end_s - begin_s) * SAMPLE_RATE_HZ + 1e-4)) - SECOND
    if most < 0:
        return
    places = _places(_between(frames_s, begin_s, end_s), begin_s)
    lows = np.maximum(places - SECOND + 1, 0)
    highs = np.minimum(places, most)
    keep = lows <= highs
    lows, highs = lows[keep], highs[keep]
    if not len(lows):
        return
    # frames come in order: a run ends where the next frame's beginnings do not touch it
    breaks = np.flatnonzero(lows[1:] > highs[:-1] + 1)
    for first, last in zip([0, *(breaks + 1)], [*breaks, len(lows) - 1]):
        yield _Run(begin_s, int(lows[first]), int(highs[last]))
