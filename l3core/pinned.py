"""Reading an object exactly as it was listed: never another one, never a mixture of two."""

import errno
import io
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import BinaryIO, cast

import fsspec

from l3core.checksums import checksum_of, expected_kind, proves
from l3core.errors import AudioError
from l3core.ranges import RangedFile
from l3core.storage import StoredObject, describe
from l3core.stores import filesystem, is_disk, within

# Objects up to this size are read in one request, and their checksum is checked.
WHOLE_BYTES = 16 * 2**20
READ_TRIES = 3
# Clients try again what may pass (408, 429, 5xx, resets); after so long nobody waits for them any more.
DEADLINE_S = 60.0
BUFFER_BYTES = 2**16


def content_checksum(listed: StoredObject, kind: str) -> str | None:
    """The checksum of an object's content, read as it was listed; None if it cannot be."""
    try:
        with open_pinned(listed) as file:
            return checksum_of(file, kind)
    except AudioError:  # the worker that embeds it will say what it is
        return None


def readable(listed: StoredObject) -> bool:
    """Whether an object can be opened as it was listed."""
    try:
        with open_pinned(listed) as file:
            file.read(1)
    except AudioError:
        return False
    return True


@contextmanager
def open_pinned(listed: StoredObject) -> Iterator[BinaryIO]:
    """Open an object for reading, sure that it is the one that was listed.

    Raises:
        AudioError: `vanished`, `forbidden`, `storage-error`, or `changed` if it is (or becomes, while
            it is read) another than was listed.
    """
    fs, path = filesystem(listed.uri)
    with _failing_as_audio():
        opened: AbstractContextManager[BinaryIO]
        if is_disk(fs):
            opened = _open_held(listed, lambda: _open_file(fs, path))
        elif listed.size_bytes <= WHOLE_BYTES and expected_kind(listed.checksum) is not None:
            opened = io.BytesIO(_read_proved(fs, path, listed))
        elif _is_google(listed.uri):
            opened = _ranged(partial(_fetch, fs, path, listed), listed.size_bytes)
        else:
            opened = _open_held(listed, lambda: _open_ranged(fs, path, listed.size_bytes))
        with opened as file:
            yield file


@contextmanager
def _failing_as_audio() -> Iterator[None]:
    """Let what a store raises be an AudioError, with the status that the ledger has for it."""
    try:
        yield
    except FileNotFoundError:
        raise AudioError("vanished", "the file was there when it was listed, and is gone") from None
    except PermissionError:
        raise AudioError("forbidden", "no permission to read the file") from None
    except OSError as error:
        if error.errno == errno.EBUSY:  # what s3fs raises for another ETag
            raise _changed() from None
        raise AudioError("storage-error", f"reading failed: {error}") from None


def _changed() -> AudioError:
    return AudioError("changed", "the file was replaced after it was listed")


def _is_google(uri: str) -> bool:
    """Whether the store keeps to a version that is asked for, also where only the last one is kept."""
    return uri.startswith(("gs://", "gcs://"))


@contextmanager
def _open_held(listed: StoredObject, opening: Callable[[], BinaryIO]) -> Iterator[BinaryIO]:
    """A file whose object has the listed version before and after it is read."""
    _hold_version(listed)
    try:
        with opening() as file:
            yield file
    finally:  # also when decoding failed: a file that somebody is just copying is no broken one
        _hold_version(listed)


def _hold_version(listed: StoredObject) -> None:
    now = describe(listed.uri)
    if (now.size_bytes, now.version) != (listed.size_bytes, listed.version):
        raise _changed()


def _open_file(fs: fsspec.AbstractFileSystem, path: str) -> BinaryIO:
    if not os.path.isfile(path):
        raise AudioError("unreadable", "not a file but a pipe, a device or a folder")
    return cast(BinaryIO, fs.open(path, "rb"))


def _open_ranged(fs: fsspec.AbstractFileSystem, path: str, size: int) -> BinaryIO:
    file = fs.open(path, "rb", cache_type="none")

    def fetch(start: int, stop: int) -> bytes:
        file.seek(start)
        return cast(bytes, file.read(stop - start))

    return _ranged(lambda start, stop: within(DEADLINE_S, lambda: fetch(start, stop)), size)


def _ranged(fetch: Callable[[int, int], bytes], size: int) -> BinaryIO:
    return cast(BinaryIO, io.BufferedReader(RangedFile(fetch, size), BUFFER_BYTES))


def _fetch(
    fs: fsspec.AbstractFileSystem, path: str, listed: StoredObject, start: int, stop: int
) -> bytes:
    """Bytes of the version that was listed, from a store that keeps to it."""
    try:
        return within(
            DEADLINE_S, lambda: fs.cat_file(path, start=start, end=stop, generation=listed.version)
        )
    except FileNotFoundError:
        describe(listed.uri)  # raises if it is gone and not only replaced
        raise _changed() from None


def _read_proved(fs: fsspec.AbstractFileSystem, path: str, listed: StoredObject) -> bytes:
    """A whole object in one request, read again if its checksum is another than was listed.

    Raises:
        AudioError: it is (or was, in between) replaced, or comes wrong again and again.
        FileNotFoundError: it is gone.
    """
    pin = (
        {"generation": listed.version} if _is_google(listed.uri) else {}
    )  # of others the checksum tells
    for _ in range(READ_TRIES):
        try:
            content = within(DEADLINE_S, lambda: cast(bytes, fs.cat_file(path, **pin)))
        except FileNotFoundError:
            describe(listed.uri)
            break
        if proves(content, listed.checksum):
            return content
        _hold_version(listed)
    else:
        raise AudioError(
            "storage-error", "what the store sends does not have the checksum that it tells"
        )
    raise _changed()
