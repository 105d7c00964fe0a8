"""The files that SQL may read: those that are served, under names of ours, and nothing can be written.

DuckDB's Parquet reader asks a file system in Python for the parts of files that it needs. On a disk each
is one `pread`, in a store one ranged request of just these bytes.
"""

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any, NamedTuple

import fsspec

from l3core import storage
from l3core.errors import RunError
from l3core.stores import filesystem, is_disk
from l3core.table.places import first_there

PROTOCOL = "l3flow"
# All names begin so; DuckDB's locks leave what is below a folder.
BASE = f"{PROTOCOL}://table/"
_SINCE = datetime(2000, 1, 1, tzinfo=timezone.utc)

ReadAt = Callable[[int, int], bytes]


class Stored(NamedTuple):
    """A file of a table.

    Attributes:
        places: URIs where it may be, in this order: a file that is just being published moves.
        size_bytes: that the table's records tell.
        sha256: of its content, likewise.
    """

    places: tuple[str, ...]
    size_bytes: int
    sha256: str


class Made(NamedTuple):
    """Content that is made or fetched when it is first asked for."""

    make: Callable[[], bytes]


class ServedFiles(fsspec.AbstractFileSystem):
    """A file system of the served files, only for reading.

    Attributes:
        problem: the first error of a served file since `clear`.
        refusal: why something else was refused since then.
        opened: names of the stored files that were opened since then.
    """

    protocol = PROTOCOL
    cachable = False

    def __init__(self) -> None:
        super().__init__()
        self.problem: Exception | None = None
        self.refusal: str | None = None
        self.opened: set[str] = set()
        self._served: Mapping[str, Stored | Made] = {}
        self._made: dict[str, bytes] = {}
        self._version = 0
        self._lock = threading.Lock()

    def serve(self, served: Mapping[str, Stored | Made]) -> None:
        """Serve these files in the place of those before; names are paths below `BASE`."""
        self._served, self._made = served, {}
        self._version += 1

    def clear(self) -> None:
        """Forget what was opened, what went wrong, and what was refused."""
        self.problem = self.refusal = None
        self.opened.clear()

    def damaged(self) -> Iterator[str]:
        """URIs of the opened files whose content is not what the table's records tell."""
        for name in sorted(self.opened):
            found = self._served.get(name)
            if isinstance(found, Stored):
                uri = next((place for place in found.places if storage.exists(place)), None)
                if uri is not None and storage.sha256_of(uri) != found.sha256:
                    yield uri

    def open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        """Open a served file for reading.

        Raises:
            PermissionError: for anything else.
            FileNotFoundError: it is not served.
        """
        if mode != "rb":
            self.refusal = f"{path}: a table's files are only read"
            raise PermissionError(self.refusal)
        name = self._name(path)
        with self._noting():
            found = self._served[name]
            if isinstance(found, Made):
                content = self._content(name, found)
                return _Handle(len(content), lambda start, length: content[start : start + length])
            self.opened.add(name)
            return _open_stored(found, self._noting)

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        """Name and size of a served file."""
        name = self._name(path)
        found = self._served[name]
        with self._noting():
            size = found.size_bytes if isinstance(found, Stored) else len(self._content(name, found))
        return {"name": path, "size": size, "type": "file"}

    def glob(self, path: str, **kwargs: Any) -> Any:
        """The file of that name: nothing in a name stands for other names."""
        return [path] if self._known(path) is not None else []

    def modified(self, path: str) -> datetime:
        """A time that changes when what a name stands for may do so: DuckDB keeps what it has read."""
        made = isinstance(self._served[self._name(path)], Made)
        return _SINCE + timedelta(seconds=self._version if made else 0)

    def _name(self, path: str) -> str:
        name = self._known(path)
        if name is None:
            self.refusal = f"{path} is none of the table's files"
            raise FileNotFoundError(self.refusal)
        return name

    def _known(self, path: str) -> str | None:
        whole = path if "://" in path else f"{PROTOCOL}://{path}"  # fsspec takes it off, DuckDB does not
        name = whole.removeprefix(BASE)
        return name if name != whole and name in self._served else None

    def _content(self, name: str, found: Made) -> bytes:
        with self._lock:
            if name not in self._made:
                self._made[name] = found.make()
            return self._made[name]

    def _noting(self) -> "_Noting":
        return _Noting(self)


class _Noting:
    """Keeps the first error of a block: DuckDB makes a text of it."""

    def __init__(self, files: ServedFiles) -> None:
        self._files = files

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, Exception) and self._files.problem is None:
            self._files.problem = error


class _Handle:
    """An open file, as DuckDB uses one: it seeks, and then reads.

    It does so from several threads at once. So each thread has a position of its own: with one for all,
    a thread would now and then read where another has just gone. Not a `threading.local`: threads of
    DuckDB's are new ones to Python each time they come, between seeking and reading, too.
    """

    def __init__(self, size: int, read_at: ReadAt, close: Callable[[], None] = lambda: None) -> None:
        self._size, self._read_at, self._close = size, read_at, close
        self._here: dict[int, int] = {}

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place."""
        self._here[threading.get_ident()] = offset + (0, self.tell(), self._size)[whence]
        return self.tell()

    def tell(self) -> int:
        """Where this thread is."""
        return self._here.get(threading.get_ident(), 0)

    def read(self, length: int = -1) -> bytes:
        """The next bytes; all that are left for a negative length."""
        at = self.tell()
        left = max(0, self._size - at)
        content = self._read_at(at, left if length < 0 else min(length, left))
        self._here[threading.get_ident()] = at + len(content)
        return content

    def close(self) -> None:
        """Close it; it may be closed already."""
        close, self._close = self._close, lambda: None
        close()

    def __del__(self) -> None:
        self.close()


def _open_stored(found: Stored, noting: Callable[[], Any]) -> _Handle:
    if is_disk(filesystem(found.places[0])[0]):
        number, size = first_there(found.places, partial(_open_on_disk, size_bytes=found.size_bytes))
        return _Handle(size, lambda at, length: os.pread(number, length, at), partial(os.close, number))

    def read_at(at: int, length: int) -> bytes:
        with noting():
            return first_there(found.places, partial(_fetch, start=at, end=at + length))

    return _Handle(found.size_bytes, read_at)


def _open_on_disk(uri: str, *, size_bytes: int) -> tuple[int, int]:
    """A file's number and size."""
    number = os.open(uri, os.O_RDONLY)
    size = os.fstat(number).st_size
    if size == size_bytes:
        return number, size
    os.close(number)
    raise RunError(f"{uri} is damaged: it has {size} bytes and should have {size_bytes}")


def _fetch(uri: str, *, start: int, end: int) -> bytes:
    fs, path = filesystem(uri)
    content: bytes = fs.cat_file(path, start=start, end=end)
    if len(content) != end - start:
        raise RunError(f"{uri} is damaged: it ends after {start + len(content)} bytes, before {end}")
    return content
