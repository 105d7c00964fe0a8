"""What people see of a run while it goes: a line with share done, rate and time left."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

POLL_S = 0.5
PLAIN_LINE_EVERY_S = 30.0


@contextmanager
def showing_progress(
    label: str, total: int, done: Callable[[], tuple[int, int]], *, quiet: bool
) -> Iterator[None]:
    """Show how far a run is while the block runs; nothing with `quiet`.

    Args:
        label: what is being done.
        total: units of work.
        done: gives (units done, windows written so far); called from another thread.
        quiet: show nothing.
    """
    if quiet:
        yield
        return
    stop = threading.Event()
    console = Console(stderr=True)
    watch = _watch_terminal if console.is_terminal else _watch_plain
    thread = threading.Thread(target=watch, args=(console, label, total, done, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _watch_terminal(
    console: Console,
    label: str,
    total: int,
    done: Callable[[], tuple[int, int]],
    stop: threading.Event,
) -> None:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    start = time.monotonic()
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(label, total=max(total, 1), rate="")
        while not stop.wait(POLL_S):
            units, windows = done()
            rate = windows / (time.monotonic() - start)
            progress.update(task, completed=units, rate=f"{rate:.0f} windows/s" if windows else "")


def _watch_plain(
    console: Console,
    label: str,
    total: int,
    done: Callable[[], tuple[int, int]],
    stop: threading.Event,
) -> None:
    start = time.monotonic()
    while not stop.wait(PLAIN_LINE_EVERY_S):
        units, windows = done()
        seconds = time.monotonic() - start
        left = seconds * (total - units) / units if units else float("nan")
        print(
            f"{label}: {100 * units / max(total, 1):.0f} %, {windows / seconds:.0f} windows/s, "
            f"{seconds:.0f} s gone, about {left:.0f} s left",
            file=sys.stderr,
            flush=True,
        )
