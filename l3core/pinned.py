"""Reading an object exactly as it was listed: never another one, never a mixture of two."""

import errno
import io
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, BinaryIO, TypeVar, cast

from fsspec.asyn import AsyncFileSystem

from l3core.checksums import checksum_of, expected_kind, proves
from l3core.containment import open_below, refuse_leading_out
from l3core.downloads import max_download, too_large
from l3core.errors import AudioError
from l3core.logs import say
from l3core.ranges import RangedFile
from l3core.storage import StoredObject, as_text, describe
from l3core.store_errors import unwrapped
from l3core.stores import filesystem, is_disk, is_object_store, within
from l3core.urls import is_web

_LOGGER = logging.getLogger("l3core")

T = TypeVar("T")
Waiting = Callable[[], AbstractContextManager[None]]

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
def open_pinned(listed: StoredObject, waiting: Waiting = nullcontext) -> Iterator[BinaryIO]:
    """Open an object for reading, sure that it is the one that was listed.

    Args:
        listed: the object.
        waiting: entered while a store is waited for.

    Raises:
        AudioError: `vanished`, `forbidden`, `storage-error`, or `changed` if it is (or becomes, while
            it is read) another than was listed.
    """
    refuse_leading_out(listed)
    found = _Pinned(listed, waiting)
    opened: AbstractContextManager[BinaryIO]
    with _failing_as_audio():
        found.look_again()
        if is_disk(found.fs):
            opened = found.held(found.open_file)
        elif is_web(listed.uri):
            opened = found.download()
        elif found.can_be_proved:
            opened = io.BytesIO(found.read_proved())
        elif found.keeps_versions:
            opened = _ranged(found.fetch, found.size_bytes)
        else:
            opened = found.held(found.open_ranged)
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
        raise AudioError("storage-error", f"reading failed: {error}") from None


def _changed() -> AudioError:
    return AudioError("changed", "the file was replaced after it was listed")


def _ranged(fetch: Callable[[int, int], bytes], size: int) -> BinaryIO:
    return cast(BinaryIO, io.BufferedReader(RangedFile(fetch, size), BUFFER_BYTES))


