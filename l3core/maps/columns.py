"""What clips are coloured by: columns of the ledger and of labels, small enough for a page."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import pyarrow as pa

# Numbers of so few values are names: channels, sample rates, folds.
FEW = 12
NAMES = 200  # of a column; the clips of all others are shown as one
LONGEST = 120  # characters of a name
OTHERS = "(others)"
# Of these a clip has its own value: they are in a page only if somebody asks for them.
OWN = ("clip_id", "uri", "version", "checksum", "files")


class Column(NamedTuple):
    """A column as a page has it.

    Attributes:
        name: of the column.
        kind: `names`, `numbers`, or `times` in seconds since 1970.
        values: of each clip, a place in `names` or a number; None for none.
        names: of a column of names, the most frequent first, or numbers in their order.
    """

    name: str
    kind: str
    values: list[Any]
    names: list[str]


def ledger_columns(rows: pa.Table, asked: str | None) -> list[Column]:
    """Columns of the ledger, and the folder that a clip is in.

    Args:
        rows: of the ledger.
        asked: a column that shall be there even if each clip has its own value.
    """
    columns: dict[str, list[Any]] = {
        name: rows[name].to_pylist() for name in rows.schema.names if name not in OWN or name == asked
    }
    columns["folder"] = [clip.rpartition("/")[0] or "." for clip in rows["clip_id"].to_pylist()]
    return [column_of(name, values) for name, values in columns.items()]


def label_columns(labels: Mapping[str, Mapping[str, Any]], clips: Sequence[str]) -> list[Column]:
    """Columns of labels.

    Args:
        labels: column -> clip id -> value.
        clips: ids, in the order of the map.
    """
    return [column_of(name, [found.get(clip) for clip in clips]) for name, found in labels.items()]


def column_of(name: str, values: Sequence[Any]) -> Column:
    """A column of whatever values there are."""
    there = [value for value in values if value is not None]
    if there and all(isinstance(value, datetime) for value in there):
        return Column(name, "times", [value and round(value.timestamp()) for value in values], [])
    if there and all(isinstance(value, (int, float)) for value in there):
        numbers = [None if value is None else _number(value) for value in values]
        few = {number for number in numbers if number is not None}
        if len(few) > FEW or not all(isinstance(number, int) for number in few):
            return Column(name, "numbers", numbers, [])
        return _names(name, numbers, sorted(few))
    texts = [None if value is None else _text(value) for value in values]
    counts = Counter(text for text in texts if text is not None)
    return _names(name, texts, sorted(counts, key=lambda text: (-counts[text], text)))


def _names(name: str, values: Sequence[Any], order: Sequence[Any]) -> Column:
    shown = order if len(order) <= NAMES else [*order[: NAMES - 1], OTHERS]
    places = {value: min(place, NAMES - 1) for place, value in enumerate(order)}
    return Column(name, "names", [places.get(value) for value in values], [*map(str, shown)])


def _number(value: float) -> float | int | None:
    if isinstance(value, int):
        return value
    if not math.isfinite(value):
        return None
    short = float(f"{value:.6g}")
    return int(short) if short.is_integer() and abs(short) < 2**53 else short


def _text(value: Any) -> str:
    text = ", ".join(value) if isinstance(value, list) else str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def names_of(columns: Iterable[Column]) -> list[str]:
    """Names of columns."""
    return [column.name for column in columns]
