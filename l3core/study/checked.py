"""Values of a plan, checked one by one: an error is a line that names the place and the key."""

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from l3core.errors import FetchError, UsageError
from l3core.urls import refuse_web

# What other commands' errors tell to give, and what it is called in a plan.
_IN_A_PLAN = {
    "--allow-partial": "allow_partial = true",
    "--weights": "weights",
    "--table": "table",
}


@contextmanager
def as_in_a_plan() -> Iterator[None]:
    """Let errors of the block name a plan's keys in the place of flags."""
    try:
        yield
    except UsageError as error:
        problem = str(error)
        for flag, key in _IN_A_PLAN.items():
            problem = problem.replace(flag, key)
        kind = FetchError if isinstance(error, FetchError) else UsageError
        raise kind(problem) from None


def refuse_odd(value: Any, key: str = "") -> None:
    """Hold that a value has no text with a zero in it, and no number of more than 64 bits, anywhere."""
    if isinstance(value, str) and "\0" in value:
        raise UsageError(f"{key}: a text holds a character of code 0")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise UsageError(f"{key}: a number is too large")
    for name, part in value.items() if isinstance(value, dict) else ():
        refuse_odd(part, name)
    for part in value if isinstance(value, list) else ():
        refuse_odd(part, key)


def near(given: Any, known: Iterable[str]) -> str:
    """`, did you mean ...?`, or nothing where no name is near."""
    found = difflib.get_close_matches(str(given), list(known), n=1)
    return f", did you mean {found[0]!r}?" if found else ""


def as_table(value: Any, where: str) -> dict[str, Any]:
    """The value, which has to be a table."""
    if not isinstance(value, dict):
        raise UsageError(f"{where} needs a table, got {value!r}")
    return value


def refuse_unknown(table: Mapping[str, Any], known: Sequence[str], where: str = "") -> None:
    """Hold that a table has known keys only."""
    for key in table:
        if key not in known:
            hint = near(key, known) or f"; there are {', '.join(known)}"
            raise UsageError(_at(where, f"unknown key {key!r}{hint}"))


def text(table: Mapping[str, Any], key: str, where: str = "") -> str | None:
    """The text that a key has; None where it is not given."""
    value = table.get(key)
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise UsageError(_at(where, f"{key} needs text, got {value!r}"))
    return value


def place(table: Mapping[str, Any], key: str, where: str) -> str | None:
    """The path or URI that a key has, of something that can be written and listed; None: not given."""
    found = text(table, key, where)
    if found is not None:
        try:
            refuse_web(found)
        except UsageError as error:
            raise UsageError(_at(where, f"{key} {error}")) from None
    return found


def yes_or_no(table: Mapping[str, Any], key: str, where: str = "") -> bool:
    """Whether a key is true; it is not where it is not given."""
    value = table.get(key, False)
    if not isinstance(value, bool):
        raise UsageError(_at(where, f"{key} needs true or false, got {value!r}"))
    return value


def whole(table: Mapping[str, Any], key: str, where: str = "", *, low: int, high: int) -> int | None:
    """The whole number that a key has; None where it is not given."""
    value = table.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        problem = f"{key} needs a whole number from {low} to {high}, got {value!r}"
        raise UsageError(_at(where, problem))
    return value


def number(table: Mapping[str, Any], key: str, where: str = "", *, high: float) -> float | None:
    """The number from 0 that a key has; None where it is not given."""
    value = table.get(key)
    if value is None:
        return None
    real = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not real or not 0 <= value <= high:
        most = f" to {high:g}" if math.isfinite(high) else ""
        raise UsageError(_at(where, f"{key} needs a number from 0{most}, got {value!r}"))
    return float(value)


def _at(where: str, problem: str) -> str:
    return f"{where}: {problem}" if where else problem
