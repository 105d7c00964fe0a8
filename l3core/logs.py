"""What workers log: an event a line, as JSON, with the run and the shard that it belongs to.

Beam's worker sends a record's text to the runner, with the step it was logged in and nothing else
(apache_beam/runners/worker/log_handler.py of 2.77: the `custom_data` of a LogEntry is left empty), so
the fields are in the text. Each room has a logger of its name.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from l3core.storage_options import hidden

# A name in a store has 1,024 bytes at most, what a library says of a file can be long.
MOST_CHARACTERS = 2000

_working_on: ContextVar[tuple[tuple[str, str], ...]] = ContextVar("working_on", default=())


@contextmanager
def working_on(**what: str) -> Iterator[None]:
    """Let every event of this thread say what it is about (`run`, `shard`) while the block runs."""
    token = _working_on.set((*_working_on.get(), *what.items()))
    try:
        yield
    finally:
        _working_on.reset(token)


def say(logger: logging.Logger, event: str, *, level: int = logging.INFO, **facts: Any) -> None:
    """Log an event, if anybody listens.

    Args:
        logger: of the room.
        event: its name.
        level: of `logging`.
        facts: JSON values; secrets of stores are taken out of texts.
    """
    if logger.isEnabledFor(level):
        line = as_line({"event": event, **dict(_working_on.get()), **facts})
        logger.log(level, "%s", line, stacklevel=2)


def as_line(facts: Mapping[str, Any]) -> str:
    """Facts as JSON in a line of printable characters, whatever names there are in it."""
    shown = {name: _shown(value) for name, value in facts.items()}
    line = json.dumps(shown, ensure_ascii=False, separators=(", ", ": "))
    return line if line.isprintable() else json.dumps(shown, separators=(", ", ": "))


def _shown(value: Any) -> Any:
    if isinstance(value, str):
        text = hidden(value)
        return text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + "..."
    return round(value, 6) if isinstance(value, float) else value
