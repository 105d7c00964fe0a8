"""The page of `l3flow crossval`: how good the classifier is, where it fails, and how it was trained."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from markupsafe import Markup

from l3core.crossval.plan import CrossvalPlan
from l3core.crossval.results import kept_models
from l3core.reports.page import COLOURS, Chart, drawing, render_page

HARDEST_SHOWN = 20
NUMBERED_CLASSES = 20  # up to so many the confusion matrix has its numbers in it
_DASHES = ("-", "--", ":")


class HardClip(NamedTuple):
    """A clip that was not recognised.

    Attributes:
        clip_id: of the table.
        true_label, predicted_label: what it is, and what it was taken for.
        probability: that was given to what it is.
        fold: that it was tested in.
        player: address of its audio, if that is a file on this machine.
    """

    clip_id: str
    true_label: str
    predicted_label: str
    probability: float
    fold: int
    player: str | None


def crossval_page(
    plan: CrossvalPlan, summary: Mapping[str, Any], predictions: pa.Table, trials: pa.Table
) -> str:
    """The page as HTML.

    Args:
        plan: of the cross-validation.
        summary: see `l3core.crossval.summary.summarise`.
        predictions: of all folds.
        trials: of all folds.
    """
    charts = []
    classes: list[tuple[str, ...]] = []
    if "confusion" in summary:
        confusion = np.array(summary["confusion"])
        classes = _class_rows(plan, summary, confusion)
        charts = [
            ("Accuracy by fold", _fold_words(summary), _folds(summary)),
            (
                "Confusion",
                "What the clips of each class (row) were taken for (column), in percent of the row.",
                _confusion(confusion, plan.classes),
            ),
        ]
    return render_page(
        "crossval.html",
        title=f"{summary['dataset_title']}: cross-validation",
        summary=summary,
        facts=_facts(summary),
        charts=charts,
        classes=classes,
        trainings=[
            (
                "Training",
                "Loss on the validation part after each epoch, of the combination that was chosen in "
                "each fold (of several trainings, that of the kept model); a dot marks the epoch whose "
                "weights were kept.",
                _curves(trials, summary),
            )
        ],
        grid=_grid_rows(trials),
        hardest=_hardest(plan, predictions),
    )


def _facts(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    spec = summary["embedding"]["spec"]
    chosen = (spec["model"], spec["input_repr"], spec["content"], spec["embedding_size"])
    embedding = ", ".join(str(value) for value in chosen if value is not None)
    clips = f"{summary['clips']}"
    if not summary["complete"]:
        clips += f" of {summary['published_clips']} ({summary['subset'] or 'a part'})"
    facts = [
        ("clips", clips),
        ("embedding", f"{embedding}, hop {spec['hop_s']} s, {spec['grid']} grid, {spec['weights']}"),
        ("spec", summary["fingerprint"]),
        ("table", summary["table"]),
        ("protocol", f"{summary['protocol']}: {summary['about_protocol']}"),
        ("training", f"batches of {summary['batch_size']}, at most {summary['epochs']} epochs"),
        ("seed", str(summary["seed"])),
    ]
    if summary["differences"]:
        facts.append(("not as published", "; ".join(summary["differences"])))
    if shared := summary["shared_sources"]:
        names = ", ".join(f"{name} in {folds}" for name, folds in shared.items())
        facts.append(("recordings in several folds", f"{names} (so published, and kept)"))
    return facts


def _fold_words(summary: Mapping[str, Any]) -> str:
    words = "Share of the fold's clips that were recognised; the line is the mean."
    if _repeats(summary) > 1:
        words += f" A bar is the mean of {_repeats(summary)} trainings, its whisker spans all of them."
    if summary["paper_accuracy"] is not None:
        words += " Dashed: what the paper reports for this embedding."
    return words


def _repeats(summary: Mapping[str, Any]) -> int:
    return max(fold["repeat"] for fold in summary["folds"])


def _folds(summary: Mapping[str, Any]) -> Markup:
    means = [100 * share for share in summary["by_fold"].values()]
    each: dict[str, list[float]] = {fold: [] for fold in summary["by_fold"]}
    for fold in summary["folds"]:
        if fold["fold"] is not None:
            each[str(fold["fold"])].append(100 * fold["accuracy"])
    with drawing() as chart:
        places = np.arange(len(means))
        chart.axes.bar(places, means, width=0.7, color=COLOURS[0])
        if _repeats(summary) > 1:
            below = [mean - min(shares) for mean, shares in zip(means, each.values())]
            above = [max(shares) - mean for mean, shares in zip(means, each.values())]
            chart.axes.errorbar(places, means, [below, above], fmt="none", ecolor="black", capsize=3)
        for place, share in zip(places, means):
            inside = share > 15
            at, colour = (2, "white") if inside else (share + 1, "black")
            chart.axes.annotate(f"{share:.1f}", (place, at), ha="center", color=colour, fontsize=8)
        mean = 100 * summary["mean_accuracy"]
        chart.axes.axhline(mean, color=COLOURS[3], label=f"mean {mean:.1f} %")
        if summary["paper_accuracy"] is not None:
            paper = 100 * summary["paper_accuracy"]
            chart.axes.axhline(paper, color=COLOURS[7], linestyle="--", label=f"paper {paper:.1f} %")
        chart.axes.set_xticks(places, list(summary["by_fold"]))
        chart.axes.set_xlabel("fold")
        chart.axes.set_xlim(-0.6, max(len(means) - 0.4, 3))
        chart.axes.set_ylim(0, 100)
        chart.axes.set_ylabel("clips recognised, %")
        chart.axes.grid(visible=False, axis="x")
        chart.axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return chart.svg


def _confusion(confusion: np.ndarray, labels: Sequence[str]) -> Markup:
    rows = confusion.sum(axis=1, keepdims=True)
    shares = 100 * confusion / np.maximum(rows, 1)
    side = 3.2 + 0.24 * len(labels) if len(labels) > NUMBERED_CLASSES else 6.2
    with drawing(width_in=side + 1.4, height_in=side) as chart:
        _draw_confusion(chart, shares, labels)
    return chart.svg


def _draw_confusion(chart: Chart, shares: np.ndarray, labels: Sequence[str]) -> None:
    axes = chart.axes
    # cividis is made to look alike with and without red-green blindness, and it prints
    image = axes.pcolormesh(shares, cmap="cividis", vmin=0, vmax=100, edgecolors="white", linewidth=0.3)
    axes.set_aspect("equal")
    axes.invert_yaxis()
    axes.grid(visible=False)
    ticks = np.arange(len(labels)) + 0.5
    axes.set_xticks(ticks, labels, rotation=90)
    axes.set_yticks(ticks, labels)
    axes.set_xlabel("taken for")
    axes.set_ylabel("is")
    axes.figure.colorbar(image, ax=axes, label="% of the row", shrink=0.7)
    centred: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 7}
    if len(labels) <= NUMBERED_CLASSES:
        for (row, column), share in np.ndenumerate(shares):
            if share:
                colour = "black" if share > 50 else "white"
                axes.text(column + 0.5, row + 0.5, f"{share:.0f}", color=colour, **centred)


def _class_rows(
    plan: CrossvalPlan, summary: Mapping[str, Any], confusion: np.ndarray
) -> list[tuple[str, ...]]:
    """Class, tested clips, accuracy, and what it is mistaken for most often."""
    found: list[tuple[str, ...]] = []
    for number, label in enumerate(plan.classes):
        clips = int(confusion[number].sum()) // _repeats(summary)
        share = summary["class_accuracy"][label]
        wrong = confusion[number].copy()
        wrong[number] = 0
        other = int(wrong.argmax())
        mistaken = f"{plan.classes[other]} ({wrong[other]})" if wrong[other] else ""
        found.append((label, str(clips), "" if share is None else f"{100 * share:.1f} %", mistaken))
    return found


def _curves(trials: pa.Table, summary: Mapping[str, Any]) -> Markup:
    kept = set(kept_models(summary["folds"]).values())
    names = {(summary["folds"][place]["fold"], summary["folds"][place]["repeat"]) for place in kept}
    rows = [r for r in trials.to_pylist() if r["chosen"] and (r["fold"], r["repeat"]) in names]
    with drawing(height_in=3.2) as chart:
        for number, row in enumerate(rows):
            losses = row["validation_loss"]
            colour = COLOURS[number % len(COLOURS)]
            dash = _DASHES[number // len(COLOURS) % len(_DASHES)]
            epochs = range(1, len(losses) + 1)
            fold = "all folds" if row["fold"] is None else f"fold {row['fold']}"
            name = f"{fold}: {row['learning_rate']:g}, {row['weight_decay']:g}"
            chart.axes.plot(epochs, losses, color=colour, linestyle=dash, label=name)
            chosen = row["chosen_epoch"]
            chart.axes.plot(chosen, losses[chosen - 1], "o", color=colour, markersize=4)
        chart.axes.set_xlabel("epoch")
        chart.axes.set_ylabel("validation loss")
        chart.axes.set_ylim(bottom=0)
        columns = 1 + len(rows) // 12
        chart.axes.legend(
            loc="center left",
            bbox_to_anchor=(1, 0.5),
            fontsize=7,
            ncols=columns,
            title="learning rate, weight decay",
            title_fontsize=7,
        )
    return chart.svg


def _grid_rows(trials: pa.Table) -> list[tuple[str, ...]]:
    """Learning rate, weight decay, mean validation accuracy over the folds, how often it was chosen."""
    rows = trials.to_pylist()
    combinations = sorted({row["combination"] for row in rows})
    found: list[tuple[str, ...]] = []
    for combination in combinations:
        mine = [row for row in rows if row["combination"] == combination]
        shares = [row["validation_accuracy"][row["chosen_epoch"] - 1] for row in mine]
        epochs = [len(row["validation_loss"]) for row in mine]
        found.append(
            (
                f"{mine[0]['learning_rate']:g}",
                f"{mine[0]['weight_decay']:g}",
                f"{100 * np.mean(shares):.1f} %",
                f"{np.mean(epochs):.1f}",
                str(sum(row["chosen"] for row in mine)),
            )
        )
    return found


def _hardest(plan: CrossvalPlan, predictions: pa.Table) -> list[HardClip]:
    """Clips that were not recognised, on the mean of their repeats; the most sure mistakes first."""
    if not len(predictions):
        return []
    clips = {
        clip_id: (clip, number) for clip, clip_id, number in zip(plan.clips, plan.clip_ids, plan.labels)
    }
    said: dict[str, list[list[float]]] = {}
    for row in predictions.select(["clip_id", "probabilities"]).to_pylist():
        said.setdefault(row["clip_id"], []).append(row["probabilities"])
    found = []
    for clip_id, probabilities in said.items():
        clip, label = clips[clip_id]
        mean = np.mean(probabilities, axis=0)
        if mean.argmax() != label:
            taken = plan.classes[mean.argmax()]
            found.append(
                HardClip(clip_id, clip.label, taken, float(mean[label]), clip.fold, _player(clip.uri))
            )
    return sorted(found, key=lambda clip: (clip.probability, clip.clip_id))[:HARDEST_SHOWN]


def _player(uri: str) -> str | None:
    """A file's address for a browser; None for what is on a store or gone."""
    return Path(uri).as_uri() if "://" not in uri and os.path.isfile(uri) else None
