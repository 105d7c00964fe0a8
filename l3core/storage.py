"""Objects of any store that fsspec knows: what and where they are, and whole ones read and written.

Paths are fsspec's: `/data/a.wav`, `gs://bucket/a.wav`, `memory://a.wav`. Local ones may be relative.
"""

import errno
import hashlib
import os
import posixpath
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any, BinaryIO, NamedTuple, cast

import fsspec

from l3core.ahead import do_all
from l3core.atomic import create as create
from l3core.atomic import make_folder
from l3core.atomic import write_bytes as write_bytes
from l3core.atomic import writing as writing
from l3core.checksums import checksum_in
from l3core.store_errors import unwrapped
from l3core.stores import filesystem as filesystem
from l3core.stores import holds_any, is_disk, is_object_store

# No such file; a file where a folder should be; links in a circle; a name that is too long.
NOWHERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
_PRIVATE_USE = {0xDC00 + byte: 0xE000 + byte for byte in range(0x80, 0x100)}


class StoredObject(NamedTuple):
    """One object as it was listed.

    Attributes:
        uri: where it is, readable by `open_pinned`.
        size_bytes: its length; below 0 for one that is named and not there, 0 also if it is not known.
        version: the store's name for this very content; changes whenever it is overwritten. "" where
            nothing tells.
        checksum: of the content (`l3core.checksums`), where the store gives one.
        within: folder that it is read below only (`l3core.containment`); None: wherever it really lies.
    """

    uri: str
    size_bytes: int
    version: str
    checksum: str | None = None
    within: str | None = None

    @property
    def absent(self) -> bool:
        """Whether it is not there: named by a list, or a link to nowhere."""
        return self.size_bytes < 0


def absolute(uri: str) -> str:
    """A URI that means the same from anywhere; local paths stay plain paths."""
    fs, path = filesystem(uri)
    return os.path.abspath(path) if is_disk(fs) else fs.unstrip_protocol(path)


def absolute_folder(uri: str) -> str:
    """The same of a folder: without a slash at its end, unless it is a whole disk or store."""
    found = absolute(uri)
    bare = found.rstrip("/")
    return found if bare in ("", found.partition("//")[0]) else bare


def beginning_below(folder: str) -> str:
    """What the URIs of all that is in a folder begin with."""
    return folder if folder.endswith("/") else folder + "/"


def as_text(name: str) -> str:
    """A name that every file format can hold.

    Bytes of a file name that are no UTF-8 (Python's surrogates U+DC80 to U+DCFF) become characters of
    the private use area, U+E080 to U+E0FF. Everything is sorted by such text: among names that use that
    area themselves its order is another.
    """
    return name if name.isascii() else name.translate(_PRIVATE_USE)


def join(base: str, *parts: str) -> str:
    """A path below `base`."""
    return posixpath.join(base, *parts)


def version_of(info: dict[str, Any]) -> str:
    """The version in a file system's description of an object.

    An object store's generation or etag; on a disk the time of the last change, in nanoseconds, since
    a file can be replaced by one of the same size.

    Raises:
        FileNotFoundError: a link to nowhere, or gone in this moment.
    """
    if "ino" in info:
        return f"{os.stat(info['name']).st_mtime_ns}"
    # not S3's VersionId, which a description has and a listing has not
    for key in ("generation", "etag", "ETag", "mtime", "created"):
        value = info.get(key)
        if isinstance(value, datetime):
            value = value.timestamp()  # some file systems list a number and describe a time
        if value is not None:
            return str(value)
    return ""


def stored(uri: str, info: dict[str, Any]) -> StoredObject:
    """An object from a file system's description of it; one that is not there is `absent`."""
    try:
        return StoredObject(uri, int(info["size"] or 0), version_of(info), checksum_in(info))
    except OSError as error:
        if error.errno not in NOWHERE:
            raise
        return absent(uri)


def named(uri: str) -> StoredObject:
    """An object that is named and may not be there, nor be possible: then it is `absent`."""
    try:
        return describe(uri)
    except OSError as error:
        if not isinstance(error, FileNotFoundError) and error.errno not in NOWHERE:
            raise
        return absent(uri)


def absent(uri: str) -> StoredObject:
    """An object that is named and not there."""
    return StoredObject(uri, -1, "")


def unknown(uri: str) -> StoredObject:
    """An object that could not be looked at: whoever reads it finds out."""
    return StoredObject(uri, 0, "")


def describe(uri: str) -> StoredObject:
    """The object as it is now.

    Raises:
        FileNotFoundError: there is none.
    """
    fs, path = filesystem(uri)
    return stored(uri, fs.info(path))


