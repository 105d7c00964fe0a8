"""Accuracies against the amount of training: one line for each dataset, from a list of checkpoints."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from l3core.datasets import DATASETS
from l3core.paper import AVC_ACCURACIES
from l3core.reports.page import COLOURS, drawing
from l3core.study.scores import Cell

OWN_TASK = "#000000"


def draw_samples(cells: Sequence[Cell]) -> Markup:
    """The chart of the cells that are checkpoints; those that are missing have no point."""
    from matplotlib.ticker import NullFormatter

    points = [cell for cell in cells if cell.embedding.samples is not None]
    with drawing(width_in=8.0, height_in=3.4) as chart:
        axes = chart.axes
        for number, dataset in enumerate(dict.fromkeys(cell.dataset for cell in points)):
            mine = [cell for cell in points if cell.dataset == dataset and cell.summary]
            if not mine:
                continue
            mine.sort(key=_samples)
            means = np.array([100 * cell.accuracies.mean() for cell in mine])
            # a mean of equal numbers may be off by a bit, and Matplotlib refuses whiskers below zero
            below = np.maximum(0, means - [100 * cell.accuracies.min() for cell in mine])
            above = np.maximum(0, [100 * cell.accuracies.max() for cell in mine] - means)
            axes.errorbar(
                [_samples(cell) for cell in mine],
                means,
                [below, above],
                color=COLOURS[number % (len(COLOURS) - 1)],
                marker="o",
                markersize=4,
                capsize=3,
                label=DATASETS[dataset].title,
            )
        own = {
            _samples(cell): 100 * cell.embedding.avc_accuracy
            for cell in sorted(points, key=_samples)
            if cell.embedding.avc_accuracy is not None
        }
        if own:
            axes.plot(list(own), list(own.values()), "--", color=OWN_TASK, label="its own task")
        paper = [100 * share for share in AVC_ACCURACIES.values()]
        axes.plot(list(AVC_ACCURACIES), paper, ":", color=OWN_TASK, label="its own task, the paper")
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda pairs, _: f"{pairs:,.0f}")  # its own would be in TeX
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("pairs that the training had seen")
        axes.set_ylabel("accuracy, %")
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return chart.svg


def _samples(cell: Cell) -> float:
    assert cell.embedding.samples is not None
    return cell.embedding.samples
