"""Objects of any store that fsspec knows: listing, reading what was listed, and writing all or nothing.

Paths are fsspec's: `/data/a.wav`, `gs://bucket/a.wav`, `memory://a.wav`. Local ones may be relative.
"""

import errno
import hashlib
import io
import os
import posixpath
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, BinaryIO, NamedTuple, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem
from fsspec.spec import AbstractBufferedFile

from l3core.checksums import checksum_in, checksum_of, expected_kind, proves
from l3core.errors import AudioError, UsageError
from l3core.stores import filesystem as filesystem
from l3core.stores import unwrapped

StorageOptions = dict[str, Any] | None

# Objects up to this size are read in one request, and their checksum is checked.
WHOLE_BYTES = 16 * 2**20
READ_TRIES = 3
# Seconds after which an empty file is what a dead process left.
CLAIM_S = 60.0
# No such file; a file where a folder should be; links in a circle; a name that is too long.
NOWHERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
_PRIVATE_USE = {0xDC00 + byte: 0xE000 + byte for byte in range(0x80, 0x100)}


class StoredObject(NamedTuple):
    """One object as it was listed.

    Attributes:
        uri: where it is, readable by `open_pinned`.
        size_bytes: its length; below 0 for one that is named and not there.
        version: the store's name for this very content; changes whenever it is overwritten.
        checksum: of the content (`l3core.checksums`), where the store gives one.
    """

    uri: str
    size_bytes: int
    version: str
    checksum: str | None = None

    @property
    def absent(self) -> bool:
        """Whether it is not there: named by a list, or a link to nowhere."""
        return self.size_bytes < 0


def _is_disk(fs: fsspec.AbstractFileSystem) -> bool:
    """Whether it is a disk itself, and not something that somebody has built upon one."""
    return type(fs) is LocalFileSystem


def absolute(uri: str, storage_options: StorageOptions = None) -> str:
    """A URI that means the same from anywhere; local paths stay plain paths."""
    fs, path = filesystem(uri, storage_options)
    return os.path.abspath(path) if _is_disk(fs) else fs.unstrip_protocol(path)


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


def named(uri: str, storage_options: StorageOptions = None) -> StoredObject:
    """An object that is named and may not be there, nor be possible: then it is `absent`."""
    try:
        return describe(uri, storage_options)
    except OSError as error:
        if not isinstance(error, FileNotFoundError) and error.errno not in NOWHERE:
            raise
        return absent(uri)


def absent(uri: str) -> StoredObject:
    """An object that is named and not there."""
    return StoredObject(uri, -1, "")


def describe(uri: str, storage_options: StorageOptions = None) -> StoredObject:
    """The object as it is now.

    Raises:
        FileNotFoundError: there is none.
    """
    fs, path = filesystem(uri, storage_options)
    return stored(uri, fs.info(path))


def content_checksum(
    listed: StoredObject, kind: str, storage_options: StorageOptions = None
) -> str | None:
    """The checksum of an object's content, read as it was listed; None if it cannot be."""
    try:
        with open_pinned(listed, storage_options) as file:
            return checksum_of(file, kind)
    except AudioError:  # the worker that embeds it will say what it is
        return None


def readable(listed: StoredObject, storage_options: StorageOptions = None) -> bool:
    """Whether an object can be opened as it was listed."""
    try:
        with open_pinned(listed, storage_options) as file:
            file.read(1)
    except AudioError:
        return False
    return True


@contextmanager
def open_pinned(listed: StoredObject, storage_options: StorageOptions = None) -> Iterator[BinaryIO]:
    """Open an object for reading, sure that it is the one that was listed.

    Raises:
        AudioError: `vanished`, `forbidden`, `storage-error`, or `changed` if it is (or becomes, while
            it is read) another than was listed.
    """
    fs, path = filesystem(listed.uri, storage_options)
    try:
        if _can_be_proved(listed):
            yield io.BytesIO(_read_proved(fs, path, listed, storage_options))
            return
        _hold_version(listed, storage_options)
        if _is_disk(fs) and not os.path.isfile(path):
            raise AudioError("unreadable", "not a file but a pipe, a device or a folder")
        try:
            with fs.open(path, "rb") as file:
                yield cast(BinaryIO, file)
        finally:  # also when decoding failed: a file that somebody is just copying is no broken one
            _hold_version(listed, storage_options)
    except FileNotFoundError:
        raise AudioError("vanished", "the file was there when it was listed, and is gone") from None
    except PermissionError:
        raise AudioError("forbidden", "no permission to read the file") from None
    except OSError as error:
        raise AudioError("storage-error", f"reading failed: {error}") from None


