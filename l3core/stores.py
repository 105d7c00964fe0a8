"""The file system of each store as this project uses it: its options, its credentials.

fsspec finds the client of a store by the protocol of a URI; its errors are those of
`l3core.store_errors`.
"""

import os
import re
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, TypeVar

import fsspec
from fsspec.implementations.local import LocalFileSystem

from l3core.errors import StorageError, UsageError
from l3core.storage_options import configured, resolved_options
from l3core.store_errors import STORES, Translating, translating, unwrapped, words_of
from l3core.urls import checked_url, is_web

T = TypeVar("T")

# Of a store: the client's package, and what installs it.
EXTRAS = {
    "Google": ("gcsfs", "gcsfs"),
    "AWS": ("s3fs", "l3flow[s3]"),
    "Azure": ("adlfs", "l3flow[azure]"),
}
# Read by Google's clients when they are imported, so set before: no minute of asking over gRPC what kind
# of bucket a bucket is, and no ten seconds of looking for a metadata server.
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
os.environ.setdefault("GCE_METADATA_TIMEOUT", "1")
os.environ.setdefault("GCE_METADATA_DETECT_RETRIES", "1")
_MAGIC = re.compile(r"[*?\[]")
REACH_S = 10.0
CONNECTIONS = 64


def filesystem(uri: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system of a URI, and the path that it knows the object by.

    Raises:
        UsageError: a store that nobody knows, or whose client is not installed.
        CredentialsError: it finds no credentials.
    """
    if "://" not in uri:  # a plain path; fsspec would take "::" in a name for a chain of file systems
        return LocalFileSystem(), os.path.abspath(uri)
    if is_web(uri):
        from l3core.web import web_files  # its client takes a moment to load

        return web_files(), checked_url(uri)
    protocol = uri.partition("://")[0]
    with translating(uri):
        try:
            if protocol not in STORES:
                fs, path = fsspec.core.url_to_fs(uri)
                return fs, path
            # not url_to_fs, which takes "::" in a name for a chain of file systems here, too
            client = _client(protocol)
            fs = client(**client._get_kwargs_from_urls(uri) | _defaults(protocol))
            return Translating(fs, uri), client._strip_protocol(uri)
        except (ValueError, ImportError) as error:
            raise UsageError(f"{uri}: {words_of(error)}") from None


def _client(protocol: str) -> type[fsspec.AbstractFileSystem]:
    try:
        return fsspec.get_filesystem_class(protocol)
    except ImportError:
        package, extra = EXTRAS[STORES[protocol]]
        raise ImportError(f"needs {package}: pip install '{extra}'") from None


def _defaults(protocol: str) -> dict[str, Any]:
    """Options of a store's client, those that were configured included."""
    # what was listed once may be another object by now
    options = {"use_listings_cache": False, **resolved_options()}
    if STORES[protocol] == "Google":
        # or it tries one way after the other, the last without any credentials
        emulated = "endpoint_url" in options or "STORAGE_EMULATOR_HOST" in os.environ
        options.setdefault("token", "anon" if emulated else "google_default")
        options.setdefault("consistency", "md5")  # of what it has stored, held against what was sent
    if STORES[protocol] == "AWS":  # of its own there are ten connections, whoever waits for one
        options.setdefault("config_kwargs", {"max_pool_connections": CONNECTIONS})
    return options


def is_disk(fs: fsspec.AbstractFileSystem) -> bool:
    """Whether it is a disk itself, and not something that somebody has built upon one."""
    return type(fs) is LocalFileSystem


def is_object_store(fs: fsspec.AbstractFileSystem) -> bool:
    """Whether it is one of `STORES`: folders are only what the names of objects say."""
    return isinstance(fs, Translating)


def is_remote(uri: str) -> bool:
    """Whether reading an object is mostly waiting for an answer."""
    return uri.partition("://")[0] in STORES or is_web(uri)


def reach(uri: str, seconds: float = REACH_S) -> None:
    """Hold that a store answers, and that there is such a bucket; what is below it need not be there.

    Of the web that is not asked: each object may have another server, and a row that says how it is.

    Args:
        uri: of anything in it.
        seconds: after which nobody wants to wait any longer.

    Raises:
        UsageError: no such bucket, or no permission.
        CredentialsError: from `filesystem`.
        StorageError: there is no answer.
    """
    if uri.partition("://")[0] not in STORES:
        return
    try:
        within(seconds, lambda: _look(uri))
    except TimeoutError:
        raise StorageError(
            f"{uri}: no answer within {seconds:.0f} s: is there a network, and is endpoint_url right?"
        ) from None
    except (OSError, UsageError, StorageError):
        raise
    except Exception as error:  # of a client that has met an option it does not know
        if not configured():
            raise
        options = ", ".join(configured())
        raise UsageError(
            f"{uri}: its client cannot use --storage-option {options}: {words_of(error)}"
        ) from None


def within(seconds: float, action: Callable[[], T]) -> T:
    """What an action returns or raises; it is left alone when it takes longer.

    Raises:
        TimeoutError: it does.
    """
    outcome: Future[T] = Future()
    threading.Thread(target=_settle, args=(outcome, action), daemon=True).start()
    try:
        return outcome.result(seconds)
    except FutureTimeout:
        if outcome.done():  # the action's own
            raise
        raise TimeoutError(f"no answer within {seconds:.0f} s") from None


def _settle(outcome: "Future[T]", action: Callable[[], T]) -> None:
    try:
        outcome.set_result(action())
    except BaseException as error:  # is raised by the thread that waits
        outcome.set_exception(error)


def bucket_of(uri: str) -> str:
    """The URI of its bucket; the URI itself for what is in none."""
    protocol, _, path = uri.partition("://")
    return f"{protocol}://{path.partition('/')[0]}" if protocol in STORES else uri


def _look(uri: str) -> None:
    name = bucket_of(uri).partition("://")[2]
    if not name or _MAGIC.search(name):
        raise UsageError(f"{uri} names no bucket")
    fs = filesystem(uri)[0]
    path = fs._strip_protocol(_MAGIC.split(uri)[0])  # of a pattern what is before it
    bucket = path.strip("/").partition("/")[0]
    _hold_credentials(fs, uri)
    try:
        fs.info(path)
        return
    except PermissionError:
        if holds_any(fs, path):
            return
        raise UsageError(f"{uri}: forbidden: these credentials may not look there") from None
    except FileNotFoundError:
        pass
    try:
        fs.info(bucket)
    except FileNotFoundError:
        raise UsageError(f"{uri}: there is no bucket {bucket}") from None
    except PermissionError:  # who may read objects may be forbidden to ask for the bucket
        return


def holds_any(fs: fsspec.AbstractFileSystem, path: str) -> bool:
    """Whether something is below a folder of S3, for who may list it and not ask for its name."""
    bucket, _, key = path.strip("/").partition("/")
    if not hasattr(unwrapped(fs), "call_s3"):
        return False
    try:
        page = fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=key + "/" if key else "", MaxKeys=1)
    except OSError:
        return False
    return bool(page.get("Contents"))


def _hold_credentials(fs: Any, uri: str) -> None:
    """Let credentials that are refused be so at once: Google's client would try for half a minute."""
    refresh = getattr(getattr(unwrapped(fs), "credentials", None), "maybe_refresh", None)
    if refresh is not None:
        with translating(uri):
            refresh()
