"""The small JSON objects that a table's history is made of: read, written, created once."""

import json
from typing import Any

from l3core import storage
from l3core.errors import TableError


def read_json(uri: str) -> dict[str, Any]:
    """A JSON object of ours.

    Raises:
        FileNotFoundError: there is none.
        TableError: it is damaged.
    """
    try:
        value = json.loads(storage.read_bytes(uri))
    except (ValueError, RecursionError) as error:  # nested without end, too
        raise TableError(f"{uri} is damaged, it is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise TableError(f"{uri} is damaged, it is no JSON object")
    return value


def write_json(uri: str, value: dict[str, Any]) -> None:
    """Write a JSON object for people and machines."""
    storage.write_bytes(uri, to_json(value))


def create_json(uri: str, value: dict[str, Any]) -> dict[str, Any]:
    """Put a JSON object in place if none is there; what is there now.

    That may be `value` although the store said that it failed, or that there was one: an answer can be
    lost on its way, and the request be tried again.
    """
    try:
        if storage.create(uri, to_json(value, indent=None)):
            return value
    except OSError:
        if not storage.is_object(uri):
            raise
    return read_json(uri)


def to_json(value: dict[str, Any], indent: int | None = 1) -> bytes:
    """JSON as this project writes it; with `indent` None on one line, which is many times faster.

    It is ASCII, since names may be no UTF-8.
    """
    return json.dumps(value, indent=indent, sort_keys=True).encode() + b"\n"