def _can_be_proved(listed: StoredObject) -> bool:
    """Whether the content itself shows that it is what was listed."""
    return listed.size_bytes <= WHOLE_BYTES and expected_kind(listed.checksum) is not None


def _read_proved(
    fs: fsspec.AbstractFileSystem, path: str, listed: StoredObject, storage_options: StorageOptions
) -> bytes:
    """A whole object in one request, read again if its checksum is another than was listed.

    Raises:
        AudioError: it is (or was, in between) replaced, or comes wrong again and again.
        FileNotFoundError: it is gone.
    """
    # Google's store keeps to a version that is asked for; of others the checksum tells
    pin = {"generation": listed.version} if listed.uri.startswith(("gs://", "gcs://")) else {}
    for _ in range(READ_TRIES):
        try:
            content = fs.cat_file(path, **pin)
        except FileNotFoundError:
            describe(listed.uri, storage_options)  # raises if it is gone and not only replaced
            break
        if proves(content, listed.checksum):
            return content
        _hold_version(listed, storage_options)
    else:
        raise AudioError(
            "storage-error", "what the store sends does not have the checksum that it tells"
        )
    raise AudioError("changed", "the file was replaced after it was listed")


def _hold_version(listed: StoredObject, storage_options: StorageOptions) -> None:
    now = describe(listed.uri, storage_options)
    if (now.size_bytes, now.version) != (listed.size_bytes, listed.version):
        raise AudioError("changed", "the file was replaced after it was listed")


def read_bytes(uri: str, *, storage_options: StorageOptions = None) -> bytes:
    """A whole object.

    Raises:
        FileNotFoundError: there is none.
    """
    fs, path = filesystem(uri, storage_options)
    return fs.cat_file(path)


def reading(uri: str, storage_options: StorageOptions = None) -> BinaryIO:
    """A file object for reading any part of an object.

    Raises:
        FileNotFoundError: there is none.
    """
    fs, path = filesystem(uri, storage_options)
    return cast(BinaryIO, fs.open(path, "rb"))


