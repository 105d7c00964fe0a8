"""Rows for people: columns that are aligned, a line a row."""

from collections.abc import Iterator, Sequence


def aligned(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[bool] = ()
) -> Iterator[str]:
    """Lines of a table, however narrow the screen: a terminal wraps them, and nothing is cut off.

    Args:
        columns: their names.
        rows: a cell for each column, all in one line.
        numbers: which columns are of numbers, and go to the right; none by default.
    """
    from rich.cells import cell_len  # characters that take two places, or none

    widths = [max(map(cell_len, cells)) for cells in zip(columns, *rows)]
    right = numbers or [False] * len(columns)
    for row in (columns, *rows):
        spaces = [" " * (width - cell_len(cell)) for cell, width in zip(row, widths)]
        cells = [gap + cell if last else cell + gap for cell, gap, last in zip(row, spaces, right)]
        yield "  ".join(cells).rstrip()
