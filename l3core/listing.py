"""Which objects a run's patterns name: streamed, sorted by path, each one once.

A pattern is a path or URI with `*`, `?`, `[...]` and `**` (any folders), a single object, or a folder,
which stands for the audio files below it. Hidden names count only where the pattern spells the dot.
On the web a URL is a single object, as it is spelt.
`@FILE` names a list of literal paths or URIs, one a line; in a FILE that ends in .jsonl each line is a
JSON string, for names with line breaks. What a list names and is not there gets its ledger row, too.
"""

import heapq
import json
import os
import posixpath
import re
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import fsspec
from fsspec.utils import glob_translate

from l3core.ahead import map_ahead
from l3core.audio import EXTENSIONS
from l3core.clip_ids import common_folder
from l3core.errors import UsageError
from l3core.storage import (
    StoredObject,
    absolute,
    as_text,
    filesystem,
    named,
    read_bytes,
    stored,
    type_of,
    unknown,
)
from l3core.stores import is_remote
from l3core.urls import checked_url, folder_of, is_web, object_url
from l3core.walk import walk

_MAGIC = re.compile(r"[*?\[]")


class Pattern(NamedTuple):
    """A pattern that was looked at.

    Attributes:
        text: as given.
        folder: URI of the folder to walk.
        fs: its file system.
        path: `folder` as the file system knows it.
        matches: whether a path below it, as text, is meant.
        deep: whether folders below it may hold some.
        hidden: whether names with a leading dot may be meant.
        needed: path without which there is nothing: the folder of a pattern, else the very object.
    """

    text: str
    folder: str
    fs: fsspec.AbstractFileSystem
    path: str
    matches: Callable[[str], bool]
    deep: bool
    hidden: bool
    needed: str

    @property
    def spelt_out(self) -> bool:
        """Whether it is a single name that is, or was, in a folder."""
        return self.needed != self.path

    @property
    def is_there(self) -> bool:
        """Whether what it names can be there."""
        return type_of(self.fs, self.needed) is not None

    def objects(self, without: str | None = None) -> Iterator[StoredObject]:
        """What it names, sorted by URI, but nothing below the folder `without`."""
        prefix = self.folder.removesuffix(self.path)
        if self.spelt_out:
            found = named(prefix + self.needed)
            if not found.absent and type_of(self.fs, self.needed) != "directory":
                yield found
            return
        above = () if without is None else (os.path.realpath(without),)
        for info in walk(self.fs, self.path, deep=self.deep, hidden=self.hidden, above=above):
            if self.matches(as_text(info["name"])):
                yield stored(prefix + info["name"], info)

    def names(self, uri: str) -> bool:
        """Whether it names an object of this URI (as text), be it there or not."""
        base = as_text(self.folder).rstrip("/") + "/"
        rest = uri.removeprefix(base)
        if rest == uri or ("/" in rest and not self.deep):
            return False
        if not self.hidden and any(part.startswith(".") for part in rest.split("/")):
            return False
        return self.matches(as_text(self.path).rstrip("/") + "/" + rest)


def _look(uris: Sequence[str]) -> Iterator[StoredObject]:
    return map_ahead(_named, uris) if any(map(is_remote, uris)) else map(named, uris)


def _named(uri: str) -> StoredObject:
    try:
        return named(uri)
    except PermissionError:  # whoever reads it finds out
        return unknown(uri)


class ListFile(NamedTuple):
    """A file of literal URIs.

    Attributes:
        folder: that all of them lie below.
        uris: sorted.
        look: what they are, in this order; absent ones, too.
    """

    folder: str
    uris: tuple[str, ...]
    look: Callable[[Sequence[str]], Iterator[StoredObject]] = _look

    def objects(self, without: str | None = None) -> Iterator[StoredObject]:
        """What it names, sorted by URI; all that was spelt out is meant."""
        yield from self.look(self.uris)

    def names(self, uri: str) -> bool:
        """Whether it names an object of this URI (as text), be it there or not."""
        place = bisect_left(self.uris, uri, key=as_text)
        return place < len(self.uris) and as_text(self.uris[place]) == uri


def parse_input(text: str, extensions: Collection[str] = EXTENSIONS) -> "Pattern | ListFile":
    """A pattern, a URL, or `@FILE`.

    Args:
        text: as given.
        extensions: of the files that a folder stands for, in small letters with their dots.

    Raises:
        UsageError: a pattern or a list that cannot be read.
    """
    if text.startswith("@"):
        return _read_list(text[1:])
    if is_web(text):
        return _web_objects([text])
    return parse_pattern(text, extensions)


