"""The page of `l3flow runs --plot`: what the runs of a table did, over time."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from markupsafe import Markup

from l3core.reports.page import COLOURS, drawing, render_page
from l3core.table.layout import STATUSES
from l3core.table.stopwatch import KINDS


def runs_page(
    table: str, records: Sequence[dict[str, Any]], columns: Sequence[str], rows: Sequence[Sequence[str]]
) -> str:
    """The page as HTML.

    Args:
        table: where the table is, for the heading.
        records: run records, oldest first.
        columns: names of the columns of the list of runs.
        rows: the list of runs in words, in the same order.
    """
    charts = []
    working = [record for record in records if "committed_at" in record and record["clips"]]
    if working:
        charts = [
            ("Files by status", "What became of the files that a run embedded.", _statuses(working)),
            ("Speed", "Seconds of audio a second of the run, start-up included.", _speed(working)),
            (
                "Where the time went",
                "Busy and waiting seconds of all shards; threads work side by side, so that they "
                "add up to more than the run took.",
                _busy(working),
            ),
            (
                "Bytes",
                "Read from the input and written to the table.",
                _bytes(working),
            ),
        ]
    return render_page(
        "runs.html",
        title="Runs of a feature table",
        table=table,
        records=records,
        charts=charts,
        columns=columns,
        rows=list(rows)[::-1],
    )


def _labels(records: Sequence[dict[str, Any]]) -> list[str]:
    """The runs' times, in words; of many only as many as fit."""
    step = -(-len(records) // 12)
    times = [datetime.fromisoformat(record["committed_at"]) for record in records]
    return [f"{time:%Y-%m-%d\n%H:%M}" if i % step == 0 else "" for i, time in enumerate(times)]


def _stacked(records: Sequence[dict[str, Any]], field: str, names: Sequence[str], unit: str) -> Markup:
    """A bar a run, with a part for each name that any run has."""
    used = [name for name in names if any(record[field].get(name) for record in records)]
    with drawing() as chart:
        below = [0.0] * len(records)
        for number, name in enumerate(used):
            parts = [record[field].get(name, 0) for record in records]
            colour, hatch = COLOURS[number % len(COLOURS)], "//" if number >= len(COLOURS) else None
            chart.axes.bar(
                range(len(records)), parts, bottom=below, color=colour, hatch=hatch, label=name
            )
            below = [a + b for a, b in zip(below, parts)]
        _finish(chart.axes, records, unit)
        chart.axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return chart.svg


def _statuses(records: Sequence[dict[str, Any]]) -> Markup:
    return _stacked(records, "clips", STATUSES, "files")


def _busy(records: Sequence[dict[str, Any]]) -> Markup:
    return _stacked(records, "busy_s", KINDS, "seconds")


def _speed(records: Sequence[dict[str, Any]]) -> Markup:
    with drawing() as chart:
        speeds = [record["x_real_time"] for record in records]
        chart.axes.plot(range(len(records)), speeds, color=COLOURS[0], marker="o", markersize=3)
        _finish(chart.axes, records, "x real time")
    return chart.svg


def _bytes(records: Sequence[dict[str, Any]]) -> Markup:
    with drawing() as chart:
        for number, kind in enumerate(("read", "written")):
            places = [index + 0.4 * number - 0.2 for index in range(len(records))]
            sizes = [record[f"bytes_{kind}"] / 1e6 for record in records]
            chart.axes.bar(places, sizes, width=0.4, color=COLOURS[number], label=kind)
        _finish(chart.axes, records, "MB")
        chart.axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return chart.svg


def _finish(axes: Any, records: Sequence[dict[str, Any]], unit: str) -> None:
    from matplotlib.ticker import MaxNLocator  # with the first chart, not with every command

    axes.set_xticks(range(len(records)), _labels(records))
    axes.set_xlabel("time of the commit, UTC")
    axes.set_xlim(-0.6, max(len(records) - 0.4, 3))  # one run is a bar, not a wall
    axes.margins(y=0.08)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=unit == "files"))
    axes.set_ylabel(unit)
    axes.grid(visible=False, axis="x")
