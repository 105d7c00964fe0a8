"""What people see of a run while it goes: a line with what is done, its rate and the time left."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from l3core.table.progress import Progress
from launch.output import plain, screen_of
from launch.words import duration, printable

POLL_S = 0.5
PLAIN_LINE_EVERY_S = 30.0
SHOWN_AFTER_S = 2.0  # of what is mostly over before


class Shown(Protocol):
    """What is shown of any run."""

    @property
    def share(self) -> float:
        """Of all its work that is done, 0 to 1."""

    @property
    def begun(self) -> bool:
        """Whether its work has begun: loading is no part of the rate."""


P = TypeVar("P", bound=Shown)
T = TypeVar("T")


@contextmanager
def showing_progress(
    look: Callable[[], P], describe: Callable[[P, float], str], *, quiet: bool, after_s: float = 0.0
) -> Iterator[None]:
    """Show how far a run is while the block runs; nothing with `quiet`.

    On a terminal one line that changes; else a plain line now and then.

    Args:
        look: tells the progress; called from another thread.
        describe: says it in words, given the seconds since the work has begun.
        quiet: show nothing.
        after_s: seconds during which nothing is shown: what takes no longer needs no line.
    """
    if quiet:
        yield
        return
    stop, start = threading.Event(), time.monotonic()
    console = Console(file=screen_of(sys.stderr))
    watch = _watch_terminal if console.is_terminal else _watch_plain

    def watch_later() -> None:
        if not stop.wait(after_s):
            watch(console, look, describe, stop, start)

    thread = threading.Thread(target=watch_later, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


class Counted(Iterator[T]):
    """An iterator that knows how many items it has given."""

    def __init__(self, items: Iterator[T]) -> None:
        self._items = items
        self.count = 0

    def __next__(self) -> T:
        item = next(self._items)
        self.count += 1
        return item


class Steps(NamedTuple):
    """So many of so many steps are done; a total of 0 is not known."""

    done: int = 0
    total: int = 0

    @property
    def share(self) -> float:
        """Of all steps, 0 to 1."""
        return min(1.0, self.done / self.total) if self.total else 0.0

    @property
    def begun(self) -> bool:
        """Whether the first is done."""
        return self.done > 0


@contextmanager
def showing_steps(what: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Show how far something of equal steps is; the block calls what it is given with (done, total)."""
    steps = Steps()

    def report(done: int, total: int) -> None:
        nonlocal steps
        steps = Steps(done, total)

    def describe(steps: Steps, seconds: float) -> str:
        if not steps.begun:
            return what
        left = time_left(steps, max(seconds, POLL_S))
        return f"{what}: {steps.done} of {steps.total} files, {duration(left)} left"

    with showing_progress(lambda: steps, describe, quiet=quiet, after_s=SHOWN_AFTER_S):
        yield report


def describe_listing(steps: Steps, seconds: float) -> str:
    """Files that were looked at, rate and time left, in words."""
    rate = f"{steps.done} files, {steps.done / max(seconds, POLL_S):.0f} files/s"
    left = f", {duration(time_left(steps, seconds))} left" if steps.share else ""
    return f"comparing input and table: {rate}{left}"


def describe_embedding(progress: Progress, seconds: float) -> str:
    """Files, rates and time left, in words."""
    if progress.to_rewrite:
        return f"rewriting files: {progress.rewritten} of {progress.to_rewrite}"
    if not progress.windows:
        return "loading the model" if not progress.files else f"{progress.files} files"
    seconds = max(seconds, POLL_S)
    return (
        f"{progress.files} files, {progress.windows / seconds:.0f} windows/s, "
        f"{progress.audio_s / seconds:.1f} x real time, "
        + (f"{duration(time_left(progress, seconds))} left" if progress.share else "time left unknown")
    )


def time_left(progress: Shown, seconds: float) -> float:
    """Seconds until all is done, at the rate so far."""
    return seconds * (1 - progress.share) / progress.share


def _watch_terminal(
    console: Console,
    look: Callable[[], P],
    describe: Callable[[P, float], str],
    stop: threading.Event,
    start: float,
) -> None:
    columns = (BarColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    # rich takes what others print past its line: to a file it has to go as it is
    shared = sys.stdout.isatty()
    drawn = Bar(
        *columns,
        console=console,
        refresh_per_second=1 / POLL_S,  # rich draws ten times: the CPU belongs to what is shown
        transient=True,
        redirect_stdout=shared,
    )
    with drawn as bar:
        sys.stdout, sys.stderr = plain(sys.stdout), plain(sys.stderr)  # until rich puts back its own
        task = bar.add_task(printable(describe(look(), 0.0)), total=1.0)
        while not stop.wait(POLL_S):
            progress = look()
            if not progress.begun:  # loading is no part of the rate
                start = time.monotonic()
            words = describe(progress, time.monotonic() - start)
            bar.update(task, completed=progress.share, description=printable(words))


def _watch_plain(
    console: Console,
    look: Callable[[], P],
    describe: Callable[[P, float], str],
    stop: threading.Event,
    start: float,
) -> None:
    while not stop.wait(PLAIN_LINE_EVERY_S):
        progress = look()
        if not progress.begun:
            start = time.monotonic()
        words = describe(progress, time.monotonic() - start)
        print(f"{100 * progress.share:.0f} %: {printable(words)}", file=sys.stderr, flush=True)
