"""Fetching the videos of a subset, by several at a time and no faster than is wanted.

What is in its place is not asked for again, nor what will not come; a file is in its place whole or not
at all.
"""

import re
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from l3core import storage
from l3core.avc.fetch_ledger import FetchLedger, FetchRow
from l3core.avc.fetch_one import Fetcher, StoppedError
from l3core.avc.fetch_pace import LONGEST_S, Pace
from l3core.avc.fetch_statuses import OK, TRANSIENT
from l3core.avc.subset_csv import Times
from l3core.errors import RunError, UsageError

AGAIN = "the same command goes on from here"
LOCK = "fetch"  # one run at a time: what a table's locks call a spec
MOST_UNREACHED = 5  # videos in a row: the network or the site is down
# Of one video in one run: with as many waits of a pace as there are, a run ends when three videos in a
# row are refused, and not for one that always is.
MOST_REFUSALS = 2
# What `storage.writing` calls a video on a disk until it is whole.
_HALF = re.compile(r"[A-Za-z0-9_-]+\.[a-z0-9]{2,4}\.[0-9a-f]{32}\.tmp")


class FetchPlan(NamedTuple):
    """What is to be done.

    Attributes:
        wanted: names of files that are to be fetched, and of what: first what was never asked for, then
            what was asked for longest ago, so that none that fails again keeps others from their turn.
        again: those of them that were asked for before.
        there: names of files that are in their places.
        unrecorded: file and segment of those of them that the ledger does not have: the run that
            fetched them was killed.
        settled: status -> videos that are not asked for again.
    """

    wanted: Mapping[str, Times]
    again: Set[str]
    there: tuple[str, ...]
    unrecorded: Mapping[str, tuple[str, Times]]
    settled: Mapping[str, int]


def plan_fetching(
    named: Mapping[str, Times],
    output: str,
    ledger: Mapping[str, FetchRow],
    *,
    retry: Set[str] = frozenset(),
) -> FetchPlan:
    """Find out what is to be fetched.

    Args:
        named: segments by the names of their files, without endings.
        output: folder of the videos.
        ledger: what is known of them.
        retry: statuses that are asked for again, beside those that may pass.

    Raises:
        UsageError: a file is there, and is of other seconds.
    """
    files = {PurePosixPath(name).stem: name for name in storage.names_below(output, suffix="")}
    wanted, there, unrecorded = {}, [], {}
    settled: Counter[str] = Counter()
    for name, times in named.items():
        row = ledger.get(name)
        if name in files:
            if row is not None and Times(row.video, row.start_s, row.end_s) != times:
                raise UsageError(
                    f"{storage.join(output, files[name])} has seconds {row.start_s:g} to {row.end_s:g}, "
                    f"the subset has {times.start_s:g} to {times.end_s:g}: it needs a folder of its own"
                )
            there.append(name)
            if row is None or row.status != OK:
                unrecorded[name] = files[name], times
        elif row is None or row.status in TRANSIENT | retry | {OK}:  # ok, and removed since
            wanted[name] = times
        else:
            settled[row.status] += 1
    again = {name: ledger[name].at for name in wanted if name in ledger}
    first = {name: times for name, times in wanted.items() if name not in again}
    then = {name: wanted[name] for name in sorted(again, key=again.__getitem__)}
    return FetchPlan(first | then, again.keys(), tuple(there), unrecorded, dict(settled))


def clear_half_written(output: str) -> None:
    """Remove what killed runs left of the videos that they were writing: no other may be at work."""
    for name in storage.names_below(output, suffix=".tmp"):
        if _HALF.fullmatch(name):
            storage.remove(storage.join(output, name))


