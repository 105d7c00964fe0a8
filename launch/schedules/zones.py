"""Time zones: their names, and which one this machine is in."""

import difflib
import os
import zoneinfo
from pathlib import Path

from l3core.errors import UsageError

UTC = "Etc/UTC"
LOCALTIME = Path("/etc/localtime")


def checked_zone(name: str) -> str:
    """A name of the IANA database.

    Raises:
        UsageError: it is none.
    """
    known = zoneinfo.available_timezones()
    if name in known:
        return name
    near = difflib.get_close_matches(name, known, n=1)
    hint = f", did you mean {near[0]}?" if near else ", as Europe/Berlin"
    raise UsageError(f"needs a time zone of the IANA database, got {name!r}{hint}")


def is_of_machine(name: str, localtime: Path = LOCALTIME) -> bool:
    """Whether clocks of this machine go by that zone."""
    own = localtime if localtime.exists() else _file_of(UTC)
    other = _file_of(name)
    return own is not None and other is not None and own.read_bytes() == other.read_bytes()


def zone_of_machine(localtime: Path = LOCALTIME) -> str | None:
    """Name of the machine's zone; None if it has no name."""
    if not localtime.exists():
        return UTC
    real = os.path.realpath(localtime)
    names = (real.removeprefix(f"{os.path.realpath(each)}/") for each in zoneinfo.TZPATH)
    return next((name for name in names if name in zoneinfo.available_timezones()), None)


def _file_of(name: str) -> Path | None:
    paths = (Path(folder) / name for folder in zoneinfo.TZPATH)
    return next((path for path in paths if path.is_file()), None)
