"""Numbers and names as people read them."""

import re
from collections.abc import Mapping

# How Python shows an error of ours that another process met: its message alone is for people.
OUR_ERROR = re.compile(r"^(?:l3core\.errors\.\w+|RunError|StorageError|UsageError): ")


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, whichever reads best."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"


def size(count: float) -> str:
    """Bytes, with a unit of a thousand."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def printable(text: str) -> str:
    """A name in one line, without characters that a terminal would act on.

    Controls, line breaks, what turns the direction of text around and what has no width are escaped as
    Python does it.
    """
    return text if text.isprintable() else "".join(map(_escaped, text))


def visible(text: str) -> str:
    """The same of text that may have several lines and tabs."""
    if text.isprintable():
        return text
    return "".join(char if char in "\n\t" else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    if char.isprintable():
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def rounding_in_words(found: Mapping[str, float]) -> str:
    """What `l3core.rounding` has found."""
    return f"relative L2 {found['relative_l2']:.2g}, cosine {found['cosine']:.7f}"


def problem_of(message: str) -> str:
    """What a failed run met, without how its table is."""
    return re.sub(r"^the run failed, [^:]*: |^interrupted; ", "", message)


def last_line(error: BaseException) -> str:
    """The last line of what an error says: Beam puts a worker's traceback in front of it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return OUR_ERROR.sub("", re.sub(r" \[while running .*\]$", "", lines[-1]))
