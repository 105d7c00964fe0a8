"""Exit codes, and which of them an error means."""

from typing import NamedTuple

from l3core.errors import DamagedError, FetchError, RunError, StorageError, UsageError

DONE, FAILED, WRONG_USE, STRICT, INTERRUPTED = 0, 1, 2, 3, 130
# What `--json`, records and notices call them.
WORDS = {
    DONE: "ok",
    FAILED: "failed",
    WRONG_USE: "wrong-use",
    STRICT: "incomplete",
    INTERRUPTED: "interrupted",
}


class Ending(NamedTuple):
    """How a command ends that does not end well.

    Attributes:
        code: for the shell.
        message: one line; empty if there is nobody to read it.
        hint: where to read on.
    """

    code: int
    message: str
    hint: str = ""


def ending_of(error: BaseException, command: str) -> Ending | None:
    """What an error means; None if it is a mistake in this program, whose traceback is wanted."""
    if isinstance(error, (DamagedError, FetchError, RunError, StorageError)):
        return Ending(FAILED, str(error))
    if isinstance(error, UsageError):
        return Ending(WRONG_USE, str(error), f" (see l3flow {command} --help)")
    if isinstance(error, KeyboardInterrupt):
        return Ending(INTERRUPTED, str(error) or "interrupted")
    if isinstance(error, BrokenPipeError):  # the reader of our output went away
        return Ending(FAILED, "")
    if isinstance(error, OSError):  # a disk or store that fails where no file is to blame
        return Ending(FAILED, str(error))
    return None
