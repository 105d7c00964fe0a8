"""Checksums of an object's content: what its store says, and what is computed from its bytes.

As text, the kind first: `crc32c:e3069283`, `md5:...`, `etag:...`. CRC32C is what Google's store keeps of
every object, and fast enough (14 GB/s measured) to be computed of every local file that is embedded.
"""

import base64
import hashlib
import io
import re
from typing import Any, BinaryIO

import google_crc32c

CHUNK_BYTES = 1 << 20
COMPUTED = ("crc32c", "md5")


def checksum_in(info: dict[str, Any]) -> str | None:
    """The checksum in a file system's description of an object; None if its store gives none."""
    for key, kind in (("crc32c", "crc32c"), ("md5Hash", "md5")):  # Google's, in base64
        if info.get(key):
            return f"{kind}:{base64.b64decode(info[key]).hex()}"
    etag = str(info.get("ETag") or "").strip('"')  # S3's: the same only if the content is
    return f"etag:{etag}" if etag else None


def checksum_of(file: BinaryIO, kind: str = "crc32c") -> str:
    """Read a file from where it is to its end.

    Args:
        file: open for reading.
        kind: one of `COMPUTED`.
    """
    digest: Any = google_crc32c.Checksum() if kind == "crc32c" else hashlib.md5(usedforsecurity=False)
    while chunk := file.read(CHUNK_BYTES):
        digest.update(chunk)
    return f"{kind}:{digest.hexdigest().decode() if kind == 'crc32c' else digest.hexdigest()}"


def expected_kind(checksum: str | None) -> str | None:
    """The kind to compute of content that shall have this checksum; None if none can be.

    S3's ETag of an object that came in one part is its MD5; of others, and of encrypted ones, it is not.
    """
    kind, _, value = (checksum or "").partition(":")
    if kind in COMPUTED:
        return kind
    return "md5" if kind == "etag" and re.fullmatch("[0-9a-f]{32}", value) else None


def proves(content: bytes, checksum: str | None) -> bool:
    """Whether content has a checksum that its store told."""
    kind = expected_kind(checksum)
    if kind is None:
        return False
    return checksum_of(io.BytesIO(content), kind).partition(":")[2] == str(checksum).partition(":")[2]
