"""Box plots of accuracies, in groups: one box for each answer to a question on each dataset."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from markupsafe import Markup

from l3core.reports.page import COLOURS, drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GAP = 0.6  # between datasets, in boxes
LONG_NAME, LONGEST_NAME = 9, 24  # letters that fit below a box, and that are shown of a longer one
_MEAN: dict[str, Any] = {
    "marker": "D",
    "markerfacecolor": "white",
    "markeredgecolor": "black",
    "markersize": 4.5,
    "linestyle": "none",
}
_PAPER: dict[str, Any] = {"marker": "x", "color": "black", "markersize": 7, "linestyle": "none"}
_MISSING: dict[str, Any] = {"facecolor": "none", "edgecolor": "#999999", "hatch": "////"}


class Box(NamedTuple):
    """One box.

    Attributes:
        group: its dataset, in words.
        level: its answer.
        accuracies: percent; none: it is missing, and hatched.
        papers: what the paper reports, percent; maybe several, where a box pools embeddings.
        note: below its answer.
    """

    group: str
    level: str
    accuracies: tuple[float, ...]
    papers: tuple[float, ...]
    note: str = ""


def draw_boxes(boxes: Sequence[Box]) -> Markup:
    """The chart; boxes of a group are neighbours."""
    places = _places(boxes)
    levels = list(dict.fromkeys(box.level for box in boxes))
    long = any(len(box.level) > LONG_NAME for box in boxes)
    width = max(5.0, 1.6 + 0.75 * (places[-1] + 1))
    with drawing(width_in=min(width, 16.0), height_in=3.9 if long else 3.3) as chart:
        for box, place in zip(boxes, places):
            colour = COLOURS[levels.index(box.level) % len(COLOURS)]
            _draw_box(chart.axes, box, place, colour)
        chart.axes.set_xticks(places, [f"{_shortened(box.level)}\n{box.note}".strip() for box in boxes])
        if long:
            chart.axes.tick_params(axis="x", labelrotation=30)
            for label in chart.axes.get_xticklabels():
                label.set_horizontalalignment("right")
        _name_groups(chart.axes, boxes, places)
        chart.axes.set_xlim(-0.7, places[-1] + 0.7)
        chart.axes.set_ylim(*_limits(boxes))
        chart.axes.set_ylabel("clips recognised, %")
        chart.axes.grid(visible=False, axis="x")
        _add_legend(chart.axes, boxes)
    return chart.svg


def _shortened(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def _draw_box(axes: "Axes", box: Box, place: float, colour: str) -> None:
    if not box.accuracies:
        axes.axvspan(place - 0.35, place + 0.35, **_MISSING)
        return
    axes.boxplot(
        [box.accuracies],
        positions=[place],
        widths=0.6,
        showmeans=True,
        patch_artist=True,
        manage_ticks=False,
        boxprops={"facecolor": colour, "alpha": 0.75},
        medianprops={"color": "black"},
        meanprops=_MEAN,
        flierprops={"marker": "o", "markersize": 3, "markerfacecolor": colour},
    )
    axes.plot([place] * len(box.papers), box.papers, **_PAPER)


def _places(boxes: Sequence[Box]) -> list[float]:
    found = [0.0]
    for before, box in pairwise(boxes):
        found.append(found[-1] + 1 + (GAP if box.group != before.group else 0))
    return found


def _name_groups(axes: "Axes", boxes: Sequence[Box], places: Sequence[float]) -> None:
    for group in dict.fromkeys(box.group for box in boxes):
        mine = [place for box, place in zip(boxes, places) if box.group == group]
        axes.annotate(
            group,
            (float(np.mean(mine)), 1.02),
            xycoords=("data", "axes fraction"),
            ha="center",
            fontweight="bold",
        )


def _limits(boxes: Sequence[Box]) -> tuple[float, float]:
    """Of the axis: all that is shown and a little more, in steps of five."""
    shown = [value for box in boxes for value in (*box.accuracies, *box.papers)] or [0.0, 100.0]
    return max(0.0, 5 * np.floor(min(shown) / 5 - 0.5)), min(102.0, 5 * np.ceil(max(shown) / 5 + 0.5))


def _add_legend(axes: "Axes", boxes: Sequence[Box]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [Line2D([], [], label="mean", **_MEAN)]
    if any(box.papers for box in boxes):
        handles.append(Line2D([], [], label="the paper", **_PAPER))
    if not all(box.accuracies for box in boxes):
        handles.append(Patch(label="left out", **_MISSING))
    axes.legend(handles=handles, loc="center left", bbox_to_anchor=(1, 0.5))
