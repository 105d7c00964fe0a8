"""Ctrl-C and SIGTERM as one exception, whatever libraries make of it on its way up."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """The run was told to stop; the message says how the table is."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Within the block, SIGINT and SIGTERM end in KeyboardInterrupt.

    Beam wraps exceptions of a pipeline in its own; here it is known that a signal was the cause.
    """
    if threading.current_thread() is not threading.main_thread():  # only there can signals be handled
        yield
        return
    hit = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal hit
        hit = True
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except Exception:  # of any kind: Beam and TensorFlow each wrap an interrupt in their own
        if hit:
            raise KeyboardInterrupt from None
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
