"""How large an object on the web may be: what is fetched from strangers has a limit."""

import os

LIMIT = "L3FLOW_MAX_DOWNLOAD"  # in bytes; processes that this one starts inherit it
DEFAULT_BYTES = 10**9


def limit_downloads(most: int | None) -> None:
    """Set the limit in bytes, for this process and those that it starts; None for the default."""
    os.environ[LIMIT] = str(DEFAULT_BYTES if most is None else most)


def max_download() -> int:
    """Bytes of an object on the web that are read at most."""
    return int(os.environ.get(LIMIT, DEFAULT_BYTES))


def too_large() -> str:
    """What is said of an object that is larger."""
    return f"larger than {max_download():,} bytes: --max-download allows more"
