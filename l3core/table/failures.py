"""How many objects a run may fail to read before it is better to have no run."""

import threading
from typing import NamedTuple

from l3core.errors import AudioError, RunError

STORAGE_ERROR = "storage-error"


class Most(NamedTuple):
    """A share of something and a number of them; only more than either is too much."""

    share: float
    number: int

    def of(self, total: int) -> int:
        """How many of `total` are allowed."""
        return max(int(self.share * total), self.number)


MOST_STORAGE_ERRORS = Most(0.01, 20)


def check_storage_errors(count: int, most: int) -> None:
    """Refuse to go on without objects that a store failed to give: it may be down, and no run is best.

    Args:
        count: of objects.
        most: that may be.

    Raises:
        RunError: there are more.
    """
    if count > most:
        raise RunError(
            f"objects that could not be read from their store: {count}, and --max-storage-errors allows "
            f"{most}: run it again when the store answers (finished shards will be taken over)"
        )


def check_unreadable(count: int, most: int | None) -> None:
    """Refuse a table in which so many objects are called unreadable: a store may have served garbage.

    Args:
        count: of objects.
        most: that may be; None: any number.

    Raises:
        RunError: there are more.
    """
    if most is not None and count > most:
        raise RunError(
            f"objects that hold nothing that can be read: {count}, and --max-unreadable allows {most}: "
            "look at some of them, and run it again when they are right, or with a larger number"
        )


class Failures:
    """Storage errors of a shard, counted by all of its readers.

    Args:
        most: that the whole run may have; with more in one shard it need not go on.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._found = 0
        self._counting = threading.Lock()

    def count(self, error: AudioError) -> None:
        """Count it, if it is one.

        Raises:
            RunError: from `check_storage_errors`.
        """
        if error.status == STORAGE_ERROR:
            with self._counting:
                self._found += 1
            check_storage_errors(self._found, self._most)
