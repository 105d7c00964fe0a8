"""Files below a folder in the order of their whole paths, streamed: in a store several prefixes at once.

Google's store and S3 list in this order themselves, page by page; so a folder of any size is never in
memory. Of other stores, and on a disk, a folder is what comes at once.
"""

import os
import posixpath
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from itertools import islice
from typing import Any, NamedTuple

import fsspec

from l3core.ahead import IO_CONCURRENCY
from l3core.errors import StorageError, UsageError
from l3core.storage import as_text, type_of
from l3core.stores import filesystem, is_disk, is_object_store

Info = dict[str, Any]

# Folders of one folder that are listed ahead of need.
FOLDERS_AHEAD = 8
PAGE_OBJECTS = 1000


class _Entry(NamedTuple):
    """Something in a folder: its name, with a slash behind that of a folder, and its description."""

    name: str
    info: Info

    @property
    def is_folder(self) -> bool:
        return self.name.endswith("/")

    @property
    def is_hidden(self) -> bool:
        return posixpath.basename(self.name.rstrip("/")).startswith(".")


def walk(
    fs: fsspec.AbstractFileSystem,
    folder: str,
    *,
    deep: bool,
    hidden: bool,
    above: tuple[str, ...] = (),
) -> Iterator[Info]:
    """Descriptions of files below a folder, sorted; links are followed, but not in circles.

    Args:
        fs: where.
        folder: as `fs` knows it.
        deep: folders below it, too.
        hidden: names with a leading dot, too.
        above: real paths of folders that are not gone into again.
    """
    threads = nullcontext(None) if is_disk(fs) else ThreadPoolExecutor(IO_CONCURRENCY)
    with threads as pool:
        yield from _Walk(fs, pool, deep=deep, hidden=hidden).below(folder, above)


def files_below(uri: str) -> list[str]:
    """Paths of all files below a folder, relative to it, sorted; hidden ones are left out.

    Raises:
        UsageError: there is no such folder.
    """
    fs, path = filesystem(uri)
    path = path.rstrip("/")
    if type_of(fs, path) != "directory":
        raise UsageError(f"{uri} is no folder")
    infos = walk(fs, path, deep=True, hidden=False)
    return [info["name"].removeprefix(path).lstrip("/") for info in infos]


class _Walk:
    def __init__(
        self,
        fs: fsspec.AbstractFileSystem,
        pool: ThreadPoolExecutor | None,
        *,
        deep: bool,
        hidden: bool,
    ) -> None:
        self._fs = fs
        self._pool = pool
        self._deep = deep
        self._hidden = hidden

    def below(self, folder: str, above: tuple[str, ...]) -> Iterator[Info]:
        return self._descend(self._entries(folder), folder, above)

    def _descend(self, entries: Iterator[_Entry], folder: str, above: tuple[str, ...]) -> Iterator[Info]:
        if not is_object_store(self._fs):  # there are no links
            above = (*above, os.path.realpath(folder))
        begun: deque[tuple[_Entry, Iterator[_Entry] | None]] = deque()
        kept = (entry for entry in entries if self._is_wanted(entry, above))
        while True:
            for entry in islice(kept, FOLDERS_AHEAD - len(begun)):
                begun.append((entry, self._entries(entry.name[:-1]) if entry.is_folder else None))
            if not begun:
                return
            entry, inside = begun.popleft()
            if inside is None:
                yield entry.info
            else:
                yield from self._descend(inside, entry.name[:-1], above)

    def _is_wanted(self, entry: _Entry, above: tuple[str, ...]) -> bool:
        if entry.is_hidden and not self._hidden:
            return False
        if not entry.is_folder:
            return True
        if not self._deep:
            return False
        return is_object_store(self._fs) or os.path.realpath(entry.name) not in above

    def _entries(self, folder: str) -> Iterator[_Entry]:
        """What is in a folder; the first page is asked for at once, each other one page ahead."""
        pages = _pages(self._fs, folder)
        if self._pool is None:
            return (entry for page in pages for entry in page)
        return self._ahead(self._pool, pages, self._pool.submit(next, pages, None))

    def _ahead(
        self,
        pool: ThreadPoolExecutor,
        pages: Iterator[list[_Entry]],
        coming: "Future[list[_Entry] | None]",
    ) -> Iterator[_Entry]:
        while (page := coming.result()) is not None:
            coming = pool.submit(next, pages, None)
            yield from page


