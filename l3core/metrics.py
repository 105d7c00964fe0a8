"""How good a classifier is, by clip: votes, accuracies, confusions, and how sure they are.

Labels are whole numbers `0 ... classes - 1`; probabilities are `(items, classes)` and sum to one.
"""

from typing import NamedTuple

import numpy as np

CONFIDENCE = 0.95
RESAMPLES = 10_000
LEAST_PROBABILITY = 1e-7  # Keras' epsilon: a wrong clip costs at most 16.1


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


def vote(probabilities: np.ndarray, clips: np.ndarray, count: int) -> np.ndarray:
    """A clip's probabilities: the mean over its windows (Cramer et al. 2019: the sum's maximum).

    Args:
        probabilities: of windows, `(..., windows, classes)`.
        clips: the clip of each window, `0 ... count - 1`, `(windows,)`.
        count: of clips.

    Returns:
        `(..., count, classes)`, float64.

    Raises:
        ValueError: a clip without windows, which nobody can vote for.
    """
    windows = np.bincount(clips, minlength=count)
    if len(windows) > count or not windows.all():
        raise ValueError("needs windows of every clip, and of no other")
    by_clip = probabilities[..., np.argsort(clips, kind="stable"), :]
    first = np.cumsum(windows) - windows
    return np.add.reduceat(by_clip, first, axis=-2, dtype=np.float64) / windows[:, np.newaxis]


def cross_entropy(probabilities: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Mean of -log of the probability of the true class, `(...)` for `(..., items, classes)`."""
    true = np.take_along_axis(
        probabilities, np.broadcast_to(truth[:, np.newaxis], (*probabilities.shape[:-1], 1)), axis=-1
    )
    return -np.log(np.maximum(true, LEAST_PROBABILITY)).mean(axis=(-2, -1), dtype=np.float64)


def confusion_matrix(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """How many items of each class (row) were taken for each (column), int64 `(classes, classes)`."""
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (truth, predicted), 1)
    return matrix


def accuracy(confusion: np.ndarray) -> float:
    """Share of all items that were recognised.

    Raises:
        ValueError: no items.
    """
    if not confusion.sum():
        raise ValueError("the accuracy of no items is nothing")
    return float(np.trace(confusion) / confusion.sum())


def class_accuracies(confusion: np.ndarray) -> np.ndarray:
    """Share of each class's items that were recognised, `(classes,)`; NaN for a class without items."""
    items = confusion.sum(axis=1)
    return np.divide(np.diagonal(confusion), items, out=np.full(len(items), np.nan), where=items > 0)


def bootstrap_interval(correct: np.ndarray, *, seed: int = 0) -> Interval:
    """95 % interval of the accuracy, by resampling clips (Efron's percentile bootstrap).

    It tells what other clips of the same kind might give, not what another training would.

    Args:
        correct: `(clips,)`, whether each was recognised, or in which share of the repeats.
        seed: of the resampling.
    """
    count = len(correct)
    if not count:
        raise ValueError("the accuracy of no items is nothing")
    # of a resample only the number of clips of each value matters, and that is multinomial
    values, sizes = np.unique(np.asarray(correct, np.float64), return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(count, sizes / count, size=RESAMPLES)
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(drawn @ values / count, [tail, 100 - tail])
    return Interval(float(low), float(high))
