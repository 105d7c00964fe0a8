"""Whether a network does better than guessing."""

import math

from l3core.metrics import Interval

_NORMAL_975 = 1.959963984540054


def accuracy_interval(correct: int, count: int) -> Interval:
    """95 % interval of an accuracy: Wilson's score interval of a binomial share.

    Args:
        correct: pairs that were told right.
        count: of all pairs.

    Raises:
        ValueError: no pairs.
    """
    if not count:
        raise ValueError("the accuracy of no pairs is nothing")
    share, square = correct / count, _NORMAL_975**2
    middle = (share + square / (2 * count)) / (1 + square / count)
    spread = share * (1 - share) / count + square / (4 * count**2)
    half = _NORMAL_975 * math.sqrt(spread) / (1 + square / count)
    return Interval(max(0.0, middle - half), min(1.0, middle + half))


def percent(share: float) -> str:
    """A share in words."""
    return f"{100 * share:.1f} %"


def in_words(correct: int, count: int) -> str:
    """An accuracy and its interval."""
    low, high = accuracy_interval(correct, count)
    return f"{percent(correct / count)} ({100 * low:.1f} to {100 * high:.1f})"
