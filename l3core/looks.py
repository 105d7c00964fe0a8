"""Listing objects on the web: what URLs name, asked for a few at a time."""

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Any

from l3core.storage import StoredObject, absent, stored, unknown
from l3core.web import web_files

AHEAD = 16


class Looks:
    """What URLs name: each is looked at once, some ahead of whoever asks.

    Of one that cannot be looked at nothing is known: the worker that reads it says why.
    """

    def __init__(self) -> None:
        self._fs = web_files()
        self._found: dict[str, Future[dict[str, Any]] | StoredObject] = {}

    def __call__(self, urls: Sequence[str]) -> Iterator[StoredObject]:
        """The objects, in order; absent ones, too."""
        for number, url in enumerate(urls):
            for each in urls[number : number + AHEAD]:
                if each not in self._found:
                    look = asyncio.run_coroutine_threadsafe(self._fs._info(each), self._fs.loop)
                    self._found[each] = look
            found = self._found[url]
            if isinstance(found, Future):
                found = self._found[url] = _object(url, found)
            yield found


def _object(url: str, look: "Future[dict[str, Any]]") -> StoredObject:
    try:
        return stored(url, look.result())
    except FileNotFoundError:
        return absent(url)
    except OSError:
        return unknown(url)
