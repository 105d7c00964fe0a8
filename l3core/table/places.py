"""Where the files of a commit are: one that another run is just publishing moves into its place."""

import errno
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from l3core.table.layout import TablePaths
from l3core.table.state import TableState

T = TypeVar("T")


class MissingFileError(FileNotFoundError):
    """A file of a commit is not there: a later commit has taken it away, or nobody knows who."""

    def __str__(self) -> str:
        return f"{self.filename} is missing: l3flow verify tells more"


def places_of(paths: TablePaths, state: TableState, path: str) -> tuple[str, ...]:
    """URIs where a file of a state may be, in this order; the first again, for it moves there.

    Args:
        paths: of the table.
        state: the commit.
        path: of the file, below the table.
    """
    staged = (state.pending or {"staged": {}})["staged"].get(path)
    return tuple(map(paths.at, (path,) if staged is None else (path, staged, path)))


def first_there(places: Sequence[str], action: Callable[[str], T]) -> T:
    """What an action gives of the first place where there is something.

    Raises:
        MissingFileError: there is nothing in any.
    """
    for place in places:
        with suppress(FileNotFoundError):
            return action(place)
    raise MissingFileError(errno.ENOENT, "is missing", places[0])
