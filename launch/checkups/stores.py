"""Stores: whether a table could be written where it shall be, and the input be read."""

import secrets
from collections.abc import Iterator

from launch.checkups.finding import Asked, Finding

PROBE = b"l3flow doctor was here, and may be deleted\n"


def look(asked: Asked) -> Iterator[Finding]:
    """The folders and inputs that were named."""
    for uri in asked.stores:
        yield _written(uri)
    for text in asked.inputs:
        yield _read(text)
    if not (asked.stores or asked.inputs):
        remedy = "l3flow doctor --store gs://bucket/folder --input 'gs://bucket/**'"
        yield Finding("store", "absent", "none was named", remedy)


def _written(uri: str) -> Finding:
    """A folder in which an object is created, read, found, and removed again."""
    from l3core import storage
    from l3core.errors import StorageError, UsageError
    from l3core.stores import reach
    from l3core.urls import refuse_web

    name = f"l3flow-doctor-{secrets.token_hex(8)}"
    try:
        refuse_web(uri)
        reach(uri)
        probe = storage.join(storage.absolute(uri).rstrip("/"), name)
        try:
            created = storage.create(probe, PROBE)
            problem = _problem(
                {
                    "an object that was written is not there": created,
                    "create-if-absent overwrites": not storage.create(probe, b"another"),
                    "what is read is not what was written": storage.read_bytes(probe) == PROBE,
                    "what was written is not listed": name
                    in storage.names_below(probe.rpartition("/")[0], suffix=""),
                }
            )
        finally:
            if storage.is_object(probe):
                storage.remove(probe)
    except (OSError, StorageError, UsageError) as error:
        return Finding("store", "wrong", f"{uri}: {error}", "see docs/stores.md")
    if problem:
        return Finding("store", "wrong", f"{uri}: {problem}", "a table cannot be kept there")
    return Finding("store", "ok", f"{uri}: created, read, listed and removed an object")


def _problem(held: dict[str, bool]) -> str:
    return "; ".join(problem for problem, holds in held.items() if not holds)


def _read(text: str) -> Finding:
    """An input whose first object can be read."""
    from l3core.errors import AudioError, StorageError, UsageError
    from l3core.listing import list_inputs, parse_input
    from l3core.pinned import open_pinned
    from l3core.stores import reach

    try:
        reach(text.removeprefix("@"))
        first = next(iter(list_inputs([parse_input(text)], "")), None)
        if first is None:
            return Finding("input", "wrong", f"{text} matches no file", "look at its spelling")
        with open_pinned(first) as file:
            count = len(file.read(2**16))
    except (OSError, AudioError, StorageError, UsageError) as error:
        return Finding("input", "wrong", f"{text}: {error}", "see docs/stores.md")
    return Finding("input", "ok", f"{first.uri}: read {count} bytes of it")
