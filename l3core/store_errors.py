"""What clients of stores raise, as an OSError of the kind that a disk would raise, in one line."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import fsspec

from l3core.errors import CredentialsError
from l3core.storage_options import hidden

# Protocol -> what we call its store.
STORES = {
    **dict.fromkeys(("gs", "gcs"), "Google"),
    **dict.fromkeys(("s3", "s3a"), "AWS"),
    **dict.fromkeys(("az", "abfs", "abfss"), "Azure"),
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


def unwrapped(fs: Any) -> fsspec.AbstractFileSystem:
    """The client itself."""
    return fs.wrapped if isinstance(fs, Translating) else fs


class Translating:
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
            return Translating(result, self._uri) if name == "open" else result

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
        return OSError(f"{uri}: {words_of(error)}")
    if name == "FSTimeoutError":
        return TimeoutError(f"{uri}: no answer in time")
    if type(error) in (ValueError, RuntimeError):  # gcsfs' own words for some answers
        return OSError(f"{uri}: {words_of(error)}")
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
    return OSError(f"{uri}: {words_of(error)}")


def _s3_code(error: Exception) -> str:
    """S3's own word for an error that s3fs has made one of Python's."""
    answer = getattr(error.__cause__, "response", None)
    return str(answer.get("Error", {}).get("Code", "")) if isinstance(answer, dict) else ""


def _credentials_error(uri: str, what: str) -> CredentialsError:
    store = STORES.get(uri.partition("://")[0], "")
    return CredentialsError(f"{uri}: {store} credentials {what}: {ADVICE.get(store, '')}")


def words_of(error: Exception) -> str:
    """What a client says, on one line and without secrets."""
    return hidden(" ".join(str(error).split())) or type(error).__name__
