"""What clips and videos are called: their paths below a folder that all inputs share."""

import posixpath
from collections.abc import Sequence
from itertools import takewhile

from l3core.errors import UsageError
from l3core.storage import as_text, beginning_below


def common_folder(folders: Sequence[str]) -> str:
    """The longest folder that all of some lie in or are, as a path or URI.

    Raises:
        UsageError: they lie in different stores.
    """
    protocols = {uri.partition("://")[0] if "://" in uri else "" for uri in folders}
    if len(protocols) > 1:
        several = ", ".join(sorted(set(folders))[:3])
        raise UsageError(f"the inputs lie in several stores ({several}): give --root")
    protocol = protocols.pop()
    prefix = f"{protocol}://" if protocol else ""
    if prefix:  # a name may have an empty part
        # a slash behind each part, so that the root of memory:// keeps its own
        paths = [uri.removeprefix(prefix) for uri in folders]
        split = [[part + "/" for part in path.split("/")] if path else [] for path in paths]
        both = takewhile(lambda parts: parts[0] == parts[1], zip(min(split), max(split)))
        shared = "".join(part for part, _ in both)
        return prefix + (shared if shared in ("", "/") else shared.removesuffix("/"))
    return posixpath.commonpath([path or "/" for path in folders])


def clip_id_of(uri: str, root: str) -> str:
    """An object's path below the root of a table or a corpus.

    Raises:
        UsageError: it lies elsewhere.
    """
    base = beginning_below(root)
    if not uri.startswith(base):
        raise UsageError(
            f"{uri} is not below the root {root}; name files below it, or another table or corpus"
        )
    return as_text(uri.removeprefix(base))
