"""Decodes the seconds and frames that were chosen, in one pass over the packets.

Runs in the process that decodes (`l3core.avc.child`). A packet is decoded once or not at all: pictures
from the last keyframe before a wanted frame, sound from a little before a wanted second. Between them
nothing is: a ten-hour video costs what is taken of it, and reading it. All that is held are moments
whose sound or frame is still to come.
"""

import abc
from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from l3core.avc.decoding import Keyframes, each_decoded, opened, streams_of
from l3core.avc.frames import mono, refuse_full, refuse_too_large, time_of, upright
from l3core.avc.seconds import MARGIN_S, Second
from l3core.avc.wanted import Lost, Wanted

if TYPE_CHECKING:
    import numpy as np

PREROLL_S = 1.0  # of sound before what is wanted: codecs build on what was before
JITTER_S = 0.01  # containers round times; what is farther off is a gap
SAME_S = 1e-6


class Taken(NamedTuple):
    """A moment as it was decoded.

    Attributes:
        number: which of those that were wanted.
        image_s: when the frame is shown, by its own word.
        image: uint8 `(height, width, 3)`, RGB, upright, the smaller side 256.
        samples: float32, mono; the second and `MARGIN_S` on both sides, zero where nothing sounds.
        rate: of the samples, in Hz.
    """

    number: int
    image_s: float
    image: "np.ndarray"
    samples: "np.ndarray"
    rate: int


def take(
    file: IO[bytes], wanted: Sequence[Wanted], keyframes: Keyframes, problems: list[str]
) -> Iterator[Taken]:
    """Decode moments, as they come; those that cannot be are left out, and `problems` says why.

    Raises:
        VideoError: from `l3core.avc.decoding.opened`.
    """
    import av

    with opened(file) as container:
        video, audio = streams_of(container)
        lost = Lost(wanted, problems)
        pictures, sounds = _Pictures(video, lost, keyframes), _Sounds(audio, lost)
        try:
            for packet in container.demux(video, audio):
                (pictures if packet.stream is video else sounds).feed(packet)
                yield from _complete(pictures, sounds)
                if not pictures.pending and not sounds.pending:
                    return
        except av.error.MemoryError:
            raise MemoryError from None
        except av.error.FFmpegError as error:
            lost.because(f"the file cannot be read on: {error.strerror}")
        pictures.finish()
        sounds.finish()
        yield from _complete(pictures, sounds)


def _complete(pictures: "_Pictures", sounds: "_Sounds") -> Iterator[Taken]:
    for number in sorted(pictures.done.keys() & sounds.done.keys()):
        image_s, image = pictures.done.pop(number)
        second = sounds.done.pop(number)
        yield Taken(number, image_s, image, second.samples, second.rate)


class _Track(abc.ABC):
    """A stream of the video.

    Attributes:
        pending: numbers of moments that wait for it, in the order in which they come.
        done: what it gave, by number.
    """

    def __init__(self, stream: Any, lost: Lost, pending: list[int]) -> None:
        self._context = stream.codec_context
        self._lost = lost
        self._wanted = lost.wanted
        self._running = False
        self._begun = False
        self.pending = pending
        self.done: dict[int, Any] = {}
        lost.watch(self)

    def drop(self, number: int) -> None:
        """A moment is not wanted any more."""
        if number in self.pending:
            self.pending.remove(number)
        self.done.pop(number, None)

    def feed(self, packet: Any) -> None:
        """Decode a packet if it leads to something; one without content ends the stream."""
        import av

        needed = bool(self.pending) and (self._leads(packet) if packet.size else self._running)
        if needed and not self._running:
            if self._begun:
                self._context.flush_buffers()
            self.begin()
            self._begun = True
        self._running = needed
        if not needed:
            return
        try:
            for frame in each_decoded(packet):
                self.see(frame)
        except av.error.FFmpegError as error:
            self.damaged(packet, str(error.strerror))

    @abc.abstractmethod
    def _leads(self, packet: Any) -> bool:
        """Whether a packet leads to something that is wanted."""

    @abc.abstractmethod
    def begin(self) -> None:
        """The next packet does not follow on the last one that was decoded."""

    @abc.abstractmethod
    def see(self, frame: Any) -> None:
        """Take what is wanted of a frame."""

    @abc.abstractmethod
    def damaged(self, packet: Any, why: str) -> None:
        """A packet could not be decoded."""


