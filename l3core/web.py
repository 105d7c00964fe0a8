"""Objects on the web: what a URL names, read whole, and never from where a redirect must not lead.

A URL names one object, as it is written; web servers do not list. What tells its version is the ETag,
else Last-Modified. Of a server that gives neither, nobody can say whether an object is another by now:
its version is "", and every run embeds it again, unless --verify-content finds the same bytes. A size
of 0 is one that the server does not tell.

A redirect may lead to any public address, but not to a local one, whatever name it has: a server could
have us read what is meant for this machine or network only. The URL that was given may be local.
"""

import asyncio
import errno
import os
import re
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache
from typing import Any, BinaryIO, TypeVar, cast
from urllib.parse import quote, urlsplit

import aiohttp
from aiohttp.resolver import ThreadedResolver
from fsspec.asyn import AsyncFileSystem, sync
from fsspec.implementations.http import HTTPFileSystem
from yarl import URL

from l3core.downloads import max_download, too_large
from l3core.urls import RefusedError, hold_public, redirected

T = TypeVar("T")
# Is told the size (None: not known yet) and version of what is read; raises if that is not wanted.
Hold = Callable[[int | None, str], None]

MEMORY_BYTES = 16 * 2**20  # larger objects are kept in a temporary file
CHUNK_BYTES = 2**18
MAX_REDIRECTS = 5
TRIES = 4
BACKOFF_S = 1.0  # before the second try; then twice as long each time
LONGEST_WAIT_S = 30.0  # however long a server asks us to wait
DEADLINE_S = 120.0  # since the first try: after that no other one begins
CONNECT_S = 10.0
SILENCE_S = 30.0
# Bytes a second on average, after a first minute: a server that sends less is as good as silent.
SLOWEST = 1_000
SLOW_AFTER_S = 60.0
UNREACHED_S = 60.0  # a server that could not be reached is not tried again for so long
NO_NAME = "no server can have such a name"
HEADERS = {"Accept-Encoding": "identity", "User-Agent": "l3flow"}

_REDIRECTS = (301, 302, 303, 307, 308)
_NO_HEAD = (400, 403, 405, 501)  # how servers refuse HEAD where GET may do
_FORBIDDEN = (401, 403, 407, 451)
_GONE = (404, 410)
_PASSING = (408, 429, 500, 502, 503, 504)


class _PassesError(Exception):
    """A failure that may pass.

    Attributes:
        wait_s: how long the server asks us to wait.
        unreached: the server that could not be reached, if that is what failed.
    """

    def __init__(self, words: str, *, wait_s: float = 0.0, unreached: str | None = None) -> None:
        super().__init__(words)
        self.wait_s = wait_s
        self.unreached = unreached


class _PublicResolver(ThreadedResolver):
    """Finds no name that any local address belongs to; what it returns is what is connected to."""

    async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_UNSPEC) -> Any:
        found = await super().resolve(host, port, family)
        for address in found:
            hold_public(address["host"])
        return found


async def _client(connector: Any = None, **kwargs: Any) -> aiohttp.ClientSession:
    timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_S, sock_read=SILENCE_S)
    return aiohttp.ClientSession(
        connector=connector,
        timeout=timeout,
        headers=HEADERS,
        cookie_jar=aiohttp.DummyCookieJar(),  # each request stands for itself
        **kwargs,
    )


async def _public_client(**kwargs: Any) -> aiohttp.ClientSession:
    return await _client(aiohttp.TCPConnector(resolver=_PublicResolver()), **kwargs)


