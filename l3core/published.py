"""Fetching published weights: once, from their public address, verified, into the user's cache.

What is downloaded is held against git's own name for the file (`PublishedFile.git_blob_sha1`), so a
file cut short, altered on the way or replaced at its address is refused.
"""

import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import requests
import urllib3

from l3core.errors import FetchError
from l3core.models import PublishedFile

URL_VARIABLE = "L3FLOW_WEIGHTS_URL"
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 20.0  # of silence
DEADLINE_S = 900.0  # of the whole download
ATTEMPTS = 3
_CHUNK = 1 << 18

Progress = Callable[[int, int | None], None]


def cache_dir() -> Path:
    """Where fetched weights are kept: `$XDG_CACHE_HOME/l3flow/weights`, by default below ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "l3flow" / "weights"


def address(file: PublishedFile) -> str:
    """Where a file is fetched from; `$L3FLOW_WEIGHTS_URL` names a mirror's folder instead."""
    base = os.environ.get(URL_VARIABLE) or file.base_url
    return base.rstrip("/") + "/" + file.name


def git_blob_sha1(content: bytes) -> str:
    """Git's name of a file with this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def is_there(file: PublishedFile) -> bool:
    """Whether the cache has a file of this name."""
    return (cache_dir() / file.name).is_file()


def is_cached(file: PublishedFile) -> bool:
    """Whether the cache has the file, whole and unaltered."""
    path = cache_dir() / file.name
    return path.is_file() and git_blob_sha1(path.read_bytes()) == file.git_blob_sha1


def fetch(
    file: PublishedFile, *, deadline_s: float = DEADLINE_S, progress: Progress | None = None
) -> Path:
    """The file's place in the cache; downloads it if it is not there or is damaged.

    Args:
        file: what to fetch.
        deadline_s: give up after this many seconds, however it goes.
        progress: called with (bytes so far, bytes in all or None).

    Raises:
        FetchError: it could not be had; the message says what to put where.
    """
    path = cache_dir() / file.name
    if is_cached(file):
        return path
    url = address(file)
    deadline = time.monotonic() + deadline_s
    problem = "the deadline passed"
    for attempt in range(ATTEMPTS):
        pause = 0.5 * 2**attempt if attempt else 0.0
        if time.monotonic() + pause >= deadline:
            break
        time.sleep(pause)
        try:
            content = _download(url, deadline, progress)
        except requests.HTTPError as error:
            problem = str(error)
            if error.response.status_code < 500 and error.response.status_code != 429:
                break
        except (requests.RequestException, urllib3.exceptions.HTTPError, TimeoutError) as error:
            problem = _brief(error)
        else:
            found = git_blob_sha1(content)
            if found == file.git_blob_sha1:
                _keep(path, content)
                return path
            problem = (
                f"got {len(content)} bytes with git blob sha1 {found}, expected {file.git_blob_sha1}"
            )
    raise FetchError(
        f"could not fetch {url} ({problem}). Without a network: put {file.name} at {path} "
        "(it is checked when used), name a weights file with --weights FILE.h5, "
        "or take --model edgel3-sea-64, whose weights are included"
    )


def _brief(error: Exception) -> str:
    """What went wrong, without the objects that requests and urllib3 print around it."""
    reason = getattr(error.args[0], "reason", error) if error.args else error
    return f"{type(reason).__name__}: {str(reason).rpartition('): ')[2] or reason}"


def _download(url: str, deadline: float, progress: Progress | None) -> bytes:
    left = deadline - time.monotonic()
    timeout = (min(CONNECT_TIMEOUT_S, left), min(READ_TIMEOUT_S, left))
    # the file is compressed already; a server that adds a layer of its own would change its digest
    headers = {"Accept-Encoding": "identity"}
    received = bytearray()
    with requests.get(url, stream=True, timeout=timeout, headers=headers) as response:
        response.raise_for_status()
        length = response.headers.get("Content-Length", "")
        total = int(length) if length.isdigit() else None
        # read1 gives what has come; iter_content would wait for a whole chunk of a dripping server
        while chunk := response.raw.read1(_CHUNK):
            received += chunk
            if progress is not None:
                progress(len(received), total)
            if time.monotonic() > deadline:
                raise TimeoutError(f"only {len(received)} bytes came before the deadline")
    if total is not None and len(received) < total:
        raise TimeoutError(f"the answer ended after {len(received)} of {total} bytes")
    return bytes(received)


def _keep(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # two processes may fetch the same file: each writes its own and the rename decides
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name + ".")
    try:
        with os.fdopen(handle, "wb") as target:
            target.write(content)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
