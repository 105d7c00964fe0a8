"""The file system of each store as this project uses it: its options, its credentials, its errors.

fsspec finds the client of a store by the protocol of a URI. What clients raise becomes an OSError of the
kind that a disk would raise, with one line that says what to do.
"""

import errno
import json
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import fsspec
from fsspec.implementations.local import LocalFileSystem

from l3core.errors import CredentialsError, StorageError, UsageError

T = TypeVar("T")

# Protocol -> what we call its store.
STORES = {
    **dict.fromkeys(("gs", "gcs"), "Google"),
    **dict.fromkeys(("s3", "s3a"), "AWS"),
    **dict.fromkeys(("az", "abfs", "abfss"), "Azure"),
    **dict.fromkeys(("http", "https"), "web"),
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
_CREDENTIALS = {
    "DefaultCredentialsError",
    "NoCredentialsError",
    "PartialCredentialsError",
    "RefreshError",
}
_CLIENTS = {"aiobotocore", "aiohttp", "azure", "botocore", "gcsfs", "google", "requests"}
# Read by Google's clients when they are imported, so set before: no minute of asking over gRPC what kind
# of bucket a bucket is, and no ten seconds of looking for a metadata server.
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
os.environ.setdefault("GCE_METADATA_TIMEOUT", "1")
os.environ.setdefault("GCE_METADATA_DETECT_RETRIES", "1")
_SECRET = ("key", "secret", "token", "password", "credential", "connection_string", "sas")
# Values of such options that are no secrets.
_NO_SECRET = {"anon", "google_default", "cache", "cloud", "browser"}
_MAGIC = re.compile(r"[*?\[]")
CONFIGURED = "L3FLOW_STORAGE_OPTIONS"  # as JSON; workers inherit it
REACH_S = 10.0


def configure(options: Iterable[str]) -> None:
    """Set what `--storage-option KEY=VALUE` says, for this process and those that it starts.

    A value `env:NAME` or `file:PATH` is read where it is used; secrets are given no other way.

    Raises:
        UsageError: no KEY=VALUE, or a secret in the open.
    """
    found = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not (key and equals):
            raise UsageError(f"--storage-option needs KEY=VALUE, got {key!r}")
        named = value.startswith(("env:", "file:")) or value.lower() in _NO_SECRET
        if any(word in key.lower() for word in _SECRET) and not named:
            raise UsageError(
                f"--storage-option {key}: a secret is given as {key}=env:NAME or {key}=file:PATH, so "
                "that it is in no history, log or record"
            )
        found[key] = value
    configure_as(found)


def configured() -> dict[str, str]:
    """What is configured, secrets unresolved: workers on other machines have to know it, too."""
    return dict(json.loads(os.environ.get(CONFIGURED, "{}")))


def configure_as(options: Mapping[str, str]) -> None:
    """Configure this process, and those that it starts, as another one is (`configured`)."""
    os.environ[CONFIGURED] = json.dumps(dict(options))


def _resolved(key: str, value: str) -> Any:
    kind, colon, name = value.partition(":")
    try:
        if colon and kind == "env":
            return os.environ[name]
        if colon and kind == "file":
            return Path(name).read_text(encoding="utf-8").strip()
    except (KeyError, OSError):
        raise UsageError(f"--storage-option {key}: there is no {value}") from None
    try:
        return json.loads(value)  # a number, true or false
    except ValueError:
        return value


def filesystem(uri: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system of a URI, and the path that it knows the object by.

    Raises:
        UsageError: a store that nobody knows, or whose client is not installed.
        CredentialsError: it finds no credentials.
    """
    if "://" not in uri:  # a plain path; fsspec would take "::" in a name for a chain of file systems
        return LocalFileSystem(), os.path.abspath(uri)
    protocol = uri.partition("://")[0]
    with translating(uri):
        try:
            fs, path = fsspec.core.url_to_fs(uri, **_defaults(protocol))
        except (ValueError, ImportError) as error:
            raise UsageError(f"{uri}: {error}") from None
    return (_Translating(fs, uri) if protocol in STORES else fs), path


def _defaults(protocol: str) -> dict[str, Any]:
    """Options of a store's client, those that were configured included."""
    if protocol not in STORES:
        return {}
    # what was listed once may be another object by now
    options: dict[str, Any] = {"use_listings_cache": False}
    options |= {key: _resolved(key, value) for key, value in configured().items()}
    if STORES[protocol] == "Google":
        # or it tries one way after the other, the last without any credentials
        emulated = "endpoint_url" in options or "STORAGE_EMULATOR_HOST" in os.environ
        options.setdefault("token", "anon" if emulated else "google_default")
        options.setdefault("consistency", "md5")  # of what it has stored, held against what was sent
    return options


def is_disk(fs: fsspec.AbstractFileSystem) -> bool:
    """Whether it is a disk itself, and not something that somebody has built upon one."""
    return type(fs) is LocalFileSystem


def is_object_store(fs: fsspec.AbstractFileSystem) -> bool:
    """Whether it is one of `STORES`: folders are only what the names of objects say."""
    return isinstance(fs, _Translating)


def is_remote(uri: str) -> bool:
    """Whether reading an object is mostly waiting for an answer."""
    return uri.partition("://")[0] in STORES


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
    if isinstance(error, PermissionError) or (
        isinstance(error, OSError) and str(error).startswith("Forbidden")
    ):
        return PermissionError(errno.EACCES, "forbidden for these credentials", uri)
    if isinstance(error, FileNotFoundError):
        return error if error.errno else FileNotFoundError(errno.ENOENT, "no such object", uri)
    store = STORES.get(uri.partition("://")[0], "")
    code = str(getattr(error, "code", None) or getattr(error, "status", None) or "")
    if name in _CREDENTIALS or (package in _CLIENTS and code == "401"):
        what = "were refused" if code == "401" or name == "RefreshError" else "were not found"
        return CredentialsError(f"{uri}: {store} credentials {what}: {ADVICE.get(store, '')}")
    unknown = re.search(r"unexpected keyword argument '(.+)'", str(error))
    if isinstance(error, TypeError) and unknown and unknown[1] in configured():
        return UsageError(f"{uri}: its client knows no --storage-option {unknown[1]}")
    if package not in _CLIENTS or isinstance(error, FileExistsError):
        return None
    words = " ".join(str(error).split()) or name
    if code == "403":
        return PermissionError(errno.EACCES, "forbidden for these credentials", uri)
    return OSError(f"{uri}: {words}")


def reach(uri: str, seconds: float = REACH_S) -> None:
    """Hold that a store answers, and that there is such a bucket; what is below it need not be there.

    Args:
        uri: of anything in it.
        seconds: after which nobody wants to wait any longer.

    Raises:
        UsageError: no such bucket, or no permission.
        CredentialsError: from `filesystem`.
        StorageError: there is no answer.
    """
    if not is_remote(uri):
        return
    try:
        within(seconds, lambda: _look(uri))
    except TimeoutError:
        raise StorageError(
            f"{uri}: no answer within {seconds:.0f} s: is there a network, and is endpoint_url right?"
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
    fs, path = filesystem(_MAGIC.split(uri)[0])  # of a pattern what is before it
    bucket = path.strip("/").partition("/")[0]
    try:
        fs.info(path)
        return
    except PermissionError:
        raise UsageError(f"{uri}: forbidden: these credentials may not look there") from None
    except FileNotFoundError:
        pass
    try:
        fs.info(bucket)
    except FileNotFoundError:
        raise UsageError(f"{uri}: there is no bucket {bucket}") from None
    except PermissionError:  # who may read objects may be forbidden to ask for the bucket
        return