def _web_objects(urls: Iterable[str]) -> ListFile:
    from l3core.looks import Looks  # its client takes a moment to load

    found = tuple(sorted({object_url(each) for each in urls}, key=as_text))
    return ListFile(common_folder([folder_of(url) for url in found]), found, Looks())


def _read_list(name: str) -> ListFile:
    if is_web(name):
        name = checked_url(name)  # what is wrong with it is told without what may be secret in it
    try:
        lines = read_bytes(name).decode("utf-8").split("\n")
        names = [line.removesuffix("\r") for line in lines if line.strip()]
        if name.endswith(".jsonl"):
            names = [_json_string(line) for line in names]
    except OSError as error:
        raise UsageError(f"@{name}: cannot read the list: {error}") from None
    except ValueError as error:
        raise UsageError(f"@{name}: needs UTF-8, or JSON strings in a .jsonl: {error}") from None
    if not names:
        raise UsageError(f"@{name}: the list is empty")
    if any("\0" in each for each in names):
        raise UsageError(f"@{name}: a name cannot hold a NUL character")
    if is_web(name) or all(map(is_web, names)):
        if strangers := [each for each in names if not is_web(each)]:
            raise UsageError(f"@{name}: a list on the web names URLs only, has {strangers[0]!r}")
        with _naming(name):
            return _web_objects(names)
    uris = tuple(sorted({absolute(each) for each in names}, key=as_text))
    return ListFile(common_folder([uri.rpartition("/")[0] for uri in uris]), uris)


@contextmanager
def _naming(name: str) -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        raise UsageError(f"@{name}: {error}") from None


def _json_string(line: str) -> str:
    value = json.loads(line)
    if not isinstance(value, str):
        raise ValueError(f"{line!r} is not a JSON string")
    return value


def parse_pattern(text: str, extensions: Collection[str] = EXTENSIONS) -> Pattern:
    """Find out what a pattern means; arguments as of `parse_input`.

    Raises:
        UsageError: a pattern that cannot be read.
    """
    if not text.strip():
        raise UsageError("needs a pattern, got an empty one")
    uri = absolute(text)
    fs, path = filesystem(uri)
    magic = _MAGIC.search(path)
    there = type_of(fs, path)
    wanted = partial(_ends_in, extensions)
    if magic is None or there is not None:  # a name may hold a bracket
        if there == "directory":
            bare = path.rstrip("/") or path
            place = _uri_of(uri, path, bare)
            return Pattern(text, place, fs, bare, wanted, deep=True, hidden=False, needed=bare)
        return _spelt_out(text, uri, fs, path, wanted, is_file=there is not None)
    fixed = path[: magic.start()].rpartition("/")[0]
    if path.startswith("/"):
        fixed = fixed or "/"
    try:
        translated = re.compile(glob_translate(as_text(path)))
    except ValueError as error:
        raise UsageError(f"{text}: {error}") from None
    rest = path.removeprefix(fixed).lstrip("/")
    deep = "/" in rest or "**" in rest
    hidden = any(part.startswith(".") for part in rest.split("/"))
    folder = _uri_of(uri, path, fixed)

    def matches(name: str) -> bool:
        return translated.match(name) is not None

    return Pattern(text, folder, fs, fixed, matches, deep, hidden, needed=fixed)


def _spelt_out(
    text: str,
    uri: str,
    fs: fsspec.AbstractFileSystem,
    path: str,
    wanted: Callable[[str], bool],
    *,
    is_file: bool,
) -> Pattern:
    """One file; or a name that is no longer there, which may have been a folder's."""
    own = as_text(path)
    folder = posixpath.dirname(path)

    def matches(name: str) -> bool:
        return name == own or (not is_file and name.startswith(own + "/") and wanted(name))

    place = _uri_of(uri, path, folder)
    return Pattern(text, place, fs, folder, matches, deep=not is_file, hidden=is_file, needed=path)


def _uri_of(uri: str, path: str, other: str) -> str:
    """URI of `other`, where `path` is that of `uri`."""
    return uri.removesuffix(path) + other


def _ends_in(extensions: Collection[str], path: str) -> bool:
    return posixpath.splitext(path)[1].lower() in extensions


def list_inputs(
    inputs: Sequence[Pattern | ListFile], without: str | None = None
) -> Iterator[StoredObject]:
    """All objects that the inputs name, sorted by URI, each once; none below the folder `without`."""
    last = None
    for found in heapq.merge(*(each.objects(without) for each in inputs), key=_place):
        if found.uri != last:
            yield found
        last = found.uri


def _place(found: StoredObject) -> str:
    return as_text(found.uri)


def common_root(inputs: Iterable[Pattern | ListFile]) -> str:
    """The longest folder that all inputs lie below.

    Raises:
        UsageError: they lie in different stores.
    """
    return common_folder([each.folder for each in inputs])