@contextmanager
def writing(uri: str, storage_options: StorageOptions = None) -> Iterator[BinaryIO]:
    """A file object whose content appears at `uri` whole when the block ends, or not at all."""
    fs, path = filesystem(uri, storage_options)
    fs.makedirs(posixpath.dirname(path), exist_ok=True)
    if not _is_disk(fs):
        with _uploading(fs, path) as file:
            yield file
        return
    # a local file is written beside its place and renamed
    target = f"{path}.{uuid.uuid4().hex}.tmp"
    try:
        with fs.open(target, "wb") as file:
            yield cast(BinaryIO, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(target, path)
    except BaseException:
        if os.path.exists(target):
            os.unlink(target)
        raise


@contextmanager
def _uploading(fs: fsspec.AbstractFileSystem, path: str) -> Iterator[BinaryIO]:
    """An upload, which is atomic by itself; given up if the block fails.

    Left to itself fsspec closes the file then, too, and that uploads what there is.
    """
    file = fs.open(path, "wb", autocommit=False)
    try:
        yield cast(BinaryIO, file)
        file.close()
        if hasattr(file, "commit"):
            file.commit()
    except BaseException:
        # what went wrong first is told, whatever giving up meets
        with suppress(OSError, RuntimeError, AttributeError, NotImplementedError):
            file.discard()
        if isinstance(unwrapped(file), AbstractBufferedFile):
            file.closed = True  # or it would be uploaded when it is collected
        raise


def write_bytes(uri: str, content: bytes, *, storage_options: StorageOptions = None) -> None:
    """Put an object in place, whole, over one that may be there."""
    with writing(uri, storage_options) as file:
        file.write(content)


def create(uri: str, content: bytes, *, storage_options: StorageOptions = None) -> bool:
    """Put an object in place if none is there; False if there is one. Of several only one succeeds."""
    fs, path = filesystem(uri, storage_options)
    fs.makedirs(posixpath.dirname(path), exist_ok=True)
    if not _is_disk(fs):
        try:
            _create_exclusively(fs, path, content)
        except FileExistsError:
            return False
        return True
    temporary = f"{path}.{uuid.uuid4().hex}.tmp"
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        created = _put_in_place(temporary, path)
        _sync_folder(path)
        return created
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


def _create_exclusively(fs: fsspec.AbstractFileSystem, path: str, content: bytes) -> None:
    """Raises FileExistsError if there is an object.

    Clients of object stores ask the store to create; the `pipe_file` that a file system inherits only
    looks first, and two could win.
    """
    client = type(unwrapped(fs))
    own = client.pipe_file is not fsspec.AbstractFileSystem.pipe_file
    if not (own or hasattr(client, "_pipe_file")):
        try:
            with fs.open(path, "xb") as file:
                file.write(content)
            return
        except (NotImplementedError, ValueError):  # it does not know that mode
            pass
    fs.pipe_file(path, content, mode="create")


def _sync_folder(path: str) -> None:
    """Make names in a file's folder durable: what is built on a commit must not outlive it."""
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _put_in_place(temporary: str, path: str) -> bool:
    """Give a whole file its name if no file has it."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links (FAT, some network mounts): claim the name first
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            if not _is_dead_claim(path):
                return False
        os.replace(temporary, path)
    return True


def _is_dead_claim(path: str) -> bool:
    """Whether somebody claimed a name, and died before the content was there."""
    info = os.stat(path)
    return info.st_size == 0 and time.time() - info.st_mtime > CLAIM_S


def move(source: str, target: str, storage_options: StorageOptions = None) -> None:
    """Move an object; done before is done, so it can be repeated after a kill."""
    fs, path = filesystem(source, storage_options)
    _, target_path = filesystem(target, storage_options)
    fs.makedirs(posixpath.dirname(target_path), exist_ok=True)
    try:
        if _is_disk(fs):
            os.replace(path, target_path)
        else:
            fs.mv(path, target_path)
    except FileNotFoundError:
        if type_of(fs, target_path) is None:
            raise


def remove(uri: str, *, recursive: bool = False, storage_options: StorageOptions = None) -> None:
    """Remove an object, or all below a folder; one that is not there is fine."""
    fs, path = filesystem(uri, storage_options)
    while type_of(fs, path) is not None:
        try:
            fs.rm(path, recursive=recursive)
        except FileNotFoundError:  # somebody else removes the same, or part of it
            continue


def exists(uri: str, storage_options: StorageOptions = None) -> bool:
    """Whether there is an object or folder."""
    return type_of(*filesystem(uri, storage_options)) is not None


def type_of(fs: fsspec.AbstractFileSystem, path: str) -> str | None:
    """`file`, `directory`, `other`, or None if there is nothing.

    fsspec's own `exists` and `isdir` take any failure of a store for "there is nothing", and a table or
    a corpus that cannot be reached for an empty one.
    """
    try:
        return str(fs.info(path)["type"])
    except (FileNotFoundError, NotADirectoryError):  # the latter: below a file
        return None


def names_below(uri: str, *, suffix: str, storage_options: StorageOptions = None) -> list[str]:
    """Names of the objects directly in a folder that end in `suffix`, sorted; none if no such folder."""
    fs, path = filesystem(uri, storage_options)
    fs.invalidate_cache(path)
    try:
        names = [posixpath.basename(name.rstrip("/")) for name in fs.ls(path, detail=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(name for name in names if name.endswith(suffix))


def files_below(uri: str, *, storage_options: StorageOptions = None) -> list[str]:
    """Paths of all files below a folder, relative to it, sorted; hidden ones are left out.

    Raises:
        UsageError: there is no such folder.
    """
    fs, path = filesystem(uri, storage_options)
    path = path.rstrip("/")
    if type_of(fs, path) != "directory":
        raise UsageError(f"{uri} is no folder")
    fs.invalidate_cache(path)
    below = (name.removeprefix(path).lstrip("/") for name in fs.find(path))
    return sorted(name for name in below if not any(part.startswith(".") for part in name.split("/")))


def modified_s(uri: str, storage_options: StorageOptions = None) -> float:
    """When an object was last written, in seconds of its store's clock.

    Raises:
        FileNotFoundError: there is none.
    """
    fs, path = filesystem(uri, storage_options)
    fs.invalidate_cache(path)
    return fs.modified(path).timestamp()


def sha256_of(uri: str, storage_options: StorageOptions = None) -> str:
    """SHA-256 of an object's content."""
    fs, path = filesystem(uri, storage_options)
    digest = hashlib.sha256()
    with fs.open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def is_folder_or_absent(uri: str, storage_options: StorageOptions = None) -> bool:
    """Whether a folder is there or could be made there."""
    fs, path = filesystem(uri, storage_options)
    return type_of(fs, path) in ("directory", None)
