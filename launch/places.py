"""The places that options name, and whether their stores answer, which is asked before anything else."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from l3core.stores import bucket_of, reach
from launch.options import naming

_LOCAL = ("file://", "local://")


class Place(NamedTuple):
    """A value of a flag that is a place."""

    flag: str
    text: str

    @property
    def path(self) -> str | None:
        """The path that it is; None: a URI, or a word that the flag knows."""
        if self.flag == "--weights" and (self.text == "published" or self.text.startswith("random:")):
            return None
        text = self.text.removeprefix("@") if self.flag == "--input" else self.text
        for scheme in _LOCAL:
            text = text.removeprefix(scheme)
        return None if "://" in text else text

    def at(self, path: str) -> str:
        """The same value with another path."""
        return f"@{path}" if self.flag == "--input" and self.text.startswith("@") else path


def reach_places(places: Mapping[str, str | Sequence[str] | None]) -> None:
    """Hold that the store of each place answers; each bucket is asked once.

    Args:
        places: flag -> the path or URI that it names, or several, `@LIST` among them.

    Raises:
        UsageError, StorageError: from `l3core.stores.reach`; the former name the flag.
    """
    asked = set()
    for flag, named in places.items():
        for text in [named] if isinstance(named, str) else named or ():
            uri = text.removeprefix("@")
            if bucket_of(uri) not in asked:
                asked.add(bucket_of(uri))
                with naming(flag):
                    reach(uri)
