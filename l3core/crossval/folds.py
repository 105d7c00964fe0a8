"""One fold: split, standardise, train the grid, choose, test."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from l3core.classifier import Classifier
from l3core.crossval.plan import CrossvalPlan, Fold, seeds_of
from l3core.crossval.protocols import Parts, Verdict
from l3core.crossval.training import Standardised, Task, Trial, fit_scaler, train_grid
from l3core.features import chunks
from l3core.metrics import vote
from l3core.table.read import ClipVectors


class FoldResult(NamedTuple):
    """A trained and tested fold.

    Attributes:
        fold: which.
        parts: the windows by what they were for.
        trials: of all combinations.
        best: the chosen one.
        classifier: of the chosen one.
        clips: that were tested, places in the plan.
        probabilities: of those clips, float64 `(clips, classes)`.
        seconds: it took.
    """

    fold: Fold
    parts: Parts
    trials: list[Trial]
    best: int
    classifier: Classifier
    clips: np.ndarray
    probabilities: np.ndarray
    seconds: float


def train_fold(
    plan: CrossvalPlan,
    features: ClipVectors,
    fold: Fold,
    *,
    on_epoch: Callable[[int, int], None] = lambda epoch, left: None,
) -> FoldResult:
    """Train and test one fold.

    Args:
        plan: the cross-validation.
        features: the windows of the plan's clips.
        fold: to test on.
        on_epoch: told the number of each epoch and how many models are left.

    Raises:
        DatasetError: the clips cannot be split.
    """
    begin = time.perf_counter()
    rules = plan.rules
    labels = plan.labels
    parts = plan.parts(features.clips, fold)
    mean, scale = fit_scaler(features.vectors, parts.scaled)
    task = Task(
        vectors=Standardised(features.vectors, mean, scale),
        train=parts.train,
        validation=parts.validation,
        clips=features.clips,
        labels=labels[features.clips],
        classes=len(plan.classes),
    )
    trials = train_grid(
        task,
        rules,
        generator=np.random.default_rng(seeds_of(plan.seed, fold)),
        batch_size=plan.batch_size,
        epochs=plan.epochs,
        on_epoch=on_epoch,
    )
    losses, accuracies = zip(*(trial.chosen[2:] for trial in trials))
    best = rules.best(Verdict(np.array(losses), np.array(accuracies)))
    classifier = Classifier(
        labels=plan.classes,
        mean=mean,
        scale=scale,
        tensors=trials[best].tensors,
        facts=_facts(plan, fold, trials[best]),
    )
    clips, votes = _test(classifier, features, parts.test)
    return FoldResult(fold, parts, trials, best, classifier, clips, votes, time.perf_counter() - begin)


def _test(
    classifier: Classifier, features: ClipVectors, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The clips of some rows, and their votes."""
    clips, numbers = np.unique(features.clips[rows], return_inverse=True)
    pieces = [rows[piece] for piece in chunks(len(rows), features.vectors.shape[1])]
    found = [classifier.probabilities(features.vectors[piece]) for piece in pieces]
    if not found:  # of the final model, which tests on nothing
        return clips, np.empty((0, len(classifier.labels)))
    return clips, vote(np.concatenate(found), numbers, len(clips))


def _facts(plan: CrossvalPlan, fold: Fold, trial: Trial) -> dict[str, Any]:
    """What a model file says of itself."""
    return {
        "embedding": plan.embedding,
        "fingerprint": plan.fingerprint,
        "dataset": plan.dataset,
        "protocol": plan.protocol,
        "leaky_validation": plan.rules.leaky,
        "test_fold": fold.test_fold,
        "repeat": fold.repeat,
        "seed": plan.seed,
        **trial.hyperparameters._asdict(),
    }
