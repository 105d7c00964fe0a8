"""Fetching published weights: once, from their public address, verified, into the user's cache.

What is downloaded is held against the file's published digest (`PublishedFile.git_blob_sha1`, `md5`), so
a file cut short, altered on the way or replaced at its address is refused. Of a file whose digest nobody
publishes the SHA-256 is written beside it when it is first here, as `sha256sum` writes it, and holds
from then on: what cannot be known is whether it was right the first time.
"""

import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

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
# `unheld`: there, and neither a published digest nor one of a first use says what it should be.
State = Literal["not fetched", "cached", "unheld", "damaged"]


def cache_dir() -> Path:
    """Where fetched weights are kept: `$XDG_CACHE_HOME/l3flow/weights`, by default below ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "l3flow" / "weights"


def address(file: PublishedFile) -> str | None:
    """Where a file is fetched from; `$L3FLOW_WEIGHTS_URL` names a mirror's folder instead.

    None: only people can fetch it.
    """
    base = os.environ.get(URL_VARIABLE) or file.base_url
    return base.rstrip("/") + "/" + file.name if base else None


def git_blob_sha1(content: bytes) -> str:
    """Git's name of a file with this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Digest(NamedTuple):
    """What a file's content should be.

    Attributes:
        kind: how it is computed, for people.
        value: hexadecimal; what is no digest fits no file.
        compute: content -> value.
        pinned: whether it is published, and not that of a first use.
    """

    kind: str
    value: str
    compute: Callable[[bytes], str]
    pinned: bool


def digest_of(file: PublishedFile) -> Digest | None:
    """What a file should be; None if that is not known before it is first here."""
    if file.git_blob_sha1:
        return Digest("git blob sha1", file.git_blob_sha1, git_blob_sha1, True)
    if file.md5:
        return Digest("md5", file.md5, _md5, True)
    try:
        words = record(file).read_text(errors="replace").split()
    except FileNotFoundError:
        return None
    return Digest("sha256", words[0] if words else "nothing", _sha256, False)


def record(file: PublishedFile) -> Path:
    """Where the digest of a first use is kept."""
    return cache_dir() / f"{file.name}.sha256"


def state(file: PublishedFile) -> State:
    """How the cache has a file."""
    path = cache_dir() / file.name
    if not path.is_file():
        return "not fetched"
    digest = digest_of(file)
    if digest is None:
        return "unheld"
    return "cached" if digest.compute(path.read_bytes()) == digest.value else "damaged"


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
    found = state(file)
    if found == "unheld":
        _hold(file, path.read_bytes())
    if found in ("cached", "unheld"):
        return path
    url = address(file)
    if url is None:
        put, name = _instead(file)
        raise FetchError(f"{_by_hand(file, found)} ({file.page}): {put}, or {name}")
    digest = digest_of(file)
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
            if digest is None or digest.compute(content) == digest.value:
                _keep(path, content)
                if digest is None:
                    _hold(file, content)
                return path
            problem = (
                f"got {len(content)} bytes with {digest.kind} {digest.compute(content)}, "
                f"expected {digest.value}"
            )
            if not digest.pinned:
                problem += f" as first used here; remove {record(file)} to take the new one"
    put, name = _instead(file)
    raise FetchError(
        f"could not fetch {url} ({problem}). Without a network: {put}, {name}, "
        "or take --model edgel3-sea-64, whose weights are included"
    )


def _by_hand(file: PublishedFile, found: State) -> str:
    if found == "damaged":
        return f"{file.name} is another than when it was first used; remove {record(file)} to take it"
    return f"{file.name} can be fetched by hand only"


def _instead(file: PublishedFile) -> tuple[str, str]:
    """What to do without fetching, one or the other."""
    extension = file.name.removesuffix(".gz").rpartition(".")[2]
    return (
        f"put {file.name} at {cache_dir() / file.name} (it is checked when used)",
        f"name a weights file with --weights FILE.{extension}",
    )


def _hold(file: PublishedFile, content: bytes) -> None:
    """Keep the digest of a first use, as `sha256sum --check` reads it."""
    _keep(record(file), f"{_sha256(content)}  {file.name}\n".encode())


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
