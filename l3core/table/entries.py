"""What an entry of a table's journal has to be before anybody acts on it.

Whoever may write to a table's folder can write entries, too: they name files of the table and no others.
"""

import re
from typing import Any

from l3core.table.finding import DamageError
from l3core.table.layout import is_plain

TABLE_FILE = re.compile(r"(windows|clips)/spec=[^/]+/[^/]+\.parquet")
STAGING = "_l3flow/staging/"


def check_commit(entry: dict[str, Any]) -> None:
    """Hold that a journal entry has the fields that the table is made of.

    Raises:
        DamageError: naming the first that is missing or of another type.
    """
    record = _field(entry, "record", dict)
    if record.get("fence") is True:  # it only takes a number, so that nobody else can commit by it
        return
    _field(record, "layout", int)
    _field(record, "run_id", str)
    _field(record, "root", str)
    check_places(entry)
    for file in record["files_added"]:
        _field(file, "sha256", str)
        _field(file, "bytes", int)
        _field(file, "rows", int)


def check_places(entry: dict[str, Any]) -> None:
    """Hold that a journal entry names files of the table and of its staging only.

    Raises:
        DamageError: naming the first that is something else.
    """
    record = _field(entry, "record", dict)
    for path in _field(record, "files_removed", list):
        _check_path(path)
    for file in _field(record, "files_added", list):
        if not isinstance(file, dict):
            raise DamageError(f"files_added should hold objects, has {file!r:.80}")
        _check_path(_field(file, "path", str))
    if record.get("fence") is True:
        return
    for final, place in _field(entry, "staged", dict).items():
        _check_path(final)
        if not isinstance(place, str) or not (is_plain(place) and place.startswith(STAGING)):
            raise DamageError(f"{place!r:.80} is no place of a staged file")


def _field(value: dict[str, Any], name: str, kind: type) -> Any:
    if not isinstance(value.get(name), kind):
        raise DamageError(f"{name} should be {kind.__name__}, is {value.get(name)!r:.80}")
    return value[name]


def _check_path(path: Any) -> None:
    if not isinstance(path, str) or not TABLE_FILE.fullmatch(path):
        raise DamageError(f"{path!r:.80} is no place of a table's file")
