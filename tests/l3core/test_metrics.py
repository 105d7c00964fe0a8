"""Metrics against hand-worked arrays and scikit-learn."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as theirs

from l3core.metrics import (
    accuracy,
    bootstrap_interval,
    class_accuracies,
    confusion_matrix,
    vote,
)


def test_a_vote_is_the_mean_of_a_clips_windows():
    windows = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.5, 0.5]])
    found = vote(windows, np.array([1, 0, 1, 1]), 2)
    # clip 1: (0.9 + 0.4 + 0.5) / 3 = 0.6
    np.testing.assert_allclose(found, [[0.2, 0.8], [0.6, 0.4]])


def test_a_clip_may_win_against_most_of_its_windows():
    windows = np.array([[0.45, 0.55], [0.45, 0.55], [0.9, 0.1]])  # sums 1.8 and 1.2
    assert vote(windows, np.zeros(3, int), 1).argmax() == 0


@pytest.mark.parametrize("clips", [[0, 0], [0, 2], [1, 1]])
def test_every_clip_needs_a_window_and_no_other(clips):
    with pytest.raises(ValueError, match="every clip"):
        vote(np.ones((2, 3)) / 3, np.array(clips), 2)


def test_accuracies_are_scikit_learns():
    generator = np.random.default_rng(0)
    truth, predicted = generator.integers(0, 5, 300), generator.integers(0, 5, 300)
    matrix = confusion_matrix(truth, predicted, 5)
    np.testing.assert_array_equal(matrix, theirs.confusion_matrix(truth, predicted))
    assert accuracy(matrix) == theirs.accuracy_score(truth, predicted)
    expected = theirs.recall_score(truth, predicted, average=None)
    np.testing.assert_allclose(class_accuracies(matrix), expected)


def test_a_class_without_items_has_no_accuracy():
    matrix = confusion_matrix(np.array([0, 0, 2]), np.array([0, 1, 2]), 3)
    np.testing.assert_array_equal(matrix, [[1, 1, 0], [0, 0, 0], [0, 0, 1]])
    np.testing.assert_allclose(class_accuracies(matrix), [0.5, np.nan, 1.0])
    assert accuracy(matrix) == pytest.approx(2 / 3)


def test_nothing_has_no_accuracy():
    with pytest.raises(ValueError, match="no items"):
        accuracy(np.zeros((3, 3), int))
    with pytest.raises(ValueError, match="no items"):
        bootstrap_interval(np.zeros(0, bool))


def test_the_interval_is_that_of_a_bootstrap():
    """Against SciPy's, which really resamples."""
    correct = np.random.default_rng(1).random(400) < 0.78
    found = bootstrap_interval(correct)
    expected = stats.bootstrap(
        (correct,), np.mean, method="percentile", n_resamples=5_000, rng=np.random.default_rng(2)
    ).confidence_interval
    np.testing.assert_allclose(found, expected, atol=0.006)
    assert found == bootstrap_interval(correct)
    assert bootstrap_interval(np.ones(10, bool)) == (1.0, 1.0)
