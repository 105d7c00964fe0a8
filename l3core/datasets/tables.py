"""Reading a dataset's own csv, and saying where it contradicts itself."""

import csv
import io
from collections.abc import Callable, Sequence

from l3core.datasets.base import DatasetError

NAMES_SHOWN = 3


def read_rows(text: str, columns: Sequence[str], *, name: str) -> list[dict[str, str]]:
    """Rows of a csv with a header, without spaces around the values.

    Raises:
        DatasetError: a column or a value is missing.
    """
    table = parse_csv(text, name=name)
    header = table[0] if table else []
    if lacking := [column for column in columns if column not in header]:
        raise DatasetError(f"{name} lacks the columns {', '.join(lacking)}; it has {', '.join(header)}")
    places = [header.index(column) for column in columns]
    rows = []
    for number, values in enumerate(table[1:], start=2):
        if len(values) <= max(places):
            raise DatasetError(f"{name} breaks off in row {number}")
        rows.append({column: values[place] for column, place in zip(columns, places)})
    return rows


def parse_csv(text: str, *, name: str) -> list[list[str]]:
    """Values of a csv without the spaces around them; empty rows are left out.

    Raises:
        DatasetError: it is no csv.
    """
    lines = io.StringIO(text.removeprefix("\ufeff"), newline=None)  # line ends of any system
    try:
        rows = list(csv.reader(lines, skipinitialspace=True))
    except csv.Error as error:
        raise DatasetError(f"{name} is no csv: {error}; take the authors' own file") from None
    return [[value.strip() for value in row] for row in rows if row]


def refuse_altered(
    rows: Sequence[dict[str, str]], agrees: Callable[[dict[str, str]], bool], *, column: str, name: str
) -> None:
    """Refuse rows that contradict themselves: which of both is true cannot be known.

    Raises:
        DatasetError: with the first few.
    """
    if altered := [row[column] for row in rows if not agrees(row)]:
        raise DatasetError(
            f"{name} was altered: {len(altered)} of {len(rows)} rows contradict their file's name "
            f"({first_few(altered)}); take the authors' own file"
        )


def first_few(names: Sequence[str]) -> str:
    """Up to three names, and how many more."""
    shown = ", ".join(names[:NAMES_SHOWN])
    more = len(names) - NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
