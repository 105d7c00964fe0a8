"""Text as SQL that means just this text."""

import re
from collections.abc import Iterable
from itertools import groupby


def sql_text(text: str) -> str:
    """Text as SQL that can be pasted, whatever is in it: what cannot be printed goes through `chr`."""
    pieces: list[str] = []
    for printed, group in groupby(text, str.isprintable):
        if printed:
            pieces.append("'" + "".join(group).replace("'", "''") + "'")
        else:
            pieces += (f"chr({ord(char)})" for char in group)
    return " || ".join(pieces) or "''"


def sql_list(texts: Iterable[str]) -> str:
    """A list of texts."""
    return f"[{', '.join(map(sql_text, texts))}]"


def glob_text(path: str) -> str:
    """A path as DuckDB's patterns have it: what stands for other characters stands for itself."""
    return re.sub(r"[*?\[]", r"[\g<0>]", path)
