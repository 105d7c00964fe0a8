"""A line of `l3flow doctor`."""

from collections.abc import Sequence
from typing import Literal, NamedTuple


class Finding(NamedTuple):
    """What was found of one thing.

    Attributes:
        topic: what was looked at.
        state: `ok`; `absent`, not here and not needed by everybody; `wrong`, to be mended.
        says: what it is like.
        remedy: what to do, unless it is ok.
    """

    topic: str
    state: Literal["ok", "absent", "wrong"]
    says: str
    remedy: str = ""


class Asked(NamedTuple):
    """What the command was asked to look at besides the machine.

    Attributes:
        stores: folders that have to be writable.
        inputs: files and patterns that have to be readable.
    """

    stores: Sequence[str] = ()
    inputs: Sequence[str] = ()
