"""Early stopping, the choice of the epoch, and what a seed fixes."""

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from l3core.crossval.hyperparameters import GRID, Hyperparameters
from l3core.crossval.protocols import PROTOCOLS, Clean, Verdict
from l3core.crossval.training import (
    Standardised,
    Task,
    fit_scaler,
    train_grid,
)


def task(clips=60, windows=3, size=12, classes=3, seed=0):
    generator = np.random.default_rng(seed)
    labels = np.arange(clips) % classes
    centres = generator.standard_normal((classes, size))
    vectors = np.repeat(centres[labels], windows, axis=0)
    vectors = (vectors + generator.standard_normal(vectors.shape)).astype(np.float32)
    owners = np.repeat(np.arange(clips), windows)
    rows = np.arange(len(vectors))
    held = owners % 5 == 0
    mean, scale = fit_scaler(vectors, rows[~held])
    return Task(
        Standardised(vectors, mean, scale), rows[~held], rows[held], owners, labels[owners], classes
    )


class Scripted(Clean):
    """A protocol whose losses are given: model -> loss after each epoch."""

    def __init__(self, losses):
        self.losses = losses
        self.epoch = 0
        self.judged = []

    def judge(self, probabilities, **others):
        self.epoch += 1
        self.judged.append(len(probabilities))
        active = [each for each in self.losses if len(each) >= self.epoch]
        losses = np.array([each[self.epoch - 1] for each in active])
        return Verdict(losses, np.zeros(len(active)))


def train(work, protocol, grid=GRID, **options):
    return train_grid(
        work, protocol, grid=grid, generator=np.random.default_rng(5), batch_size=32, **options
    )


def test_each_model_stops_for_itself_and_keeps_its_best_epoch():
    protocol = Scripted([[3, 1, 2, 2], [5, 4, 3, 2, 1, 1], [9, 9, 9]])
    seen = []
    trials = train(
        task(), protocol, GRID[:3], epochs=6, patience=2, on_epoch=lambda *each: seen.append(each)
    )
    assert [trial.chosen_epoch for trial in trials] == [2, 5, 1]
    assert [len(trial.epochs) for trial in trials] == [4, 6, 3]
    assert protocol.judged == [3, 3, 3, 2, 1, 1]  # a stopped model is computed no more
    assert seen == [(1, 3), (2, 3), (3, 2), (4, 1), (5, 1), (6, 0)]
    assert [trial.chosen.validation_loss for trial in trials] == [1, 1, 9]
    assert trials[2].seconds < trials[0].seconds < trials[1].seconds


def test_the_weights_are_those_of_the_chosen_epoch():
    """As if the training had ended there."""
    stopped = train(task(), Scripted([[3, 1, 2, 2, 2]]), GRID[8:], epochs=5, patience=9)[0]
    short = train(task(), Scripted([[3, 1]]), GRID[8:], epochs=2, patience=9)[0]
    long = train(task(), Scripted([[5, 4, 3, 2, 1]]), GRID[8:], epochs=5, patience=9)[0]
    for mine, same, other in zip(stopped.tensors, short.tensors, long.tensors):
        np.testing.assert_array_equal(mine, same)
        assert not np.array_equal(mine, other)


@pytest.mark.parametrize("name", ["clean", "paper"])
def test_a_seed_gives_the_same_bits(name):
    first, again = (train(task(), PROTOCOLS[name], epochs=3) for _ in range(2))
    for one, other in zip(first, again):
        assert one.epochs == other.epochs
        for mine, theirs in zip(one.tensors, other.tensors):
            np.testing.assert_array_equal(mine, theirs)
    other = train_grid(
        task(), PROTOCOLS[name], generator=np.random.default_rng(6), batch_size=32, epochs=3
    )
    assert other[0].epochs != first[0].epochs


class Watched(Standardised):
    """Remembers what was looked at."""

    def __init__(self, vectors):
        size = vectors.shape[1]
        super().__init__(vectors, np.zeros(size), np.ones(size))
        self.seen = []

    def __getitem__(self, rows):
        self.seen.append(rows)
        return super().__getitem__(rows)


def test_every_epoch_sees_each_training_window_once_in_another_order():
    owners = np.arange(3000) // 3
    rows = np.arange(3000)
    train_rows, held = rows[owners % 5 != 0], rows[owners % 5 == 0]
    watched = Watched(np.random.default_rng(0).standard_normal((3000, 4)).astype(np.float32))
    work = Task(watched, train_rows, held, owners, owners % 3, 3)
    train(work, PROTOCOLS["clean"], GRID[:1], epochs=2)
    seen = np.concatenate(watched.seen)
    epochs = seen.reshape(2, 3000)  # what trains, then what validates
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch[:2400]), train_rows)
        np.testing.assert_array_equal(epoch[2400:], held)
        assert not np.array_equal(epoch[:2400], train_rows)
    assert not np.array_equal(*epochs)


def test_it_learns():
    trial = train(task(), PROTOCOLS["clean"], (Hyperparameters(1e-3, 1e-4),), epochs=20)[0]
    assert trial.chosen.validation_accuracy >= 0.9
    assert trial.chosen.train_accuracy >= 0.9
    assert trial.epochs[0].train_loss > trial.chosen.train_loss


def test_a_model_whose_loss_is_no_number_stops_like_any_other():
    trials = train(task(), Scripted([[np.nan] * 3, [3, 2, 1, 1, 1]]), GRID[:2], epochs=5, patience=2)
    assert [trial.chosen_epoch for trial in trials] == [1, 3]


def test_vectors_are_standardised_as_scikit_learn_does():
    generator = np.random.default_rng(0)
    vectors = (100 + 7 * generator.standard_normal((400_000, 20))).astype(np.float32)  # two chunks
    vectors[:, 3] = 5.0  # never changes
    rows = np.arange(0, len(vectors), 3)
    expected = StandardScaler().fit(vectors[rows].astype(np.float64))
    mean, scale = fit_scaler(vectors, rows)
    np.testing.assert_allclose(mean, expected.mean_, rtol=1e-6)
    np.testing.assert_allclose(scale, expected.scale_, rtol=1e-5)
    assert scale[3] == 1
    some = np.array([5, 1, 7])
    before = vectors.copy()
    found = Standardised(vectors, mean, scale)[some]
    np.testing.assert_allclose(found, expected.transform(vectors[some]), atol=1e-4)
    np.testing.assert_array_equal(vectors, before)  # they are shared
