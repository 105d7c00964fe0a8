"""A measured number, and the clock."""

import time
from collections.abc import Callable
from typing import NamedTuple


class Figure(NamedTuple):
    """One measured number.

    Attributes:
        name: what was measured.
        value: the number.
        unit: of the number.
        note: how, or against what.
    """

    name: str
    value: float
    unit: str
    note: str = ""


def timed(work: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
