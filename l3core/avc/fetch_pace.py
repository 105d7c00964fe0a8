"""How fast a site is asked: so many videos a minute, and not at all for a while when it refuses."""

import threading
import time
from collections.abc import Sequence

from l3core.avc.fetch_one import StoppedError

WAITS = 5  # each twice as long as the one before
LONGEST_S = 3600.0


def waits_from(first_s: float) -> tuple[float, ...]:
    """Seconds to wait for a site that refuses, one after the other."""
    return tuple(min(LONGEST_S, first_s * 2**place) for place in range(WAITS))


class Pace:
    """Turns at asking a site; to be used by several threads."""

    def __init__(self, *, per_minute: float | None = None, waits_s: Sequence[float] = ()) -> None:
        """Nobody has had a turn yet.

        Args:
            per_minute: turns, evenly spaced; None: as fast as it goes.
            waits_s: pauses while the site refuses, one after the other.
        """
        self._every_s = 60.0 / per_minute if per_minute else 0.0
        self._waits_s = tuple(waits_s)
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._next = 0.0
        self._refusals = 0
        self._pauses = 0
        self._spent = False

    @property
    def paused_s(self) -> float:
        """Seconds until the next turn."""
        return max(0.0, self._next - time.monotonic())

    @property
    def refused(self) -> bool:
        """Whether the site was asking for a pause when it last answered."""
        return self._refusals > 0

    @property
    def spent(self) -> bool:
        """Whether the site refused once more after the last pause."""
        return self._spent

    def take_turn(self) -> int:
        """Wait for a turn; returns the pauses that there were before it.

        Raises:
            StoppedError: there are none any more.
        """
        while True:
            with self._lock:
                left_s = self.paused_s
                if not left_s and not self._stopped.is_set():
                    self._next = time.monotonic() + self._every_s
                    return self._pauses
            if self._stopped.wait(left_s):
                raise StoppedError

    def wait_longer(self, turn: int, wanted_s: float | None) -> bool:
        """Pause because the site refused; False if it has refused too often.

        Args:
            turn: in which it did; several refusals before one pause are one.
            wanted_s: seconds that the site wants; more than `LONGEST_S` are not waited for.
        """
        with self._lock:
            if turn < self._pauses:
                return True
            if self._refusals == len(self._waits_s):
                self._spent = True
                return False
            granted_s = wanted_s if wanted_s is not None and wanted_s <= LONGEST_S else 0.0
            wait_s = max(self._waits_s[self._refusals], granted_s)
            self._next = time.monotonic() + wait_s
            self._refusals += 1
            self._pauses += 1
            return True

    def go_on(self) -> None:
        """The site answers again."""
        with self._lock:
            self._refusals = 0

    def stop(self) -> None:
        """Let nobody have a turn any more."""
        self._stopped.set()
