"""Training the combinations of a fold: all on the same batches, each until it no longer gets better."""

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from l3core.crossval.hyperparameters import GRID, Hyperparameters
from l3core.crossval.protocols import Protocol, Verdict
from l3core.features import chunks

if TYPE_CHECKING:
    from l3core.crossval.mlps import Mlps

EPOCHS = 50
PATIENCE = 20
ROWS_A_CALL = 1024


class Standardised:
    """Vectors that are standardised when they are looked at: those of a large corpus are there once.

    Args:
        vectors: float32 `(windows, d)`.
        mean, scale: float64 `(d,)`.
    """

    def __init__(self, vectors: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> None:
        self._vectors = vectors
        self._mean = mean.astype(np.float32)
        self._scale = scale.astype(np.float32)
        self.size = vectors.shape[1]

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Some rows, float32 `(len(rows), d)`."""
        found = self._vectors[rows]
        found -= self._mean
        found /= self._scale
        return found

    def pieces(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Many rows, piece by piece."""
        for piece in chunks(len(rows), self.size):
            yield self[rows[piece]]


def fit_scaler(vectors: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of some rows, float64 `(d,)` each; a column that never changes has 1."""
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler()
    for piece in chunks(len(rows), vectors.shape[1]):
        scaler.partial_fit(vectors[rows[piece]])
    return scaler.mean_, scaler.scale_


class Task(NamedTuple):
    """What a grid is trained on.

    Attributes:
        vectors: of all windows.
        train, validation: their rows.
        clips, labels: of all windows, int64 `(windows,)`.
        classes: how many there are.
    """

    vectors: Standardised
    train: np.ndarray
    validation: np.ndarray
    clips: np.ndarray
    labels: np.ndarray
    classes: int


class Epoch(NamedTuple):
    """One model after one epoch; the training's loss is without the penalty of the weight decay."""

    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float


class Trial(NamedTuple):
    """One trained combination.

    Attributes:
        hyperparameters: of the combination.
        epochs: of the training, in order.
        chosen_epoch: the one with the lowest validation loss, from 1.
        seconds: from the beginning until this model was done.
        tensors: kernel and bias of each layer after that epoch.
    """

    hyperparameters: Hyperparameters
    epochs: tuple[Epoch, ...]
    chosen_epoch: int
    seconds: float
    tensors: tuple[np.ndarray, ...]

    @property
    def chosen(self) -> Epoch:
        """The epoch whose weights were kept."""
        return self.epochs[self.chosen_epoch - 1]


def train_grid(
    task: Task,
    protocol: Protocol,
    *,
    generator: np.random.Generator,
    batch_size: int,
    epochs: int = EPOCHS,
    patience: int = PATIENCE,
    grid: tuple[Hyperparameters, ...] = GRID,
    on_epoch: Callable[[int, int], None] = lambda epoch, left: None,
) -> list[Trial]:
    """Train all combinations, each until its validation loss has not fallen for `patience` epochs.

    Args:
        task: what to train on.
        protocol: how to judge.
        generator: of the first weights and the order of the windows.
        batch_size: windows in a step.
        epochs: at most.
        patience: epochs.
        grid: the combinations.
        on_epoch: told the number of each epoch and how many models are left.
    """
    from l3core.crossval.mlps import Mlps, initial_tensors

    begin = time.perf_counter()
    tensors = [initial_tensors(task.vectors.size, task.classes, generator) for _ in grid]
    models = Mlps(tensors, grid)
    courses = [_Course() for _ in grid]
    active = courses
    for number in range(1, epochs + 1):
        training = _train_epoch(models, task, generator, batch_size)
        verdict = _validate(models, task, protocol)
        for place, course in enumerate(active):
            course.add(Epoch(*(float(each[place]) for each in (*training, *verdict))))
            if course.best == number:
                course.tensors = models.tensors(place)
            course.seconds = time.perf_counter() - begin
        going = [place for place, course in enumerate(active) if number - course.best < patience]
        if number == epochs:
            going = []
        if 0 < len(going) < len(active):
            models.keep(going)
        active = [active[place] for place in going]
        on_epoch(number, len(active))
        if not active:
            break
    return [
        Trial(each, tuple(course.epochs), course.best, course.seconds, course.tensors)
        for each, course in zip(grid, courses)
    ]


class _Course:
    """One model on its way: its epochs, the best of them (from 1), and the weights after that one."""

    def __init__(self) -> None:
        self.epochs: list[Epoch] = []
        self.best = 0
        self.seconds = 0.0
        self.tensors: tuple[np.ndarray, ...] = ()

    def add(self, epoch: Epoch) -> None:
        self.epochs.append(epoch)
        # the first epoch counts even if its loss is no number
        if not self.best or epoch.validation_loss < self.epochs[self.best - 1].validation_loss:
            self.best = len(self.epochs)


def seconds_a_step(size: int, classes: int, *, batch_size: int, steps: int) -> float:
    """How long a step of the whole grid takes here, on random data.

    Args:
        size: numbers in an embedding.
        classes: outputs.
        batch_size: windows in a step.
        steps: to time at least, after one that warms up.
    """
    from l3core.crossval.mlps import Mlps, initial_tensors

    generator = np.random.default_rng(0)
    models = Mlps([initial_tensors(size, classes, generator) for _ in GRID], GRID)
    vectors = generator.standard_normal((rows_a_call(batch_size), size), np.float32)
    labels = generator.integers(0, classes, len(vectors))
    models.train(vectors[:batch_size], labels[:batch_size], batch_size=batch_size)
    calls = -(-steps * batch_size // len(vectors))
    begin = time.perf_counter()
    for _ in range(calls):
        models.train(vectors, labels, batch_size=batch_size)
    models.totals()
    return (time.perf_counter() - begin) * batch_size / (calls * len(vectors))


def rows_a_call(batch_size: int) -> int:
    """Windows that are gathered and trained on in one call of the graph: whole batches of them."""
    return max(1, ROWS_A_CALL // batch_size) * batch_size


def _train_epoch(
    models: "Mlps", task: Task, generator: np.random.Generator, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """One pass over the training windows; mean cross-entropy and accuracy of each model on the way."""
    order = task.train[generator.permutation(len(task.train))]
    step = rows_a_call(batch_size)
    for start in range(0, len(order), step):
        rows = order[start : start + step]
        models.train(task.vectors[rows], task.labels[rows], batch_size=batch_size)
    losses, hits = models.totals()
    return losses / len(order), hits / len(order)


def _validate(models: "Mlps", task: Task, protocol: Protocol) -> Verdict:
    found = [models.probabilities(piece) for piece in task.vectors.pieces(task.validation)]
    return protocol.judge(
        np.concatenate(found, axis=1),
        clips=task.clips[task.validation],
        labels=task.labels[task.validation],
        penalties=models.penalties(),
    )