def fetch_all(
    plan: FetchPlan,
    output: str,
    fetcher: Fetcher,
    ledger: FetchLedger,
    *,
    pace: Pace,
    workers: int,
    told: Callable[[FetchRow], None] = lambda row: None,
) -> None:
    """Fetch what a plan wants.

    Args:
        plan: what to fetch.
        output: folder that the files come into.
        fetcher: how.
        ledger: gets a row for each.
        pace: how fast.
        workers: videos at a time.
        told: called with each row, by several threads.

    Raises:
        RunError: the site refuses one video after the other for longer than the pace waits, it cannot be
            reached, or a file cannot be written.
    """
    for name, (file, times) in plan.unrecorded.items():
        ledger.add(FetchRow(name, *times, OK, file=file, size_bytes=_size(output, file)))
    run = _Run(plan, output, fetcher, ledger, pace, told)
    threads = [threading.Thread(target=run.work, daemon=True) for _ in range(workers)]
    try:
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            time.sleep(0.05)
    finally:  # interrupted, too
        pace.stop()
        fetcher.stop()
        for thread in threads:
            thread.join()
        ledger.close()
    if run.problem is not None:
        raise run.problem


class _Run:
    """What the threads of a run share; `problem` is what ended it."""

    def __init__(
        self,
        plan: FetchPlan,
        output: str,
        fetcher: Fetcher,
        ledger: FetchLedger,
        pace: Pace,
        told: Callable[[FetchRow], None],
    ) -> None:
        self.problem: BaseException | None = None
        self._waiting: Iterator[tuple[str, Times]] = iter(plan.wanted.items())
        self._again = plan.again
        self._lock = threading.Lock()
        self._unreached = 0
        self._output = output
        self._fetcher = fetcher
        self._ledger = ledger
        self._pace = pace
        self._told = told

    def work(self) -> None:
        """Fetch one after the other until there is none, or the run ends."""
        try:
            while (item := self._next()) is not None:
                row = self._fetch(*item)
                self._ledger.add(row)
                self._told(row)
                self._hold_answering(row)
        except StoppedError:
            pass
        except BaseException as error:  # told by the thread that waits
            with self._lock:
                self.problem = self.problem or error
            self._pace.stop()
            self._fetcher.stop()

    def _hold_answering(self, row: FetchRow) -> None:
        """Raises RunError if there is no use in asking for more."""
        if row.status == "rate-limited" and self._pace.spent:
            raise RunError(f"the site refuses for now ({row.error}); {AGAIN}")
        if row.status == "network" and row.name in self._again:  # it may well be the video
            return
        with self._lock:
            self._unreached = self._unreached + 1 if row.status == "network" else 0
            if self._unreached == MOST_UNREACHED:
                raise RunError(f"{MOST_UNREACHED} videos in a row not reached ({row.error}); {AGAIN}")

    def _next(self) -> tuple[str, Times] | None:
        with self._lock:
            return next(self._waiting, None)

    def _fetch(self, name: str, times: Times) -> FetchRow:
        """Ask until there is an answer that is no "later", or there were too many of those."""
        refusals = 0
        while True:
            turn = self._pace.take_turn()
            began = time.monotonic()
            with self._fetcher.fetching(times) as fetched:
                if fetched.status != "rate-limited":
                    self._pace.go_on()
                elif self._later(turn, fetched.retry_after_s, refusals := refusals + 1):
                    continue
                row = FetchRow(name, *times, fetched.status, fetched.error)
                if fetched.path is not None:
                    row = self._put(row, fetched.path)
                return row._replace(seconds=round(time.monotonic() - began, 2))

    def _later(self, turn: int, wanted_s: float | None, refusals: int) -> bool:
        """Have a pause; returns whether a video that was refused is asked for again after it."""
        paused = self._pace.wait_longer(turn, wanted_s)
        return paused and refusals < MOST_REFUSALS and (wanted_s or 0.0) <= LONGEST_S

    def _put(self, row: FetchRow, path: Path) -> FetchRow:
        """Put a file in its place.

        Raises:
            RunError: it cannot be written.
        """
        ending = path.suffix if re.fullmatch(r"\.[a-z0-9]{2,4}", path.suffix) else ".mp4"
        uri = storage.join(self._output, row.name + ending)
        try:
            with storage.writing(uri) as target, open(path, "rb") as source:
                shutil.copyfileobj(source, target, 2**20)
        except OSError as error:
            raise RunError(f"{uri}: cannot write there: {error.strerror or error}; {AGAIN}") from None
        return row._replace(file=row.name + ending, size_bytes=path.stat().st_size)


def _size(output: str, file: str) -> int:
    with suppress(OSError):  # it is told only
        return storage.describe(storage.join(output, file)).size_bytes
    return 0
