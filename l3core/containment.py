"""Reading below one folder only: neither a link nor a `..` leads out of it.

What lies elsewhere is listed as `unknown`. It is refused where it would be read, since a link may be
put there after the listing.
"""

import errno
import os
import posixpath
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import BinaryIO

from l3core.errors import AudioError
from l3core.storage import StoredObject, as_text, beginning_below, unknown
from l3core.urls import is_web

# To go through a folder it need not be readable.
_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW


def contained(found: Iterable[StoredObject], root: str) -> Iterator[StoredObject]:
    """The same objects, to be read only where they really lie below a folder."""
    real = lru_cache(maxsize=64)(os.path.realpath)  # neighbours lie in the same folder
    for each in found:
        listed = unknown(each.uri) if leads_out(each.uri, root, real) else each
        yield listed._replace(within=root)


def refuse_leading_out(listed: StoredObject) -> None:
    """Hold that an object lies where it may be read.

    Raises:
        AudioError: `forbidden`.
    """
    if listed.within is not None and leads_out(listed.uri, listed.within):
        raise _forbidden(listed.within)


def leads_out(uri: str, root: str, real: Callable[[str], str] = os.path.realpath) -> bool:
    """Whether an object does not really lie below a folder, whatever it is called.

    Args:
        uri: of the object.
        root: of the folder.
        real: finds the real path of a folder.
    """
    if is_web(root):  # no URL has dots in its path (`l3core.urls`)
        return False
    if not _is_disk(root):  # some clients ask for what a name with .. comes to
        return _below(_normal(uri), _normal(root)) is None
    folder, name = os.path.split(uri)
    place = os.path.join(real(folder), name)
    return _below(os.path.realpath(place) if os.path.islink(place) else place, real(root)) is None


def _is_disk(root: str) -> bool:
    return "://" not in root


def _normal(uri: str) -> str:
    scheme, _, place = uri.partition("://")
    return f"{scheme}://{posixpath.normpath(place) if place else place}"


def open_below(path: str, root: str) -> BinaryIO:
    """Open a file of a disk that lies below a folder, whatever happens to links meanwhile.

    Raises:
        AudioError: `forbidden`: it lies elsewhere.
    """
    base = os.path.realpath(root)
    rest = _below(os.path.realpath(path), base)
    if rest is None:
        raise _forbidden(root)
    *folders, name = rest.split("/")
    # a real path has no links: one that is in the way now was put there since, and is not followed
    place = os.open(base, _FOLDER)
    try:
        for folder in folders:
            outer, place = place, os.open(folder, _FOLDER, dir_fd=place)
            os.close(outer)
        return os.fdopen(os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=place), "rb")
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise _forbidden(root) from None
        raise
    finally:
        os.close(place)


def _below(path: str, folder: str) -> str | None:
    """What comes behind a folder in a path below it; None if it is not."""
    base = beginning_below(folder)
    return path.removeprefix(base) if path.startswith(base) else None


def _forbidden(root: str) -> AudioError:
    what = "a link" if _is_disk(root) else "a name"
    return AudioError("forbidden", f"{what} that leads out of --root {as_text(root)}")
