"""One run at a time in the folder of a training: two would remove each other's checkpoints."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone

from l3core.errors import RunError, UsageError
from l3core.table.layout import TablePaths
from l3core.table.lock import holding, lost_to

LOCK = "training"  # what a table's locks call a spec


@contextmanager
def alone_in(root: str) -> Iterator[Callable[[], None]]:
    """Have a folder while the block runs, taking it over from a run that is dead.

    Args:
        root: of the training.

    Yields:
        What raises RunError if another run has taken the folder over since.

    Raises:
        BusyError: another run has it and may be alive.
        UsageError: nothing can be written there.
    """
    paths = TablePaths(root)
    run_id = f"{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"

    def hold() -> None:
        if other := lost_to(paths, LOCK, run_id):
            raise RunError(f"run {other} has taken {root} over, since this one was silent for too long")

    with ExitStack() as held:
        try:
            held.enter_context(holding(paths, LOCK, run_id))
        except OSError as error:
            reason = error.strerror or error
            raise UsageError(f"--output {root}: cannot write there: {reason}") from None
        yield hold
