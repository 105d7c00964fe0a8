"""Training the grid of a cross-validation: against Keras, and a whole run."""

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from l3core.crossval.folds import train_fold
from l3core.crossval.hyperparameters import GRID, Hyperparameters
from l3core.crossval.mlps import Mlps, initial_tensors
from l3core.crossval.plan import CrossvalPlan, Fold
from l3core.crossval.training import rows_a_call
from l3core.datasets.base import LabelledClip
from l3core.table.read import ClipVectors
from launch.benchmarks.figures import Figure, timed

BATCH_SIZE = 32  # of the paper
CLASSES = 50
STEPS = {512: 400, 6144: 60}
# ESC-50 at hop 0.1 s without centring
CLIPS_A_CLASS, FOLDS, WINDOWS_A_CLIP, SIZE = 40, 5, 41, 512


def grid_against_keras(*, scale: float = 1.0) -> Iterator[Figure]:
    """A step of all combinations at once, against one `keras.Model.fit` after another.

    Args:
        scale: of the number of steps, to try it out.
    """
    for size, steps in STEPS.items():
        count = max(2, round(steps * scale))
        generator = np.random.default_rng(0)
        vectors = generator.standard_normal((count * BATCH_SIZE, size), np.float32)
        labels = generator.integers(0, CLASSES, len(vectors))
        tensors = [initial_tensors(size, CLASSES, generator) for _ in GRID]
        models = Mlps(tensors, GRID)
        models.train(vectors[:BATCH_SIZE], labels[:BATCH_SIZE], batch_size=BATCH_SIZE)
        models.totals()
        keras_s = [_fit_all(tensors, vectors, labels)]
        grid_s = timed(partial(_train, models, vectors, labels))
        keras_s.append(_fit_all(tensors, vectors, labels))
        theirs = sum(keras_s) / 2
        yield Figure("nine keras.Model.fit", 1000 * theirs / count, "ms a step", f"{size} numbers")
        yield Figure("the grid at once", 1000 * grid_s / count, "ms a step", f"{size} numbers")
        yield Figure("nine fits / the grid", theirs / grid_s, "", f"{size} numbers, batches of 32")


def whole_run(*, scale: float = 1.0) -> Iterator[Figure]:
    """A clean cross-validation of the size of ESC-50, on made-up embeddings.

    Args:
        scale: of the number of epochs, to try it out.
    """
    plan, features = _made_up(epochs=max(1, round(50 * scale)))
    begin = time.perf_counter()
    epochs = []
    hits = []
    for fold in range(1, FOLDS + 1):
        result = train_fold(plan, features, Fold(fold, 1))
        epochs += [len(trial.epochs) for trial in result.trials]
        hits.append(result.probabilities.argmax(axis=1) == plan.labels[result.clips])
    seconds = time.perf_counter() - begin
    clips = f"{len(plan.clips)} clips of {WINDOWS_A_CLIP} windows of {SIZE} numbers"
    yield Figure("cross-validation", seconds / 60, "min", f"clean, {clips}, {FOLDS} folds")
    yield Figure("epochs", float(np.mean(epochs)), "of 50", "a model, on average")
    yield Figure("accuracy", 100 * float(np.concatenate(hits).mean()), "%", "of the made-up clips")


def _train(models: Mlps, vectors: np.ndarray, labels: np.ndarray) -> None:
    """As `l3core.crossval.training` does."""
    step = rows_a_call(BATCH_SIZE)
    for start in range(0, len(vectors), step):
        rows = slice(start, start + step)
        models.train(vectors[rows], labels[rows], batch_size=BATCH_SIZE)
    models.totals()


def _fit_all(tensors: list[tuple[np.ndarray, ...]], vectors: np.ndarray, labels: np.ndarray) -> float:
    """Seconds of nine fits; building and compiling each model is not counted."""
    seconds = 0.0
    for start, hyperparameters in zip(tensors, GRID):
        model = _keras_model(start, hyperparameters)
        model.fit(vectors[:BATCH_SIZE], labels[:BATCH_SIZE], batch_size=BATCH_SIZE, verbose=0)
        seconds += timed(partial(model.fit, vectors, labels, batch_size=BATCH_SIZE, verbose=0))
    return seconds


def _keras_model(tensors: tuple[np.ndarray, ...], hyperparameters: Hyperparameters) -> Any:
    import keras

    layers = [keras.layers.Input((len(tensors[0]),))]
    for kernel, activation in zip(tensors[::2], ("relu", "relu", "softmax")):
        decay = keras.regularizers.l2(hyperparameters.weight_decay)
        units = kernel.shape[1]
        layers.append(keras.layers.Dense(units, activation, kernel_regularizer=decay))
    model = keras.Sequential(layers)
    model.set_weights(tensors)
    model.compile(
        keras.optimizers.Adam(hyperparameters.learning_rate), "sparse_categorical_crossentropy"
    )
    return model


def _made_up(*, epochs: int) -> tuple[CrossvalPlan, ClipVectors]:
    """Clips whose classes overlap as much as those of ESC-50 do."""
    generator = np.random.default_rng(0)
    classes = tuple(f"class {number:02d}" for number in range(CLASSES))
    clips = tuple(
        LabelledClip(f"{label}/{number}", label, number % FOLDS + 1, f"{label}/{number}")
        for label in classes
        for number in range(CLIPS_A_CLASS)
    )
    labels = np.repeat(np.arange(CLASSES), CLIPS_A_CLASS)
    centres = generator.standard_normal((CLASSES, SIZE), np.float32)
    vectors = np.repeat(centres[labels], WINDOWS_A_CLIP, axis=0)
    # what a clip has of its own, what a window has, and directions that say nothing
    vectors += np.repeat(
        5 * generator.standard_normal((len(clips), SIZE), np.float32), WINDOWS_A_CLIP, axis=0
    )
    vectors += 3 * generator.standard_normal(vectors.shape, np.float32)
    plan = CrossvalPlan(
        dataset="esc50",
        classes=classes,
        clips=clips,
        clip_ids=tuple(clip.uri for clip in clips),
        table="",
        fingerprint="",
        embedding={},
        content="",
        protocol="clean",
        seed=0,
        batch_size=256,
        epochs=epochs,
    )
    return plan, ClipVectors(vectors, np.repeat(np.arange(len(clips)), WINDOWS_A_CLIP))
