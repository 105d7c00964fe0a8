"""The file system of each store as this project uses it: its options, its credentials, its errors.

fsspec finds the client of a store by the protocol of a URI. What clients raise becomes an OSError of the
kind that a disk would raise, with one line that says what to do.
"""

import errno
import os
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager
from typing import Any, TypeVar

import fsspec
from fsspec.implementations.local import LocalFileSystem

from l3core.errors import CredentialsError, StorageError, UsageError
from l3core.storage_options import configured, hidden, resolved_options
from l3core.urls import checked_url, is_web

T = TypeVar("T")

# Protocol -> what we call its store.
STORES = {
    **dict.fromkeys(("gs", "gcs"), "Google"),
    **dict.fromkeys(("s3", "s3a"), "AWS"),
    **dict.fromkeys(("az", "abfs", "abfss"), "Azure"),
}
# Of a store: the client's package, and what installs it.
EXTRAS = {
    "Google": ("gcsfs", "gcsfs"),
    "AWS": ("s3fs", "l3flow[s3]"),
    "Azure": ("adlfs", "l3flow[azure]"),
}
# What to do where a store's client finds no credentials.
ADVICE = {
    "Google": "run `gcloud auth application-default login`, set GOOGLE_APPLICATION_CREDENTIALS, or give "
    "--storage-option token=anon for what is public",
    "AWS": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or a profile, or give --storage-option "
    "anon=true for what is public",
    "Azure": "set AZURE_STORAGE_CONNECTION_STRING or AZURE_STORAGE_ACCOUNT_NAME and _KEY",
}
# Names that clients give to errors of credentials, and packages whose errors are a store's.
_REFUSED = {"RefreshError", "OAuthError"}
_CREDENTIALS = {
    "DefaultCredentialsError",
    "NoCredentialsError",
    "PartialCredentialsError",
    *_REFUSED,
}
# S3's codes that s3fs makes a PermissionError of: no object is forbidden, nothing is allowed.
_REFUSED_BY_S3 = {
    *("ExpiredToken", "InvalidToken", "TokenRefreshRequired", "InvalidAccessKeyId"),
    *("SignatureDoesNotMatch", "RequestTimeTooSkewed", "InvalidSecurity"),
}
_LIMITED = re.compile(r"rate.?limit|quota|billing", re.IGNORECASE)
_DAMAGED = {"ChecksumError", "FlexibleChecksumError"}  # gcsfs', botocore's
_CLIENTS = {"aiobotocore", "aiohttp", "azure", "botocore", "gcsfs", "google", "requests"}
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
            return _Translating(fs, uri), client._strip_protocol(uri)
        except (ValueError, ImportError) as error:
            raise UsageError(f"{uri}: {_words(error)}") from None


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
    return isinstance(fs, _Translating)


def is_remote(uri: str) -> bool:
    """Whether reading an object is mostly waiting for an answer."""
    return uri.partition("://")[0] in STORES or is_web(uri)


def unwrapped(fs: Any) -> fsspec.AbstractFileSystem:
    """The client itself."""
    return fs.wrapped if isinstance(fs, _Translating) else fs


class _Translating:
    """A client whose errors are ours, as are those of the files that it opens."""

    def __init__(self, wrapped: Any, uri: str) -> None:
        self.wrapped = wrapped
        self._uri = uri

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.wrapped, name)
        if name.startswith("_") or not callable(value):
            return value

        def translated(*args: Any, **kwargs: Any) -> Any:
            with translating(self._uri):
                result = value(*args, **kwargs)
            return _Translating(result, self._uri) if name == "open" else result

        return translated

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("wrapped", "_uri"):
            object.__setattr__(self, name, value)
        else:
            setattr(self.wrapped, name, value)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: object) -> None:
        with translating(self._uri):
            self.wrapped.__exit__(*error)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.wrapped)


@contextmanager
def translating(uri: str) -> Iterator[None]:
    """Let what a store's client raises be an OSError of ours; others pass."""
    try:
        yield
    except Exception as error:
        ours = _translated(error, uri)
        if ours is None:
            raise
        raise ours from error


def _translated(error: Exception, uri: str) -> Exception | None:
    """An error in our words; None for one that is no store's, or says enough."""
    name, package = type(error).__name__, type(error).__module__.partition(".")[0]
    if _s3_code(error) in _REFUSED_BY_S3:
        return _credentials_error(uri, "were refused")
    forbidden = isinstance(error, OSError) and str(error).startswith("Forbidden")
    if forbidden and _LIMITED.search(str(error).partition("\n")[2]):  # of an account, not of an object
        return OSError(f"{uri}: {_words(error)}")
    if name == "FSTimeoutError":
        return TimeoutError(f"{uri}: no answer in time")
    if type(error) in (ValueError, RuntimeError):  # gcsfs' own words for some answers
        return OSError(f"{uri}: {_words(error)}")
    if forbidden or isinstance(error, PermissionError):
        return PermissionError(errno.EACCES, "forbidden for these credentials", uri)
    if isinstance(error, FileNotFoundError):
        return error if error.errno else FileNotFoundError(errno.ENOENT, "no such object", uri)
    code = str(getattr(error, "code", None) or getattr(error, "status", None) or "")
    if name in _CREDENTIALS or (package in _CLIENTS and code == "401"):
        what = "were refused" if code == "401" or name in _REFUSED else "were not found"
        return _credentials_error(uri, what)
    if package not in _CLIENTS or isinstance(error, FileExistsError):
        return None
    if code == "403":
        return PermissionError(errno.EACCES, "forbidden for these credentials", uri)
    if name in _DAMAGED:
        return OSError(errno.EBADMSG, "came with another checksum than the store tells", uri)
    return OSError(f"{uri}: {_words(error)}")


def _s3_code(error: Exception) -> str:
    """S3's own word for an error that s3fs has made one of Python's."""
    answer = getattr(error.__cause__, "response", None)
    return str(answer.get("Error", {}).get("Code", "")) if isinstance(answer, dict) else ""


def _credentials_error(uri: str, what: str) -> CredentialsError:
    store = STORES.get(uri.partition("://")[0], "")
    return CredentialsError(f"{uri}: {store} credentials {what}: {ADVICE.get(store, '')}")


def _words(error: Exception) -> str:
    """What a client says, on one line and without secrets."""
    return hidden(" ".join(str(error).split())) or type(error).__name__


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
            f"{uri}: its client cannot use --storage-option {options}: {_words(error)}"
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