def _pages(fs: fsspec.AbstractFileSystem, folder: str) -> Iterator[list[_Entry]]:
    """What is in a folder, sorted, in parts; nothing if it was removed meanwhile.

    Raises:
        StorageError: a store lists in another order.
    """
    protocols = fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,)
    try:
        if "gs" in protocols:
            yield from _in_order(_google_pages(fs, folder))
        elif "s3" in protocols:
            yield from _in_order(_s3_pages(fs, folder))
        else:
            yield _sorted([_plain_entry(fs, info) for info in fs.ls(folder, detail=True)])
    except FileNotFoundError:
        return


def _plain_entry(fs: fsspec.AbstractFileSystem, info: Info) -> _Entry:
    is_folder = info["type"] == "directory" or (info.get("islink", False) and fs.isdir(info["name"]))
    return _Entry(info["name"] + ("/" if is_folder else ""), info)


def _google_pages(fs: fsspec.AbstractFileSystem, folder: str) -> Iterator[list[_Entry]]:
    bucket, _, key = folder.partition("/")
    prefix = key + "/" if key else ""
    query = {"prefix": prefix, "delimiter": "/", "maxResults": PAGE_OBJECTS}
    while True:
        page = fs.call("GET", "b/{}/o", bucket, json_out=True, **query)
        objects = [
            {**item, "name": f"{bucket}/{item['name']}", "size": int(item["size"]), "type": "file"}
            for item in page.get("items", ())
            if item["name"] != prefix  # some tools make an object of a folder's name
        ]
        yield _page(objects, [f"{bucket}/{name}" for name in page.get("prefixes", ())])
        if not page.get("nextPageToken"):
            return
        query["pageToken"] = page["nextPageToken"]


def _s3_pages(fs: fsspec.AbstractFileSystem, folder: str) -> Iterator[list[_Entry]]:
    bucket, _, key = folder.partition("/")
    prefix = key + "/" if key else ""
    query = {"Bucket": bucket, "Prefix": prefix, "Delimiter": "/", "MaxKeys": PAGE_OBJECTS}
    while True:
        page = fs.call_s3("list_objects_v2", **query)
        objects = [
            {**item, "name": f"{bucket}/{item['Key']}", "size": item["Size"], "type": "file"}
            for item in page.get("Contents", ())
            if item["Key"] != prefix
        ]
        yield _page(objects, [f"{bucket}/{item['Prefix']}" for item in page.get("CommonPrefixes", ())])
        if not page.get("IsTruncated"):
            return
        query["ContinuationToken"] = page["NextContinuationToken"]


def _page(objects: list[Info], folders: list[str]) -> list[_Entry]:
    return _sorted(
        [_Entry(info["name"], info) for info in objects]
        + [_Entry(name, {"name": name, "type": "directory"}) for name in folders]
    )


def _sorted(entries: list[_Entry]) -> list[_Entry]:
    return sorted(entries, key=_place)


def _place(entry: _Entry) -> str:
    return as_text(entry.name)


def _in_order(pages: Iterable[list[_Entry]]) -> Iterator[list[_Entry]]:
    """The same entries, each once, as far as it is sure that nothing comes before them.

    A page may name folders that lie behind its last object, and the next one name them again.
    """
    held: dict[str, _Entry] = {}
    last = ""
    for page in pages:
        held |= {_place(entry): entry for entry in page if _place(entry) != last}
        objects = [_place(entry) for entry in page if not entry.is_folder]
        end = max(objects or map(_place, page), default="")
        sure = sorted(place for place in held if place <= end)
        if sure and sure[0] <= last:
            raise StorageError(
                f"{held[sure[0]].name} is listed behind {last}: a store that does not list by name (as "
                "S3's directory buckets) cannot be used"
            )
        last = max(last, end)
        yield [held.pop(place) for place in sure]
    yield _sorted(list(held.values()))
