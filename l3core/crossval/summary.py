"""The figures of a cross-validation, from what its folds left."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from l3core.crossval.plan import CrossvalPlan
from l3core.crossval.results import kept_models, labels_of
from l3core.metrics import accuracy, bootstrap_interval, class_accuracies, confusion_matrix

# Percent, of 6144 numbers at hop 0.1 s, by dataset, spectrogram and training of L3 (Cramer et al. 2019,
# figure 2 and table 2).
PAPER = {
    ("urbansound8k", "mel256", "music"): 78.23,
    ("urbansound8k", "mel256", "env"): 79.34,
    ("esc50", "mel256", "music"): 79.82,
    ("dcase2013", "mel256", "music"): 97.0,
}
PAPER_HOP_S = 0.1


def paper_accuracy(dataset: str, spec: Mapping[str, Any]) -> float | None:
    """What the paper reports for a dataset and an embedding, 0 to 1; None if it was not among them.

    The grid may be another: the paper's code lays windows a little differently (`--grid paper`).
    """
    same = (
        spec["model"] == "l3"
        and spec["embedding_size"] == 6144
        and spec["hop_s"] == PAPER_HOP_S
        and spec["weights"] == "published"
    )
    percent = PAPER.get((dataset, spec["input_repr"], spec["content"]))
    return percent / 100 if same and percent is not None else None


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
    paper = paper_accuracy(plan.dataset, plan.embedding["spec"])
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
        "paper_accuracy": paper if plan.facts["complete"] else None,
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