class _Pictures(_Track):
    def __init__(self, stream: Any, lost: Lost, keyframes: Keyframes) -> None:
        order = sorted(range(len(lost.wanted)), key=lambda number: lost.wanted[number].image_s)
        super().__init__(stream, lost, order)
        self._begins = [keyframes.before(one.image_s + SAME_S) for one in lost.wanted]
        self._packets = 0
        self._aspect = stream.sample_aspect_ratio
        self._previous: tuple[float, Any] | None = None

    def _leads(self, packet: Any) -> bool:
        return self._begins[self.pending[0]] < self._packets

    def feed(self, packet: Any) -> None:
        """Decode a packet if it leads to something."""
        self._packets += bool(packet.size)
        super().feed(packet)

    def begin(self) -> None:
        """What was shown before may be far away."""
        self._previous = None

    def see(self, frame: Any) -> None:
        """Take it, if it is the one that is wanted; the one before it if that one is missing."""
        refuse_too_large(frame.width, frame.height)
        time_s = time_of(frame)
        if time_s is None or frame.is_corrupt:
            return
        picture = None
        while self.pending and self._wanted[self.pending[0]].image_s <= time_s + SAME_S:
            number = self.pending[0]
            found = self._nearest(self._wanted[number], (time_s, frame))
            if found is None:
                self._lost.lose(number, f"the frame at {self._wanted[number].image_s:.3f} s is missing")
                continue
            self.pending.pop(0)
            if picture is None or picture[0] != found[0]:
                picture = found[0], upright(found[1], self._aspect)
            self.done[number] = picture
        self._previous = time_s, frame

    def _nearest(self, wanted: Wanted, now: tuple[float, Any]) -> tuple[float, Any] | None:
        if abs(now[0] - wanted.image_s) <= SAME_S:
            return wanted.image_s, now[1]
        for found in (self._previous, now):
            if found is not None and wanted.audio_start_s <= found[0] < wanted.end_s:
                return found
        return None

    def damaged(self, packet: Any, why: str) -> None:
        """What comes later builds on it.

        Raises:
            MemoryError: that is why; FFmpeg says the same of both.
        """
        refuse_full(self._context.width * self._context.height)
        time_s = time_of(packet)
        if time_s is None:
            time_s = self._wanted[self.pending[0]].image_s
        self._lost.lose_after(time_s, f"the picture is damaged at {time_s:.3f} s: {why}")

    def finish(self) -> None:
        """The stream has ended."""
        for number in list(self.pending):
            self._lost.lose(number, f"the frame at {self._wanted[number].image_s:.3f} s is missing")


class _Sounds(_Track):
    def __init__(self, stream: Any, lost: Lost) -> None:
        order = sorted(range(len(lost.wanted)), key=lambda number: lost.wanted[number].audio_start_s)
        super().__init__(stream, lost, order)
        self._seconds = {n: Second(one.audio_start_s) for n, one in enumerate(lost.wanted)}
        self._next_s: float | None = None

    def _leads(self, packet: Any) -> bool:
        begin_s = self._wanted[self.pending[0]].audio_start_s - MARGIN_S - PREROLL_S
        return self._running or _end_of(packet) >= begin_s

    def begin(self) -> None:
        """Times begin anew."""
        self._next_s = None

    def see(self, frame: Any) -> None:
        """Put its samples where they belong."""
        samples, rate = mono(frame), frame.sample_rate
        time_s = time_of(frame)
        if self._next_s is not None and (time_s is None or abs(time_s - self._next_s) <= JITTER_S):
            time_s = self._next_s
        if time_s is None:
            return
        self._next_s = end_s = time_s + len(samples) / rate
        for number in list(self.pending):
            second = self._seconds[number]
            if second.begin_s >= end_s:
                break
            second.put(time_s, samples, rate)
            if second.end_s <= end_s:
                self._close(number)
        if self.pending and self._wanted[self.pending[0]].audio_start_s - PREROLL_S > end_s + 1:
            self._running = False  # nothing for a while

    def _close(self, number: int) -> None:
        second = self._seconds.pop(number)
        if second.problem:
            self._lost.lose(number, second.problem)
        else:
            self.pending.remove(number)
            self.done[number] = second

    def damaged(self, packet: Any, why: str) -> None:
        """What comes later may be wrong; before what is wanted that is no matter."""
        if _end_of(packet) < self._wanted[self.pending[0]].audio_start_s - MARGIN_S:
            return
        time_s = time_of(packet)
        if time_s is None:
            time_s = self._wanted[self.pending[0]].audio_start_s
        self._lost.lose_after(time_s, f"the sound is damaged at {time_s:.3f} s: {why}")

    def finish(self) -> None:
        """The stream has ended."""
        for number in list(self.pending):
            self._close(number)


def _end_of(packet: Any) -> float:
    time_s = time_of(packet)
    if time_s is None:
        return float("inf")  # decoded, to be sure
    return time_s + float((packet.duration or 0) * packet.time_base)
