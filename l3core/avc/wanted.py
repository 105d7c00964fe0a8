"""Moments that were chosen, and what of them cannot be had.

Runs in the process that decodes (`l3core.avc.child`).
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Wanted(NamedTuple):
    """A moment: a second of sound, and a frame that is shown in it."""

    audio_start_s: float
    image_s: float

    @property
    def end_s(self) -> float:
        """Of the second."""
        return self.audio_start_s + 1


class Track(Protocol):
    """A stream that waits for moments."""

    def drop(self, number: int) -> None:
        """A moment is not wanted any more."""


class Lost:
    """What of the wanted moments cannot be had, and why."""

    def __init__(self, wanted: Sequence[Wanted], problems: list[str]) -> None:
        self.wanted = wanted
        self._problems = problems
        self._tracks: list[Track] = []

    def watch(self, track: Track) -> None:
        """Let a track know."""
        self._tracks.append(track)

    def because(self, problem: str) -> None:
        """Note why; the first reason is enough."""
        if not self._problems:
            self._problems.append(problem)

    def lose(self, number: int, problem: str) -> None:
        """A moment cannot be had."""
        self.because(problem)
        for track in self._tracks:
            track.drop(number)

    def lose_after(self, time_s: float, problem: str) -> None:
        """All that are not complete and go on after a time cannot be had."""
        self.because(problem)
        for number, wanted in enumerate(self.wanted):
            if wanted.end_s > time_s:
                self.lose(number, problem)
