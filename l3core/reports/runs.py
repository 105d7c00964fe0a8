"""The page of `l3flow runs --plot`: what the runs of a table did, over time."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from markupsafe import Markup

from l3core.reports.page import COLOURS, drawing, render_page
from l3core.table.failed import ended_at
from l3core.table.failures import STORAGE_ERROR
from l3core.table.layout import STATUSES, WITH_WINDOWS
from l3core.table.stopwatch import KINDS

HOUR_S = 3600.0
FAILED = ("failed", "interrupted")
BAD_FILES = ("unreadable", STORAGE_ERROR)
LABELS = 7  # at most, or they touch

Runs = Sequence[dict[str, Any]]


def runs_page(
    table: str,
    records: Runs,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    price: float | None = None,
) -> str:
    """The page as HTML.

    Args:
        table: where the table is, for the heading.
        records: run records and those of failed runs, oldest first.
        columns: names of the columns of the list of runs.
        rows: the list of runs in words, in the same order.
        price: of an hour of one worker, in any currency; None: cost is told in hours.
    """
    committed = [record for record in records if is_committed(record)]
    working = [record for record in committed if record["clips"]]
    charts = []
    if covered := list(_coverage(committed)):
        charts.append(
            (
                "Coverage",
                "Share of the files known to the table that have windows in it (ok or truncated), after "
                "each run that wrote a ledger, of each spec. Runs of older versions do not say it.",
                _coverage_chart(covered),
            )
        )
    if any(map(_failed, records)):
        about = "Runs that failed, or were interrupted, among all runs."
        charts.append(("Failed runs", about, _stacked(records, map(_failed, records), FAILED, "number")))
    if any(map(_bad_files, records)):
        about = "Files that a run could not read, or that its store did not give; failed runs, too."
        bad = map(_bad_files, records)
        charts.append(("Files that failed", about, _stacked(records, bad, BAD_FILES, "files")))
    if working:
        charts += _of_work(working)
    spent = [record for record in records if worker_hours(record)]
    if spent:
        charts.append(("Cost", _about_cost(spent, price), _cost_chart(spent, price)))
    return render_page(
        "runs.html",
        title="Runs of a feature table",
        table=table,
        records=records,
        charts=charts,
        columns=columns,
        rows=list(rows)[::-1],
    )


def is_committed(record: dict[str, Any]) -> bool:
    """Whether a record is that of a run that came to its end, with something to do or not."""
    return "committed_at" in record


def worker_hours(record: dict[str, Any]) -> float:
    """Hours that a run had its workers for, from its start to its end, as far as is known."""
    seconds = record["wall_s"] if is_committed(record) else record.get("duration_s") or 0.0
    return seconds * (record.get("workers") or 1) / HOUR_S


def _of_work(working: Runs) -> list[tuple[str, str, Markup]]:
    return [
        ("Files by status", "What became of the files that a run embedded.", _statuses(working)),
        ("Speed", "Seconds of audio a second of the run, start-up included.", _speed(working)),
        (
            "Where the time went",
            "Busy and waiting seconds of all shards; threads work side by side, so that they "
            "add up to more than the run took.",
            _busy(working),
        ),
        ("Bytes", "Read from the input and written to the table.", _bytes(working)),
    ]


def _coverage(committed: Runs) -> Iterator[tuple[dict[str, Any], float]]:
    """(run, share of the ledger's rows that have windows) of runs that say so."""
    for record in committed:
        ledger = record.get("ledger")
        if ledger:
            covered = sum(ledger.get(status, 0) for status in WITH_WINDOWS)
            yield record, covered / sum(ledger.values())


def _coverage_chart(covered: Sequence[tuple[dict[str, Any], float]]) -> Markup:
    records = [record for record, _ in covered]
    specs = list(dict.fromkeys(record["fingerprint"] for record in records))
    with drawing() as chart:
        for number, spec in enumerate(specs):
            own = [i for i, record in enumerate(records) if record["fingerprint"] == spec]
            shares = [100 * covered[i][1] for i in own]
            colour = COLOURS[number % len(COLOURS)]
            chart.axes.plot(own, shares, color=colour, marker="o", markersize=3, label=spec)
        _finish(chart.axes, records, "% of files")
        chart.axes.set_ylim(0, 105)
        _legend(chart.axes)
    return chart.svg


def _failed(record: dict[str, Any]) -> Counter[str]:
    if is_committed(record):
        return Counter()
    return Counter(["interrupted" if record["status"] == "interrupted" else "failed"])


def _bad_files(record: dict[str, Any]) -> Counter[str]:
    clips = record.get("clips", {})
    return +Counter({name: clips.get(name, 0) for name in BAD_FILES})


def _stacked(
    records: Runs, parts: Iterable[Mapping[str, float]], names: Sequence[str], unit: str
) -> Markup:
    """A bar a run, with a part for each name that any run has."""
    parts = list(parts)
    with drawing() as chart:
        below = [0.0] * len(records)
        for number, name in enumerate(names):  # a name has its colour, whatever else there is
            heights = [part.get(name, 0) for part in parts]
            if not any(heights):
                continue
            colour, hatch = COLOURS[number % len(COLOURS)], "//" if number >= len(COLOURS) else None
            chart.axes.bar(
                range(len(records)), heights, bottom=below, color=colour, hatch=hatch, label=name
            )
            below = [a + b for a, b in zip(below, heights)]
        _finish(chart.axes, records, unit)
        _legend(chart.axes)
    return chart.svg


def _statuses(records: Runs) -> Markup:
    return _stacked(records, (record["clips"] for record in records), STATUSES, "files")


def _busy(records: Runs) -> Markup:
    return _stacked(records, (record["busy_s"] for record in records), KINDS, "seconds")


def _speed(records: Runs) -> Markup:
    with drawing() as chart:
        speeds = [record["x_real_time"] for record in records]
        chart.axes.plot(range(len(records)), speeds, color=COLOURS[0], marker="o", markersize=3)
        _finish(chart.axes, records, "x real time")
    return chart.svg


def _bytes(records: Runs) -> Markup:
    with drawing() as chart:
        for number, kind in enumerate(("read", "written")):
            places = [index + 0.4 * number - 0.2 for index in range(len(records))]
            sizes = [record[f"bytes_{kind}"] / 1e6 for record in records]
            chart.axes.bar(places, sizes, width=0.4, color=COLOURS[number], label=kind)
        _finish(chart.axes, records, "MB")
        _legend(chart.axes)
    return chart.svg


def _about_cost(spent: Runs, price: float | None) -> str:
    hours = sum(map(worker_hours, spent))
    told = f"{hours:.3g} worker hours in all"
    if price is not None:
        told += f", {hours * price:.3g} at {price:g} an hour"
    return (
        f"{told}: each run's time from start to end times its workers (1 where a record does not say), "
        "failed runs included. A cluster's idle machines, storage, requests and traffic are not in it."
    )


def _cost_chart(spent: Runs, price: float | None) -> Markup:
    of_an_hour = 1.0 if price is None else price
    parts = []
    for record in spent:
        kind = "committed" if is_committed(record) else "failed"
        parts.append({kind: worker_hours(record) * of_an_hour})
    unit = "worker hours" if price is None else "worker hours x price"
    return _stacked(spent, parts, ("committed", "failed"), unit)


def _labels(records: Runs) -> list[str]:
    """The runs' times, in words; of many only as many as fit."""
    step = -(-len(records) // LABELS)
    return ["" if i % step else _time(record) for i, record in enumerate(records)]


def _time(record: dict[str, Any]) -> str:
    ended = ended_at(record)
    return f"{datetime.fromisoformat(ended):%Y-%m-%d\n%H:%M}" if ended else "?"


def _legend(axes: Any) -> None:
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))


def _finish(axes: Any, records: Runs, unit: str) -> None:
    from matplotlib.ticker import MaxNLocator  # with the first chart, not with every command

    axes.set_xticks(range(len(records)), _labels(records))
    axes.set_xlabel("time of the run's end, UTC")
    axes.set_xlim(-0.6, max(len(records) - 0.4, 3))  # one run is a bar, not a wall
    axes.margins(y=0.08)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=unit in ("files", "number")))
    axes.set_ylabel(unit)
    axes.grid(visible=False, axis="x")