class WebFileSystem(AsyncFileSystem):
    """The web as fsspec has file systems: objects by their URLs, for reading."""

    protocol = ("http", "https")
    cachable = False  # fsspec would keep one for each thread: see `web_files`

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # connections of their own: one that is open to a local address is none for a redirect
        self._given = HTTPFileSystem(get_client=_client, skip_instance_cache=True)
        self._redirected = HTTPFileSystem(get_client=_public_client, skip_instance_cache=True)
        self._unreached: dict[str, tuple[float, str]] = {}

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return path

    async def _info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        async def look() -> dict[str, Any]:
            async with self._answer("HEAD", path) as answer:
                if answer.status not in _NO_HEAD:
                    return _described(path, answer)
            async with self._answer("GET", path) as answer:  # its body is not read
                return _described(path, answer)

        return await self._tried(path, look)

    async def _ls(self, path: str, detail: bool = True, **kwargs: Any) -> Any:
        raise OSError(errno.EOPNOTSUPP, "web servers do not list", path)

    async def _cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any
    ) -> bytes:
        with await self._download(path) as file:
            return file.read()[start:end]

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> BinaryIO:
        if mode != "rb":
            raise _takes_none(path)
        return self.download(path)

    async def _pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        raise _takes_none(path)

    async def _put_file(self, lpath: str, rpath: str, mode: str = "overwrite", **kwargs: Any) -> None:
        raise _takes_none(rpath)

    def download(self, path: str, hold: Hold | None = None) -> BinaryIO:
        """A temporary copy of a whole object, open for reading.

        Args:
            path: its URL.
            hold: is asked before and after it is read.

        Raises:
            FileNotFoundError: there is none.
            PermissionError: the server does not give it, or redirects to where nobody may be led.
            OSError: anything else; with EFBIG as its number: larger than `max_download`.
        """
        return cast(BinaryIO, sync(self.loop, self._download, path, hold))

    async def _download(self, path: str, hold: Hold | None = None) -> BinaryIO:
        async def read() -> BinaryIO:
            file = cast(BinaryIO, tempfile.SpooledTemporaryFile(MEMORY_BYTES))  # noqa: SIM115
            try:
                async with self._answer("GET", path) as answer:
                    info = _described(path, answer)
                    if hold:
                        hold(info["size"], info["etag"])
                    await _read_body(answer, file, info)
                    if hold:
                        hold(file.tell(), info["etag"])
                file.seek(0)
            except BaseException:
                file.close()
                raise
            return file

        return await self._tried(path, read)

    async def _tried(self, url: str, action: Callable[[], Awaitable[T]]) -> T:
        """What an action comes to, tried again while it fails for a reason that may pass."""
        began = time.monotonic()
        for tries in range(1, TRIES + 1):
            try:
                return await action()
            except RefusedError as error:
                raise PermissionError(errno.EACCES, str(error), url) from None
            except _PassesError as error:
                failure = error
            except (aiohttp.ClientError, asyncio.TimeoutError) as error:
                failure = _PassesError(_words(error))
            wait_s = max(BACKOFF_S * 2 ** (tries - 1), failure.wait_s)
            if tries == TRIES or time.monotonic() + wait_s - began > DEADLINE_S:
                break
            await asyncio.sleep(wait_s)
        if failure.unreached:
            self._unreached[failure.unreached] = (time.monotonic(), str(failure))
        raise OSError(str(failure))

    @asynccontextmanager
    async def _answer(self, method: str, url: str) -> AsyncIterator[aiohttp.ClientResponse]:
        """What a server answers in the end, redirects followed."""
        client, place = self._given, _encoded(url)
        for _ in range(MAX_REDIRECTS + 1):
            async with await self._asked(client, method, place) as answer:
                target = answer.headers.get("Location")
                if answer.status not in _REDIRECTS or target is None:
                    yield answer
                    return
            client, place = self._redirected, _encoded(redirected(str(place), target))
            hold_public(place.raw_host or "")  # as it is connected to, however it was written
        raise OSError(f"it redirects more than {MAX_REDIRECTS} times")

    async def _asked(self, client: Any, method: str, place: URL) -> aiohttp.ClientResponse:
        """What one server answers."""
        since, words = self._unreached.get(place.authority, (-UNREACHED_S, ""))
        if time.monotonic() - since < UNREACHED_S:
            raise OSError(words)
        session = await client.set_session()
        try:
            return await session.request(method, place, allow_redirects=False)
        except aiohttp.ClientSSLError as error:  # that does not pass
            raise OSError(_words(error)) from None
        except ValueError:
            raise OSError(NO_NAME) from None
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise _PassesError(_words(error), unreached=place.authority) from None


def _takes_none(path: str) -> OSError:
    return OSError(errno.EROFS, "a web server does not take files", path)


def web_files() -> WebFileSystem:
    """The web, as this process shares it."""
    return _web_files(os.getpid())


@cache
def _web_files(process: int) -> WebFileSystem:
    return WebFileSystem()


def _encoded(url: str) -> URL:
    """A URL as it is asked for: what is encoded in it stays so, what has to be is."""
    parts = urlsplit(url)
    try:
        origin = URL(f"{parts.scheme}://{parts.netloc}").origin()
    except ValueError:
        raise OSError(NO_NAME) from None
    path = parts.path or "/"
    rest = f"{path}?{parts.query}" if parts.query else path
    rest = quote(
        re.sub("%(?![0-9A-Fa-f]{2})", "%25", rest), safe="!$%&'()*+,/:;=?@[]~", errors="surrogateescape"
    )
    return URL(f"{origin}{rest}", encoded=True)


def _described(url: str, answer: aiohttp.ClientResponse) -> dict[str, Any]:
    """What fsspec calls the info of an object.

    Raises:
        OSError: it is not there, or not given.
        _PassesError: it may be in a while.
    """
    status = answer.status
    if status in _GONE:
        raise FileNotFoundError(errno.ENOENT, "no such object", url)
    if status in _FORBIDDEN:
        raise PermissionError(errno.EACCES, f"the server does not give it ({status})", url)
    if status in _PASSING:
        asked = answer.headers.get("Retry-After", "")
        wait_s = min(float(asked), LONGEST_WAIT_S) if asked.isascii() and asked.isdigit() else 0.0
        raise _PassesError(f"the server answered {status}", wait_s=wait_s)
    if status != 200:
        raise OSError(f"the server answered {status}")
    # of what is packed for the way the length is another
    plain = answer.headers.get("Content-Encoding", "identity").lower() == "identity"
    version = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
    size = answer.content_length if plain else None
    return {"name": url, "size": size, "type": "file", "etag": version}


async def _read_body(answer: aiohttp.ClientResponse, file: BinaryIO, info: dict[str, Any]) -> None:
    most, began = max_download(), time.monotonic()
    count = info["size"] or 0
    if count <= most:
        count = 0
        async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
            count += len(chunk)
            if count > most:
                break
            file.write(chunk)
            if time.monotonic() - began > SLOW_AFTER_S + count / SLOWEST:
                raise _PassesError(f"the server sends less than {SLOWEST} bytes a second")
    if count > most:
        answer.close()
        raise OSError(errno.EFBIG, too_large(), info["name"])


def _words(error: Exception) -> str:
    """One line about a failure, without what clients put into it of URLs and of what came."""
    if isinstance(error, asyncio.TimeoutError):
        return "the server is silent"
    if isinstance(error, (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError)):
        return "the answer broke off"
    if isinstance(error, aiohttp.ClientOSError):
        return " ".join(str(error).split())
    return "what the server answers is not HTTP"
