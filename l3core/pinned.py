"""Reading an object exactly as it was listed: never another one, never a mixture of two."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

import fsspec

from l3core.checksums import checksum_of, expected_kind, proves
from l3core.errors import AudioError
from l3core.storage import StoredObject, describe
from l3core.stores import filesystem, is_disk

# Objects up to this size are read in one request, and their checksum is checked.
WHOLE_BYTES = 16 * 2**20
READ_TRIES = 3


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
    try:
        if _can_be_proved(listed):
            yield io.BytesIO(_read_proved(fs, path, listed))
            return
        _hold_version(listed)
        if is_disk(fs) and not os.path.isfile(path):
            raise AudioError("unreadable", "not a file but a pipe, a device or a folder")
        try:
            with fs.open(path, "rb") as file:
                yield cast(BinaryIO, file)
        finally:  # also when decoding failed: a file that somebody is just copying is no broken one
            _hold_version(listed)
    except FileNotFoundError:
        raise AudioError("vanished", "the file was there when it was listed, and is gone") from None
    except PermissionError:
        raise AudioError("forbidden", "no permission to read the file") from None
    except OSError as error:
        raise AudioError("storage-error", f"reading failed: {error}") from None


def _can_be_proved(listed: StoredObject) -> bool:
    """Whether the content itself shows that it is what was listed."""
    return listed.size_bytes <= WHOLE_BYTES and expected_kind(listed.checksum) is not None


def _read_proved(fs: fsspec.AbstractFileSystem, path: str, listed: StoredObject) -> bytes:
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
            describe(listed.uri)  # raises if it is gone and not only replaced
            break
        if proves(content, listed.checksum):
            return content
        _hold_version(listed)
    else:
        raise AudioError(
            "storage-error", "what the store sends does not have the checksum that it tells"
        )
    raise AudioError("changed", "the file was replaced after it was listed")


def _hold_version(listed: StoredObject) -> None:
    now = describe(listed.uri)
    if (now.size_bytes, now.version) != (listed.size_bytes, listed.version):
        raise AudioError("changed", "the file was replaced after it was listed")
