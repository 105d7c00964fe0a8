"""Which objects a run's patterns name: streamed, sorted by path, each one once.

A pattern is a path or URI with `*`, `?`, `[...]` and `**` (any folders), a single object, or a folder,
which stands for the audio files below it. Hidden names count only where the pattern spells the dot.
"""

import heapq
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import fsspec
from fsspec.utils import glob_translate

from l3core.audio import EXTENSIONS
from l3core.errors import UsageError
from l3core.storage import StorageOptions, StoredObject, absolute, filesystem, version_of

_MAGIC = re.compile(r"[*?\[]")


class Pattern(NamedTuple):
    """A pattern that was looked at.

    Attributes:
        text: as given.
        folder: URI of the folder to walk.
        fs: its file system.
        path: `folder` as the file system knows it.
        matches: whether a path below it is meant.
        deep: whether folders below it may hold some.
        hidden: whether names with a leading dot may be meant.
    """

    text: str
    folder: str
    fs: fsspec.AbstractFileSystem
    path: str
    matches: Callable[[str], bool]
    deep: bool
    hidden: bool


def parse_pattern(text: str, storage_options: StorageOptions = None) -> Pattern:
    """Find out what a pattern means.

    Raises:
        UsageError: a pattern that cannot be read.
    """
    if not text.strip():
        raise UsageError("--input: an empty pattern names nothing")
    uri = absolute(text, storage_options)
    fs, path = filesystem(uri, storage_options)
    if not _MAGIC.search(path) or fs.exists(path):  # a name may hold a bracket
        if fs.isdir(path):
            return Pattern(text, uri, fs, path.rstrip("/"), _is_audio, deep=True, hidden=False)
        return _below(text, uri, fs, path, path.__eq__, deep=False, hidden=True)
    fixed = path[: _MAGIC.search(path).start()].rpartition("/")[0]  # type: ignore[union-attr]
    if path.startswith("/"):
        fixed = fixed or "/"
    try:
        translated = re.compile(glob_translate(path))
    except ValueError as error:
        raise UsageError(f"--input {text}: {error}") from None
    rest = path.removeprefix(fixed).lstrip("/")
    deep = "/" in rest or "**" in rest
    hidden = any(part.startswith(".") for part in rest.split("/"))
    pattern = _below(text, uri, fs, path, lambda name: translated.match(name) is not None, deep, hidden)
    return pattern._replace(path=fixed, folder=_uri_of(uri, path, fixed))


def _below(
    text: str,
    uri: str,
    fs: fsspec.AbstractFileSystem,
    path: str,
    matches: Callable[[str], bool],
    deep: bool,
    hidden: bool,
) -> Pattern:
    folder = posixpath.dirname(path)
    return Pattern(text, _uri_of(uri, path, folder), fs, folder, matches, deep, hidden)


def _uri_of(uri: str, path: str, other: str) -> str:
    """URI of `other`, where `path` is that of `uri`."""
    return uri.removesuffix(path) + other


def _is_audio(path: str) -> bool:
    return posixpath.splitext(path)[1].lower() in EXTENSIONS


def list_inputs(
    patterns: Sequence[Pattern], storage_options: StorageOptions = None
) -> Iterator[StoredObject]:
    """All objects that the patterns name, sorted by URI, each once."""
    last = None
    for found in heapq.merge(*(_list_pattern(pattern) for pattern in patterns)):
        if found.uri != last:
            yield found
        last = found.uri


def _list_pattern(pattern: Pattern) -> Iterator[StoredObject]:
    prefix = pattern.folder.removesuffix(pattern.path)
    if not pattern.fs.isdir(pattern.path):
        return
    for info in _walk(pattern.fs, pattern.path, deep=pattern.deep, hidden=pattern.hidden):
        if pattern.matches(info["name"]):
            yield StoredObject(prefix + info["name"], int(info["size"] or 0), version_of(info))


def _walk(
    fs: fsspec.AbstractFileSystem, folder: str, *, deep: bool, hidden: bool
) -> Iterator[dict[str, Any]]:
    """Files below a folder in the order of their whole paths; linked folders are not followed."""
    entries = []
    for info in fs.ls(folder, detail=True):
        is_folder = info["type"] == "directory"
        if info.get("islink") and fs.isdir(info["name"]):  # it may lead back to where we are
            continue
        if not hidden and posixpath.basename(info["name"].rstrip("/")).startswith("."):
            continue
        entries.append((info["name"] + ("/" if is_folder else ""), is_folder, info))
    for _, is_folder, info in sorted(entries, key=lambda entry: entry[0]):
        if not is_folder:
            yield info
        elif deep:
            yield from _walk(fs, info["name"], deep=deep, hidden=hidden)


def common_root(patterns: Iterable[Pattern]) -> str:
    """The longest folder that all patterns lie below.

    Raises:
        UsageError: they lie in different stores.
    """
    folders = [pattern.folder for pattern in patterns]
    protocols = {uri.partition("://")[0] if "://" in uri else "" for uri in folders}
    if len(protocols) > 1:
        raise UsageError(f"--input names several stores ({', '.join(sorted(folders))}): give --root")
    protocol = protocols.pop()
    prefix = f"{protocol}://" if protocol else ""
    return prefix + posixpath.commonpath([uri.removeprefix(prefix) for uri in folders])


def clip_id_of(uri: str, root: str) -> str:
    """An object's path below the table's root.

    Raises:
        UsageError: it lies elsewhere.
    """
    base = root.rstrip("/") + "/"
    if not uri.startswith(base):
        raise UsageError(
            f"{uri} is not below the table's root {root}; name files below it, or use another table"
        )
    return uri.removeprefix(base)
