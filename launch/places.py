"""The places that options name: held to be in stores that answer, before anything else is done."""

from collections.abc import Mapping, Sequence

from l3core.stores import bucket_of, reach
from launch.options import naming


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
