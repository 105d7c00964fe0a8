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
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")), skipinitialspace=True)
    header = [column.strip() for column in reader.fieldnames or ()]
    if lacking := [column for column in columns if column not in header]:
        raise DatasetError(
            f"{name} needs the columns {', '.join(columns)}; it lacks {', '.join(lacking)}"
        )
    reader.fieldnames = header
    rows = []
    for row in reader:
        if any(row[column] is None for column in columns):
            raise DatasetError(f"{name} breaks off in line {reader.line_num}")
        rows.append({column: row[column].strip() for column in columns})
    return rows


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
