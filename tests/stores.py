"""Stores that fail on purpose: a disk and an object store whose n-th operation is the last, or fails.

Every operation on a table is counted, those of `os` on local files, too.
"""

import os
import shutil
import signal
import tempfile
import threading
from contextlib import contextmanager

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem

from l3core import atomic, storage, stores


class Killed(BaseException):
    """The process is gone: nothing catches this, and nothing that it does afterwards has any effect."""


class Faults:
    """Counts operations on paths that have `where` in them, and lets one of them fail.

    Args:
        where: part of the paths that count.
        at: number of the operation that fails; None for none.
        kind: `kill`: that one and all after it raise `Killed`; `die`: the process is killed before it;
            `raise`: that one raises OSError; `lost`: that one is done, and then raises OSError, as when
            an answer is lost.
    """

    def __init__(self, where, at=None, kind="kill"):
        self.where, self.at, self.kind = where, at, kind
        self.count = 0
        self._lock = threading.Lock()

    def wrap(self, function, *, bound=False):
        """The function, counted; with `bound` its first argument is not a path but self."""

        def counted(*args, **kwargs):
            named = [arg for arg in (*args[bound:], *kwargs.values()) if isinstance(arg, str)]
            if not any(self.where in name for name in named):
                return function(*args, **kwargs)
            result = self._count(function, *args, **kwargs)
            if isinstance(result, _Upload):  # what counts is its end
                self._count_end(result)
            return result

        return counted

    def _count_end(self, upload):
        close = upload.close

        def end():
            try:
                self._count(close)
            finally:
                upload.discard()

        upload.close = end

    def _count(self, function, *args, **kwargs):
        with self._lock:
            number, self.count = self.count, self.count + 1
        if self.at is not None and self.kind == "kill" and number >= self.at:
            raise Killed
        if number == self.at and self.kind == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if number == self.at and self.kind == "raise":
            raise OSError("injected")
        result = function(*args, **kwargs)
        if number == self.at and self.kind == "lost":
            if isinstance(result, _Upload):
                result.discard()
            elif hasattr(result, "close"):
                result.close()
            raise OSError("injected, after it was done")
        return result


class _Os:
    """The functions of `os` that change files, counted; all else as it is."""

    def __init__(self, faults):
        for name in ("replace", "link", "unlink", "open"):
            setattr(self, name, faults.wrap(getattr(os, name)))

    def __getattr__(self, name):
        return getattr(os, name)


OPERATIONS = (
    *("open", "cat_file", "pipe_file", "put_file", "cp_file", "rm_file", "rm"),
    *("exists", "ls", "isdir", "info", "makedirs"),
)


def _faulty(base, faults):
    methods = {name: faults.wrap(getattr(base, name), bound=True) for name in OPERATIONS}
    return type(f"Faulty{base.__name__}", (base,), methods)


@contextmanager
def faulty(where, at=None, kind="kill"):
    """Let a disk or the object store fail while the block runs; yields the `Faults`."""
    faults = Faults(where, at, kind)
    with pytest.MonkeyPatch.context() as patch:
        disk = _faulty(LocalFileSystem, faults)
        patch.setattr(stores, "LocalFileSystem", disk)
        for module in (atomic, storage):
            patch.setattr(module, "os", _Os(faults))
        patch.setattr(atomic, "open", faults.wrap(open), raising=False)
        fsspec.register_implementation("objects", _faulty(ObjectStore, faults), clobber=True)
        try:
            yield faults
        finally:
            ObjectStore.register()


class ObjectStore(fsspec.AbstractFileSystem):
    """A folder that behaves as an object store does.

    An object appears whole when its upload ends; there is no renaming, only copying and deleting;
    folders are what the names of objects say; of several creations one succeeds. `objects:///a/b` is
    `/a/b`.
    """

    protocol = "objects"
    cachable = False

    @staticmethod
    def register():
        fsspec.register_implementation("objects", ObjectStore, clobber=True)

    def ls(self, path, detail=True, **kwargs):
        path = self._strip_protocol(path)
        if os.path.isfile(path):
            found = [path]
        else:
            found = [os.path.join(path, name) for name in os.listdir(path)]
        infos = [self._info(name) for name in found if self._is_there(name)]
        if not infos:
            raise FileNotFoundError(path)
        return infos if detail else [info["name"] for info in infos]

    def info(self, path, **kwargs):
        path = self._strip_protocol(path)
        if not self._is_there(path):
            raise FileNotFoundError(path)
        return self._info(path)

    def _is_there(self, path):
        return os.path.isfile(path) or any(files for _, _, files in os.walk(path))

    def _info(self, path):
        if os.path.isdir(path):
            return {"name": path, "size": 0, "type": "directory"}
        stat = os.stat(path)
        etag = f"{stat.st_mtime_ns}-{stat.st_ino}"
        return {"name": path, "size": stat.st_size, "type": "file", "etag": etag}

    def modified(self, path):
        return LocalFileSystem().modified(self._strip_protocol(path))

    def _open(self, path, mode="rb", **kwargs):
        path = self._strip_protocol(path)
        return open(path, "rb") if mode == "rb" else _Upload(path, create=mode == "xb")

    def pipe_file(self, path, value, mode="overwrite", **kwargs):
        upload = _Upload(self._strip_protocol(path), create=mode == "create")
        upload.write(value)
        upload.close()

    def cp_file(self, path1, path2, **kwargs):
        with open(self._strip_protocol(path1), "rb") as file, _Upload(self._strip_protocol(path2)) as to:
            shutil.copyfileobj(file, to)

    def _rm(self, path):
        os.unlink(self._strip_protocol(path))

    def rm(self, path, recursive=False, maxdepth=None):
        path = self._strip_protocol(path)
        if os.path.isfile(path):
            self._rm(path)
            return
        for folder, _, files in os.walk(path):
            for name in files:
                self._rm(os.path.join(folder, name))


class _Upload:
    """A file that appears when it is closed."""

    def __init__(self, path, *, create=False):
        self._path, self._create = path, create
        self._file = tempfile.NamedTemporaryFile(delete=False)  # noqa: SIM115  (closed by close)
        self.write, self.tell, self.flush = self._file.write, self._file.tell, self._file.flush
        self.closed = False

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if kind is None:
            self.close()
        else:
            self.discard()

    def discard(self):
        self._file.close()
        if os.path.exists(self._file.name):
            os.unlink(self._file.name)

    def writable(self):
        return True

    def readable(self):
        return False

    def seekable(self):
        return False

    def close(self):
        if self.closed:
            return
        self.closed = True
        self._file.close()
        os.makedirs(os.path.dirname(self._path), exist_ok=True)
        try:
            (os.link if self._create else os.replace)(self._file.name, self._path)
        finally:
            self.discard()


ObjectStore.register()
