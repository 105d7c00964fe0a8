"""Putting an object in place: whole or not at all, over what is there or only where nothing is."""

import errno
import os
import posixpath
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

import fsspec

from l3core.store_errors import unwrapped
from l3core.stores import filesystem, is_disk, is_object_store

# Seconds after which an empty file is what a dead process left.
CLAIM_S = 60.0
# S3 refuses to create an object while another creation of it is under way; asked again after so long.
CONFLICT_S = (0.1, 0.2, 0.4, 0.8, 1.6)


@contextmanager
def writing(uri: str) -> Iterator[BinaryIO]:
    """A file object whose content appears at `uri` whole when the block ends, or not at all.

    It can be read again before that; what goes to a store is on the disk of this machine until then.

    Raises:
        OSError: it cannot be written, or it is a device, a pipe or a folder.
    """
    fs, path = filesystem(uri)
    if not is_disk(fs):
        with tempfile.NamedTemporaryFile("w+b") as file:
            yield cast(BinaryIO, file)
            file.flush()
            make_folder(fs, path)
            fs.put_file(file.name, path)
        return
    make_folder(fs, path)
    _hold_regular(path)
    # a local file is written beside its place and renamed
    target = f"{path}.{uuid.uuid4().hex}.tmp"
    try:
        with fs.open(target, "w+b") as file:
            yield cast(BinaryIO, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(target, path)
    except BaseException:
        if os.path.exists(target):
            os.unlink(target)
        raise


def _hold_regular(path: str) -> None:
    """Let nothing but a file be replaced by one: `/dev/stdout` or `/dev/null` would be it for everybody.

    Raises:
        OSError: it is something else.
    """
    # /dev/stdout leads to a file where that is standard output
    of_a_process = os.path.islink(path) and os.readlink(path).startswith("/proc/")
    if of_a_process or (os.path.exists(path) and not os.path.isfile(path)):
        raise OSError(errno.EINVAL, "it is no regular file", path)


def write_bytes(uri: str, content: bytes) -> None:
    """Put an object in place, whole, over one that may be there."""
    fs, path = filesystem(uri)
    if is_disk(fs):
        with writing(uri) as file:
            file.write(content)
    else:
        make_folder(fs, path)
        fs.pipe_file(path, content)


def make_folder(fs: fsspec.AbstractFileSystem, path: str) -> None:
    """Make the folder of an object; in an object store there are none.

    Raises:
        IsADirectoryError: it is a bucket of one: clients take an object without a name for one.
    """
    if not is_object_store(fs):
        fs.makedirs(posixpath.dirname(path), exist_ok=True)
    elif "/" not in path.rstrip("/"):
        raise IsADirectoryError(errno.EISDIR, "it is a bucket, and needs an object in it", path)


def create(uri: str, content: bytes) -> bool:
    """Put an object in place if none is there; False if there is one. Of several only one succeeds."""
    fs, path = filesystem(uri)
    make_folder(fs, path)
    if not is_disk(fs):
        return _create_in_store(fs, path, content)
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


def _create_in_store(fs: fsspec.AbstractFileSystem, path: str, content: bytes) -> bool:
    waits = iter(CONFLICT_S)
    while True:
        try:
            _create_exclusively(fs, path, content)
            return True
        except FileExistsError:
            return False
        except OSError as error:
            wait_s = next(waits, None)
            if wait_s is None or not _is_conflict(error):
                raise
        time.sleep(wait_s)


def _is_conflict(error: OSError) -> bool:
    """Whether it is S3's 409 ConditionalRequestConflict, for which s3fs has no error of its own."""
    answer = getattr(error.__cause__, "response", None)
    return isinstance(answer, dict) and answer["Error"]["Code"] == "ConditionalRequestConflict"


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
