"""URLs of objects on the web: which may be given, how they are recorded, where a redirect may lead."""

import ipaddress
import re
import socket
from urllib.parse import parse_qsl, unquote, urldefrag, urljoin, urlsplit

from l3core.errors import UsageError

# Names of what is secret in a query: signatures of links that were shared, keys of services.
_SECRET = re.compile(
    r"signature|token|secret|passw|credential|(api|access)[-_]?key|^x-(amz|goog)-"
    r"|^(auth|authorization|jwt|key|pwd|sas|sig)$",
    re.IGNORECASE,
)
_DEFAULT_PORT = {"http": ":80", "https": ":443"}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# Public by its number, and Azure's own service for the machines of a network.
_OF_THE_CLOUD = ipaddress.ip_address("168.63.129.16")


class RefusedError(Exception):
    """A redirect that is not followed."""


def is_web(uri: str) -> bool:
    """Whether a URI is that of an object on the web."""
    return uri[:8].lower().startswith(("http://", "https://"))


def refuse_web(place: str) -> None:
    """Hold that a place to write to, or to list, is not on the web.

    Raises:
        UsageError: it is.
    """
    if is_web(place):
        raise UsageError("needs a disk, gs:// or s3://: web servers neither take files nor list them")


def checked_url(url: str) -> str:
    """A URL as it is recorded and asked for: that which was given, scheme and host in lower case.

    Raises:
        UsageError: it is none, says the same as another one, or has something secret in it.
    """
    shown = _shown(url)
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or re.search(r"[\x00-\x1f\x7f]", url):
        raise UsageError(f"{shown} is no URL of an object")
    if "@" in parts.netloc:
        raise UsageError(f"{shown}: a user or password in a URL would be recorded; give it without")
    if parts.fragment or url.endswith("#"):
        raise UsageError(f"{shown}: what follows a # is never asked for; write %23 for one in a name")
    if any(unquote(part) in (".", "..") for part in parts.path.split("/")):
        raise UsageError(f"{shown}: give the URL without . and .. in its path")
    for name, _ in parse_qsl(parts.query.replace(";", "&"), keep_blank_values=True):
        if _SECRET.search(name):
            raise UsageError(
                f"{shown}: {name!r} in its query looks like a secret, and URLs are recorded; give one "
                "that needs none, or a bucket's gs:// or s3://"
            )
    scheme, place = parts.scheme.lower(), parts.netloc.lower()
    query = f"?{parts.query}" if "?" in url else ""
    return f"{scheme}://{place.removesuffix(_DEFAULT_PORT[scheme])}{parts.path}{query}"


def object_url(text: str) -> str:
    """The same of a URL that shall name an object.

    Raises:
        UsageError: it is a pattern or a folder.
    """
    url = checked_url(text)
    parts = urlsplit(url)
    if re.search(r"[*\[\]]", parts.path + parts.query):
        raise UsageError(
            f"{_shown(url)}: web servers do not list, so a URL is no pattern; give each one, or @LIST "
            "(in a name * is written %2A, [ and ] %5B and %5D)"
        )
    if not parts.path or (parts.path.endswith("/") and not parts.query):
        raise UsageError(f"{_shown(url)}: web servers do not list folders; give each URL, or @LIST")
    return url


def folder_of(url: str) -> str:
    """The folder that an object's URL lies in; a slash in its query makes none."""
    return url.partition("?")[0].rpartition("/")[0]


def _shown(url: str) -> str:
    """What of a URL may be shown, whatever is wrong with it."""
    scheme, _, rest = url.partition("?")[0].partition("#")[0].partition("://")
    return ascii(f"{scheme}://{rest.rpartition('@')[2]}")[1:-1]


def is_local(host: str) -> bool:
    """Whether an address is one of this machine or network, however it is written; a name is not."""
    try:
        address = ipaddress.ip_address(host.rstrip(".").partition("%")[0])
    except ValueError:
        try:
            address = ipaddress.ip_address(socket.inet_aton(host.rstrip(".")))  # 127.1, 0x7f000001
        except (OSError, ValueError):
            return False
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None and is_local(str(inner)):
            return True
        if address.ipv4_mapped or address in _NAT64:
            return False
    return not address.is_global or address.is_multicast or address == _OF_THE_CLOUD


def hold_public(host: str) -> None:
    """Raises RefusedError for a host that is a local address."""
    if is_local(host):
        raise RefusedError(f"it redirects to the local address {host}")


def redirected(place: str, target: str) -> str:
    """The URL that a redirect leads to; it may hold secrets and is not shown.

    Args:
        place: URL that was asked for.
        target: what the server says.

    Raises:
        RefusedError: it must not be followed, whatever address its host has.
    """
    try:
        parts = urlsplit(urldefrag(urljoin(place, target))[0])
        host = parts.hostname or ""
    except ValueError:
        raise RefusedError("it redirects to what is no URL") from None
    if parts.scheme not in ("http", "https") or not host:
        raise RefusedError(f"it redirects to a place that is not on the web ({parts.scheme}:)")
    if place.startswith("https:") and parts.scheme == "http":
        raise RefusedError(f"it redirects from https to http ({host})")
    if "@" in parts.netloc:
        raise RefusedError(f"it redirects to a URL with a user or password ({host})")
    return parts.geturl()
