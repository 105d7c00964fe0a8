"""Ctrl-C and SIGTERM as one exception, whatever libraries make of it on its way up."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# Ctrl-C waits as long as this for modules that are being loaded: TensorFlow's take some seconds.
LOADING_S = 5.0


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


@contextmanager
def patient() -> Iterator[None]:
    """Within the block, Ctrl-C waits until the modules are there that are being loaded just now.

    Those in C++ make a KeyboardInterrupt an ImportError, or abort the process. After the block Ctrl-C
    ends the process without a word: what there was to do is done.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # a shell has it ignored
        yield
        return
    handler = _Patience()
    for number in (signal.SIGINT, signal.SIGALRM):
        signal.signal(number, handler)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGINT, signal.SIG_DFL)


class _Patience:
    """A handler of Ctrl-C that asks a timer to come again while modules are being loaded."""

    def __init__(self) -> None:
        self._until: float | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self._until is None:
            if number == signal.SIGALRM:  # on its way when the last one was raised
                return
            self._until = time.monotonic() + LOADING_S
        if _loading(frame) and time.monotonic() < self._until:
            signal.setitimer(signal.ITIMER_REAL, 0.002)
            return
        self._until = None
        raise KeyboardInterrupt


def _loading(frame: FrameType | None) -> bool:
    """Whether a module is being loaded where a signal came."""
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False
