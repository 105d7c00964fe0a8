"""Keeps what libraries say off the screen: TensorFlow, Beam, and codecs that write to standard error.

Our own lines still reach it: within the block, `sys.stderr` is the screen and file descriptor 2, which
C libraries write to, is the log.
"""

import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from l3core.errors import UsageError
from l3core.storage_options import hidden
from launch.output import plain
from launch.words import visible


@contextmanager
def quiet_libraries(log_file: str | None = None) -> Iterator[None]:
    """Send all that is logged, warned of or written to descriptor 2 to a file, or nowhere.

    Args:
        log_file: path to append to; None: nowhere.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "0" if log_file else "3")
    with (
        _open_log(log_file or os.devnull) as log,
        _logging_to(log.fileno(), log_file is not None),
        _descriptor_to(log.fileno()),
        _thread_errors_logged(),
    ):
        yield


def _open_log(path: str) -> TextIO:
    if "://" in path:
        raise UsageError(
            f"--log-file {path}: a log is appended to, which a store cannot do: name a file of this "
            "machine by its path"
        )
    try:
        return open(path, "a", buffering=1, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UsageError(f"--log-file {path}: cannot write there: {error.strerror}") from None


# Who logs what the local runner's worker processes say.
_WORKERS = "apache_beam.runners.portability.local_job_service"


class _Formatter(logging.Formatter):
    """Whatever a library logs has no secrets of ours in it, and nothing that a terminal acts on."""

    def format(self, record: logging.LogRecord) -> str:
        """The text of a record, tracebacks included."""
        if record.name == _WORKERS and record.msg == "Worker: %s":
            record = _said_by_worker(record)
        return visible(hidden(super().format(record)))


def _said_by_worker(record: logging.LogRecord) -> logging.LogRecord:
    """What a worker has logged, of the message that Beam wraps it in."""
    from apache_beam.portability.api import beam_fn_api_pb2
    from google.protobuf import text_format

    assert isinstance(record.args, tuple)
    entry = text_format.Parse(str(record.args[0]), beam_fn_api_pb2.LogEntry())
    text = "\n".join(filter(None, (entry.message, entry.trace)))
    return logging.LogRecord("worker", record.levelno, record.pathname, record.lineno, text, (), None)


@contextmanager
def _logging_to(descriptor: int, verbose: bool) -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = os.fdopen(os.dup(descriptor), "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO if verbose else logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default" if verbose else "ignore")
            logging.captureWarnings(verbose)
            yield
    finally:
        logging.captureWarnings(False)
        root.handlers[:] = handlers
        root.setLevel(level)
        stream.close()


@contextmanager
def _thread_errors_logged() -> Iterator[None]:
    """Log what ends a thread of a library, which Python would print to `sys.stderr`.

    What it means for the run reaches us as an exception of the library's call.
    """
    before = threading.excepthook
    threading.excepthook = _log_thread_error
    try:
        yield
    finally:
        threading.excepthook = before


def _log_thread_error(error: threading.ExceptHookArgs) -> None:
    name = error.thread.name if error.thread else "unknown"
    cause = error.exc_value or error.exc_type()
    logging.getLogger(__name__).error("thread %s ended with an error", name, exc_info=cause)


@contextmanager
def _descriptor_to(descriptor: int) -> Iterator[None]:
    """Point descriptor 2 at another file, and `sys.stderr` at what it was."""
    try:
        sys.stderr.flush()
        own = sys.stderr.fileno() == 2
    except (OSError, ValueError):  # captured by somebody: then it is no screen, and stays what it is
        own = False
    screen = os.dup(2)
    before = sys.stderr
    os.dup2(descriptor, 2)
    stream = os.fdopen(screen, "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    if own:
        sys.stderr = plain(stream)
    try:
        yield
    finally:
        stream.flush()
        os.dup2(stream.fileno(), 2)
        sys.stderr = before
        stream.close()