def read_bytes(uri: str) -> bytes:
    """A whole object.

    Raises:
        FileNotFoundError: there is none.
    """
    fs, path = filesystem(uri)
    return fs.cat_file(path)


def reading(uri: str) -> BinaryIO:
    """A file object for reading any part of an object.

    Raises:
        FileNotFoundError: there is none.
    """
    fs, path = filesystem(uri)
    return cast(BinaryIO, fs.open(path, "rb"))


def move(source: str, target: str) -> None:
    """Move an object; done before is done, so it can be repeated after a kill."""
    fs, path = filesystem(source)
    _, target_path = filesystem(target)
    make_folder(fs, target_path)
    try:
        if is_disk(fs):
            os.replace(path, target_path)
        elif hasattr(unwrapped(fs), "mv_file"):
            fs.mv_file(path, target_path)
        else:
            fs.cp_file(path, target_path)
            fs.rm_file(path)
    except FileNotFoundError:
        if not is_object(target):
            raise


def remove(uri: str) -> None:
    """Remove an object; one that is not there is fine."""
    _remove_file(*filesystem(uri))


def remove_folder(uri: str) -> None:
    """Remove all below a folder; one that is not there is fine."""
    fs, path = filesystem(uri)
    if not is_disk(fs):  # name by name: what removes many takes a bracket in a name for a pattern
        do_all(partial(_remove_file, fs), fs.find(path))
        if not is_object_store(fs):  # what is left of its folders
            with suppress(FileNotFoundError):
                fs.rm(path, recursive=True)
        return
    while type_of(fs, path) is not None:
        with suppress(FileNotFoundError):  # somebody else removes the same, or part of it
            fs.rm(path, recursive=True)


def _remove_file(fs: fsspec.AbstractFileSystem, path: str) -> None:
    with suppress(FileNotFoundError):
        fs.rm_file(path)


def is_object(uri: str) -> bool:
    """Whether there is an object, and not a folder: one request, and no empty one is asked for."""
    fs, path = filesystem(uri)
    if is_disk(fs):
        return type_of(fs, path) == "file"
    try:
        fs.cat_file(path, start=0, end=1)
    except FileNotFoundError:
        return False
    return True


def exists(uri: str) -> bool:
    """Whether there is an object or folder."""
    return type_of(*filesystem(uri)) is not None


def type_of(fs: fsspec.AbstractFileSystem, path: str) -> str | None:
    """`file`, `directory`, `other`, or None if there is nothing.

    fsspec's own `exists` and `isdir` take any failure of a store for "there is nothing", and a table or
    a corpus that cannot be reached for an empty one.
    """
    try:
        return str(fs.info(path)["type"])
    except (FileNotFoundError, NotADirectoryError):  # the latter: below a file
        return None
    except PermissionError:
        if holds_any(fs, path):
            return "directory"
        raise


def names_below(uri: str, *, suffix: str) -> list[str]:
    """Names of the objects directly in a folder that end in `suffix`, sorted; none if no such folder."""
    fs, path = filesystem(uri)
    fs.invalidate_cache(path)
    try:
        found = [name.rstrip("/") for name in fs.ls(path, detail=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    # some tools make an object of a folder's name
    names = (posixpath.basename(name) for name in found if name != path.rstrip("/"))
    return sorted(name for name in names if name.endswith(suffix))


def sizes_below(uri: str) -> dict[str, int]:
    """Names and sizes of what is directly in a folder that nobody else writes to.

    Raises:
        FileNotFoundError: something was removed meanwhile.
    """
    fs, path = filesystem(uri)
    if type_of(fs, path) is None:
        return {}
    fs.invalidate_cache(path)
    infos = fs.ls(path, detail=True)
    return {posixpath.basename(info["name"].rstrip("/")): int(info["size"] or 0) for info in infos}


def modified_s(uri: str) -> float:
    """When an object was last written, in seconds of its store's clock.

    Raises:
        FileNotFoundError: there is none.
    """
    fs, path = filesystem(uri)
    fs.invalidate_cache(path)
    return fs.modified(path).timestamp()


def sha256_of(uri: str) -> str:
    """SHA-256 of an object's content."""
    with reading(uri) as file:
        return sha256_of_file(file)


def sha256_of_file(file: BinaryIO) -> str:
    """SHA-256 of a file's content, read from where it is to its end."""
    digest = hashlib.sha256()
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


def is_folder_or_absent(uri: str) -> bool:
    """Whether a folder is there or could be made there."""
    fs, path = filesystem(uri)
    return type_of(fs, path) in ("directory", None)
