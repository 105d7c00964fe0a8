"""The figures of a cross-validation, from what its folds left."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from l3core.crossval.plan import CrossvalPlan
from l3core.crossval.results import kept_models, labels_of
from l3core.metrics import accuracy, bootstrap_interval, class_accuracies, confusion_matrix
from l3core.paper import published


def summarise(
    plan: CrossvalPlan, folds: Sequence[dict[str, Any]], predictions: pa.Table
) -> dict[str, Any]:
    """The figures.

    Args:
        plan: of the cross-validation.
        folds: what each fold's `done.json` says.
        predictions: of all folds.
    """
    tested = [fold for fold in folds if fold["fold"] is not None]
    paper = published(plan.dataset, plan.embedding["spec"], complete=plan.facts["complete"])
    summary: dict[str, Any] = {
        "dataset": plan.dataset,
        "classes": list(plan.classes),
        "clips": len(plan.clips),
        "protocol": plan.protocol,
        "leaky_validation": plan.rules.leaky,
        "about_protocol": plan.rules.about,
        "table": plan.table,
        "fingerprint": plan.fingerprint,
        "embedding": plan.embedding,
        "seed": plan.seed,
        "batch_size": plan.batch_size,
        "epochs": plan.epochs,
        "digest": plan.digest,
        "folds": list(folds),
        "models": list(kept_models(folds)),
        "paper_accuracy": paper.accuracy if paper and not paper.differs else None,
        **plan.facts,
    }
    if tested:
        summary |= _figures(plan, tested, predictions)
    return summary


def _figures(
    plan: CrossvalPlan, folds: Sequence[dict[str, Any]], predictions: pa.Table
) -> dict[str, Any]:
    truth = labels_of(predictions, "true_label", plan.classes)
    predicted = labels_of(predictions, "predicted_label", plan.classes)
    confusion = confusion_matrix(truth, predicted, len(plan.classes))
    by_fold: dict[str, list[float]] = {}
    for fold in folds:
        by_fold.setdefault(str(fold["fold"]), []).append(fold["accuracy"])
    accuracies = np.array([np.mean(shares) for shares in by_fold.values()])
    by_class = class_accuracies(confusion)
    names = predictions["clip_id"].combine_chunks().dictionary_encode().indices.to_numpy()
    hits = np.bincount(names, weights=truth == predicted) / np.bincount(names)
    low, high = bootstrap_interval(hits, seed=plan.seed)
    return {
        "tested_clips": len(hits),
        "by_fold": dict(zip(by_fold, accuracies.tolist())),
        "mean_accuracy": float(accuracies.mean()),
        "deviation": float(accuracies.std(ddof=1)) if len(accuracies) > 1 else None,
        "clip_accuracy": accuracy(confusion),
        "interval": [low, high],
        "mean_class_accuracy": float(np.nanmean(by_class)),
        "class_accuracy": {
            label: None if np.isnan(share) else float(share)
            for label, share in zip(plan.classes, by_class)
        },
        "confusion": confusion.tolist(),  # of all repeats
    }
