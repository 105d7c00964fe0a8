"""Several MLPs at once, against plain Keras models trained on the same batches."""

import keras
import numpy as np
import pytest

from l3core.crossval.hyperparameters import GRID, Hyperparameters
from l3core.crossval.mlps import Mlps, initial_tensors

SIZE, CLASSES, BATCH = 24, 5, 32
# not in the order of their rates, which share their variables
MIXED = tuple(
    Hyperparameters(*each)
    for each in ((1e-3, 1e-2), (2e-3, 0.0), (1e-4, 1e-1), (2e-3, 1e-3), (1e-3, 0.0))
)


def keras_model(tensors, hyperparameters, size=SIZE):
    """Written from the paper's code, not from ours."""
    learning_rate, decay = hyperparameters

    def dense(units, activation):
        return keras.layers.Dense(
            units, activation=activation, kernel_regularizer=keras.regularizers.l2(decay)
        )

    model = keras.Sequential(
        [keras.layers.Input((size,)), dense(512, "relu"), dense(128, "relu"), dense(CLASSES, "softmax")]
    )
    model.set_weights(tensors)
    model.compile(
        keras.optimizers.Adam(learning_rate), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    return model


def batches(count, size=SIZE, last=BATCH):
    generator = np.random.default_rng(7)
    for number in range(count):
        rows = last if number == count - 1 else BATCH
        yield generator.standard_normal((rows, size), np.float32), generator.integers(0, CLASSES, rows)


def starts(grid, size=SIZE):
    generator = np.random.default_rng(3)
    return [initial_tensors(size, CLASSES, generator) for _ in grid]


@pytest.mark.parametrize("grid", [GRID, MIXED])
def test_losses_are_those_of_keras_for_twenty_steps(grid):
    tensors = starts(grid)
    models = Mlps(tensors, grid)
    theirs = [keras_model(start, each) for start, each in zip(tensors, grid)]
    for vectors, labels in batches(20, last=11):
        penalties = models.penalties()
        models.train(vectors, labels, batch_size=len(labels))
        losses, _ = models.totals()
        ours = losses / len(vectors) + penalties
        expected = [model.train_on_batch(vectors, labels)[0] for model in theirs]
        for model in theirs:
            model.reset_metrics()
        np.testing.assert_allclose(ours, expected, rtol=1e-5)
    for place, model in enumerate(theirs):
        for mine, other in zip(models.tensors(place), model.get_weights()):
            # single units that are hardly ever active take Adam's steps in any direction
            assert np.linalg.norm(mine - other) <= 1e-3 * np.linalg.norm(other)


def test_batches_within_a_call_are_those_of_a_fit():
    """Seventy windows in batches of 32: the last has six."""
    tensors = starts(MIXED)
    models = Mlps(tensors, MIXED)
    vectors, labels = map(np.concatenate, zip(*batches(3, last=6)))
    assert len(vectors) == 70
    models.train(vectors, labels, batch_size=BATCH)
    for place, (start, each) in enumerate(zip(tensors, MIXED)):
        model = keras_model(start, each)
        model.fit(vectors, labels, batch_size=BATCH, shuffle=False, verbose=0)
        for mine, other in zip(models.tensors(place), model.get_weights()):
            assert np.linalg.norm(mine - other) <= 1e-4 * np.linalg.norm(other) + 1e-7


def test_probabilities_and_penalties_are_those_of_keras():
    tensors = starts(MIXED)
    models = Mlps(tensors, MIXED)
    vectors, labels = next(batches(1))
    found = models.probabilities(vectors)
    assert found.shape == (5, BATCH, CLASSES)
    for place, (start, each) in enumerate(zip(tensors, MIXED)):
        model = keras_model(start, each)
        np.testing.assert_allclose(found[place], model.predict(vectors, verbose=0), atol=1e-6)
        whole, _ = model.evaluate(vectors, labels, verbose=0)
        alone = -np.log(found[place][np.arange(BATCH), labels]).mean()
        np.testing.assert_allclose(models.penalties()[place], whole - alone, atol=2e-6)


def test_totals_count_windows_and_begin_anew():
    models = Mlps(starts(GRID), GRID)
    vectors, labels = next(batches(1))
    hits = (models.probabilities(vectors).argmax(axis=2) == labels).sum(axis=1)
    models.train(vectors, labels, batch_size=len(labels))
    np.testing.assert_array_equal(models.totals()[1], hits)
    np.testing.assert_array_equal(models.totals()[0], np.zeros(9))


@pytest.mark.parametrize(("grid", "first", "then"), [(GRID, [0, 4, 8], 1), (MIXED, [0, 2, 3, 4], 2)])
def test_models_that_stay_go_on_as_if_nothing_had_happened(grid, first, then):
    whole, fewer = Mlps(starts(grid), grid), Mlps(starts(grid), grid)
    steps = list(batches(6))
    for number, step in enumerate(steps):
        if number == 3:
            fewer.keep(first)
            for place, model in enumerate(first):
                for mine, other in zip(fewer.tensors(place), whole.tensors(model)):
                    np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-7)
        if number == 5:
            fewer.keep([then])
        whole.train(*step, batch_size=BATCH)
        fewer.train(*step, batch_size=BATCH)
    assert fewer.probabilities(steps[0][0]).shape[0] == 1
    for mine, other in zip(fewer.tensors(0), whole.tensors(first[then])):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(fewer.totals()[0][0], whole.totals()[0][first[then]], rtol=1e-5)


def test_first_weights_are_keras_defaults():
    """Glorot's uniform limits, biases zero (Keras' Dense)."""
    tensors = initial_tensors(300, 10, np.random.default_rng(0))
    assert [each.shape for each in tensors] == [(300, 512), (512,), (512, 128), (128,), (128, 10), (10,)]
    for kernel, bias in zip(tensors[::2], tensors[1::2]):
        limit = np.sqrt(6 / sum(kernel.shape))
        assert 0.98 * limit < np.abs(kernel).max() <= limit
        assert abs(kernel.mean()) < 0.05 * limit
        assert not bias.any()
        assert kernel.dtype == np.float32
