"""Checking each clip across the files of a partition: its windows 0 to n-1 once, and its ledger row."""

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from l3core.table.finding import Finding


class WindowRun(NamedTuple):
    """Rows of one clip in one file whose windows follow one another."""

    clip_id: str
    first: int
    length: int
    path: str


class LedgerFacts(NamedTuple):
    """What a ledger row says of a clip's windows."""

    clip_id: str
    windows_written: int
    files: list[str]
    path: str


class Damaged(NamedTuple):
    """What could not be read, so that nothing can be concluded from what it lacks.

    Attributes:
        windows: paths of windows files.
        ledger: whether some of the ledger is among it.
    """

    windows: frozenset[str]
    ledger: bool


def check_clips(
    windows: Mapping[str, Iterable[list[Any]]],
    ledger: Mapping[str, Iterable[list[Any]]],
    damaged: Damaged,
) -> Iterator[Finding]:
    """Check clip after clip; only what is about one of them is in memory.

    Args:
        windows: by path below the table the `WindowRun`s of each file, without their path, sorted.
        ledger: likewise `LedgerFacts`.
        damaged: files that are not among them.
    """
    rows = (_ledger_rows(path, stream) for path, stream in ledger.items())
    runs = (_window_runs(path, stream) for path, stream in windows.items())
    # a clip's ledger rows come before its windows
    merged: Iterator[WindowRun | LedgerFacts] = heapq.merge(*rows, *runs, key=_order)
    for _, group in groupby(merged, key=lambda item: item.clip_id):
        together = list(group)
        yield from _check_clip(
            [item for item in together if isinstance(item, LedgerFacts)],
            [item for item in together if isinstance(item, WindowRun)],
            damaged,
        )


def _order(item: WindowRun | LedgerFacts) -> tuple[str, int]:
    return item.clip_id, item.first if isinstance(item, WindowRun) else -1


def _window_runs(path: str, stream: Iterable[list[Any]]) -> Iterator[WindowRun]:
    for clip_id, first, length in stream:
        yield WindowRun(clip_id, first, length, path)


def _ledger_rows(path: str, stream: Iterable[list[Any]]) -> Iterator[LedgerFacts]:
    for clip_id, windows_written, files in stream:
        yield LedgerFacts(clip_id, windows_written, files, path)


def _check_clip(
    rows: Sequence[LedgerFacts], runs: Sequence[WindowRun], damaged: Damaged
) -> Iterator[Finding]:
    if len(rows) > 1:
        problem = f"{rows[0].clip_id} should be in the ledger once, is there {len(rows)} times"
        yield Finding("ledger-duplicate", rows[1].path, problem)
    if not rows and not damaged.ledger:
        problem = f"{runs[0].clip_id} has windows and should have a row in the ledger, has none"
        yield Finding("not-in-ledger", runs[0].path, problem)
    # the ledger says which files hold a clip; without it any damaged file may hold some of it
    missing = damaged.windows.intersection(rows[0].files) if rows else damaged.windows
    yield from _check_sequence(runs, complete=not missing)
    if rows and not missing:
        yield from _compare(rows[0], runs)


def _check_sequence(runs: Sequence[WindowRun], *, complete: bool) -> Iterator[Finding]:
    """Whether the windows are 0, 1, 2, ..., each once; gaps only if all files could be read."""
    following = 0
    again: list[tuple[int, WindowRun]] = []  # how many windows, and the run that has them
    gaps: list[tuple[int, WindowRun]] = []
    for run in runs:
        end = run.first + run.length
        if run.first < following:  # below 0 counts as again: no window of the grid has such a number
            again.append((min(following, end) - run.first, run))
        elif run.first > following and complete:
            gaps.append((run.first - following, run))
        following = max(following, end)
    if again:
        count, run = sum(count for count, _ in again), again[0][1]
        problem = f"{run.clip_id}: each window should be there once, rows in excess: {count}, "
        yield Finding("duplicate-windows", run.path, f"{problem}the first is of window {run.first}")
    if gaps:
        count, run = sum(count for count, _ in gaps), gaps[0][1]
        problem = f"{run.clip_id}: should have windows 0 to {following - 1}, missing: {count}, "
        yield Finding("missing-windows", run.path, f"{problem}the first before window {run.first}")


def _compare(row: LedgerFacts, runs: Sequence[WindowRun]) -> Iterator[Finding]:
    found = sum(run.length for run in runs)
    if found != row.windows_written:
        problem = f"{row.clip_id}: windows_written should be {found} as in the files, is "
        yield Finding("windows-written", row.path, f"{problem}{row.windows_written}")
    holders = sorted({run.path for run in runs})
    if sorted(row.files) != holders:
        problem = f"{row.clip_id}: files should be {_listed(holders)}, is {_listed(row.files)}"
        yield Finding("clip-files", row.path, problem)


def _listed(files: Sequence[str]) -> str:
    return ", ".join(files) or "none"