class _Pinned:
    """An object as it was listed, and the ways to read no other one."""

    def __init__(self, listed: StoredObject, waiting: Waiting) -> None:
        self.fs, self.path = filesystem(listed.uri)
        self._listed = listed
        self._waiting = waiting

    def look_again(self) -> None:
        """Describe what could not be looked at when it was listed (`l3core.storage.unknown`)."""
        if is_object_store(self.fs) and not self._listed.version:
            self._listed = self._ask(self._describe)

    @property
    def can_be_proved(self) -> bool:
        """Whether the content itself shows that it is what was listed."""
        listed = self._listed
        return listed.size_bytes <= WHOLE_BYTES and expected_kind(listed.checksum) is not None

    @property
    def size_bytes(self) -> int:
        """Of the object."""
        return self._listed.size_bytes

    @property
    def keeps_versions(self) -> bool:
        """Whether the store gives the version that it is asked for, or nothing."""
        return self._listed.uri.startswith(("gs://", "gcs://"))

    @contextmanager
    def held(self, opening: Callable[[], BinaryIO]) -> Iterator[BinaryIO]:
        """A file whose object has the listed version before and after it is read."""
        self._hold_version()
        try:
            with opening() as file:
                yield file
        except Exception:  # a file that somebody is just copying is no broken one
            self._hold_version()
            raise
        self._hold_version()

    def open_file(self) -> BinaryIO:
        """A file on a disk."""
        if not os.path.isfile(self.path):
            raise AudioError("unreadable", "not a file but a pipe, a device or a folder")
        if self._listed.within is not None:
            return open_below(self.path, self._listed.within)
        return cast(BinaryIO, self.fs.open(self.path, "rb"))

    def open_ranged(self) -> BinaryIO:
        """An object of any store, in ranges."""
        file = self._ask(lambda: self.fs.open(self.path, "rb", cache_type="none"))

        def fetch(start: int, stop: int) -> bytes:
            file.seek(start)
            return cast(bytes, file.read(stop - start))

        return _ranged(lambda *part: self._ask(lambda: fetch(*part)), self._listed.size_bytes)

    def download(self) -> BinaryIO:
        """A temporary copy of an object on the web.

        Raises:
            AudioError: it is too large, is not given, or another than was listed.
        """
        listed = self._listed

        def hold(size: int | None, version: str) -> None:
            """Compare what both times was told."""
            resized = size is not None and listed.size_bytes > 0 and size != listed.size_bytes
            if resized or (version and listed.version and version != listed.version):
                raise _changed()

        if listed.size_bytes > max_download():
            raise AudioError("too-large", too_large())
        try:
            with self._waiting():  # it has deadlines of its own
                return cast(BinaryIO, self.fs.download(self.path, hold))
        except PermissionError as error:
            raise AudioError("forbidden", str(error.strerror)) from None
        except OSError as error:
            if error.errno == errno.EFBIG:
                raise AudioError("too-large", too_large()) from None
            raise

    def fetch(self, start: int, stop: int) -> bytes:
        """Bytes of the listed version, where the store `keeps_versions`."""
        pin = {"generation": self._listed.version}
        try:
            return self._cat(start=start, end=stop, **pin)
        except FileNotFoundError:
            raise self._replaced() from None

    def read_proved(self) -> bytes:
        """All of it in one request, read again if its checksum is another than was listed.

        Raises:
            AudioError: it is (or was, in between) replaced, or comes wrong again and again.
            FileNotFoundError: it is gone.
        """
        # of others the checksum tells
        pin = {"generation": self._listed.version} if self.keeps_versions else {}
        for _ in range(READ_TRIES):
            try:
                content = self._cat(**pin)
            except FileNotFoundError:
                raise self._replaced() from None
            except OSError as error:
                if error.errno != errno.EBADMSG:
                    raise
                self._tell_wrong()  # to a client that has checked it by itself
                continue
            if proves(content, self._listed.checksum) or self._is_encrypted():
                return content
            self._tell_wrong()
            self._hold_version()
        raise AudioError(
            "storage-error", "what the store sends does not have the checksum that it tells"
        )

    def _tell_wrong(self) -> None:
        say(_LOGGER, "wrong_content", level=logging.WARNING, uri=as_text(self._listed.uri))

    def _is_encrypted(self) -> bool:
        """Whether it is one of S3's whose ETag is no checksum; its version holds.

        Its client has checked the content against another checksum, if there is one.
        """
        client = unwrapped(self.fs)
        if not hasattr(client, "call_s3"):
            return False
        bucket, key, _ = client.split_path(self.path)
        head = self._ask(lambda: self.fs.call_s3("head_object", Bucket=bucket, Key=key))
        if head["ETag"] != self._listed.version:
            raise _changed()
        return "kms" in head.get("ServerSideEncryption", "") or "SSECustomerAlgorithm" in head

    def _cat(self, **what: Any) -> bytes:
        """What the client gets in one request."""
        if isinstance(unwrapped(self.fs), AsyncFileSystem):  # which ends a request that takes too long
            with self._waiting():
                try:
                    return cast(bytes, self.fs.cat_file(self.path, timeout=DEADLINE_S, **what))
                except TimeoutError:
                    raise TimeoutError(f"no answer within {DEADLINE_S:.0f} s") from None
        return self._ask(lambda: cast(bytes, self.fs.cat_file(self.path, **what)))

    def _ask(self, action: Callable[[], T]) -> T:
        with self._waiting():
            return within(DEADLINE_S, action)

    def _hold_version(self) -> None:
        now = describe(self._listed.uri) if is_disk(self.fs) else self._ask(self._describe)
        if (now.size_bytes, now.version) != (self._listed.size_bytes, self._listed.version):
            raise _changed()

    def _replaced(self) -> AudioError:
        """The error of a version that is not there; FileNotFoundError if there is no other one."""
        self._ask(self._describe)
        return _changed()

    def _describe(self) -> StoredObject:
        return describe(self._listed.uri)
