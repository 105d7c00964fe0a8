"""AudioSet's lists of segments: seconds of videos with labels, as they are published.

Comment lines, of which the last names the columns (`# YTID, start_seconds, end_seconds,
positive_labels`), then a segment a line, its labels in quotes with commas between them.
"""

import csv
import io
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from l3core import storage
from l3core.errors import UsageError

VIDEO_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
LABEL_SEPARATOR = ";"  # in a subset's file: there they are names, which have commas
# What the columns are; those of labels are called by what is between two of them.
NAMES = {
    "ytid": "video",
    "video_id": "video",
    "start_seconds": "start",
    "start_s": "start",
    "end_seconds": "end",
    "end_s": "end",
    "positive_labels": ",",
    "labels": LABEL_SEPARATOR,
    "split": "split",
}
PUBLISHED = ("video", "start", "end", ",")
NEEDED = "YTID, start_seconds, end_seconds, positive_labels"
LINES_TOLD = 10_000  # progress is told after so many
LONGEST_S = 1e7  # a hundred days
SHOWN = 40  # characters of what is wrong: a field may be long


class Segment(NamedTuple):
    """Seconds of a video.

    Attributes:
        video: its id.
        start_s, end_s: within it.
        labels: ids of AudioSet's ontology, or names.
    """

    video: str
    start_s: float
    end_s: float
    labels: tuple[str, ...] = ()


class Line(NamedTuple):
    """A line that has a segment.

    Attributes:
        number: of the line in its file, from 1.
        segment: that it has.
        split: what is in the column of that name; None: there is no such column.
    """

    number: int
    segment: Segment
    split: str | None


def read_segments(uri: str, told: Callable[[int], None] | None = None) -> Iterator[Segment]:
    """Segments of a list, as they come; arguments and errors as of `read_lines`."""
    return (line.segment for line in read_lines(uri, told))


def read_lines(uri: str, told: Callable[[int], None] | None = None) -> Iterator[Line]:
    """Lines of a list, as they come; also of a subset's file, whose columns have a name each.

    Args:
        uri: the CSV; a byte order mark, blank lines, and either kind of line break are fine.
        told: called now and then with the bytes read so far.

    Raises:
        UsageError: no CSV of segments, or a line that is none; the message has its number.
    """
    try:
        with storage.reading(uri) as binary:
            text = io.TextIOWrapper(binary, encoding="utf-8-sig", newline="")
            for place, line in enumerate(_parsed(uri, text)):
                if told is not None and place % LINES_TOLD == 0:
                    told(binary.tell())
                yield line
    except FileNotFoundError:
        raise UsageError(f"{uri}: there is no such file") from None
    except IsADirectoryError:
        raise UsageError(f"{uri} is a folder, needs a CSV file") from None
    except UnicodeDecodeError:
        raise UsageError(f"{uri} is no CSV in UTF-8; needs the columns {NEEDED}") from None


def _parsed(uri: str, text: io.TextIOWrapper) -> Iterator[Line]:
    columns: Sequence[str] | None = None
    lines = csv.reader(text, skipinitialspace=True, strict=True)
    try:
        for fields in lines:
            if not any(field.strip() for field in fields):
                continue
            if named := _columns(fields):
                columns = named
            elif not fields[0].startswith("#"):
                columns = columns or PUBLISHED  # the comments were taken off
                found = _found(fields, columns)
                yield Line(lines.line_num, _segment(found), found.get("split"))
    except UnicodeDecodeError:
        raise
    except (csv.Error, ValueError) as error:
        raise UsageError(f"{uri} line {lines.line_num}: {error}") from None


def _columns(fields: Sequence[str]) -> tuple[str, ...] | None:
    """What the fields of a line are that names the columns."""
    names = tuple(NAMES.get(field.strip().lstrip("#").strip().lower(), "") for field in fields)
    return names if {"video", "start", "end"} <= set(names) else None


def _found(fields: Sequence[str], columns: Sequence[str]) -> dict[str, str]:
    """What a line has, by column."""
    if len(fields) != len(columns):
        raise ValueError(f"needs {len(columns)} fields ({NEEDED}), got {len(fields)}")
    if any("\0" in field for field in fields):
        raise ValueError("needs text, got a NUL byte")
    return dict(zip(columns, (field.strip() for field in fields)))


def _segment(found: Mapping[str, str]) -> Segment:
    video = found["video"]
    if not VIDEO_ID.fullmatch(video):
        raise ValueError(f"the id of a video has letters, digits, - and _ only, got {video[:SHOWN]!r}")
    start_s, end_s = _seconds(found["start"]), _seconds(found["end"])
    # in milliseconds: so they are in a subset's file, and in the names of others
    if not 0 <= round(start_s, 3) < round(end_s, 3):
        raise ValueError(f"needs 0 <= start < end, got {start_s:g} to {end_s:g} s")
    labels = [label for mark in ",;" for label in found.get(mark, "").split(mark)]
    return Segment(video, start_s, end_s, tuple(label.strip() for label in labels if label.strip()))


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"needs seconds, got {text[:SHOWN]!r}")
    if value > LONGEST_S:
        raise ValueError(f"needs seconds up to {LONGEST_S:.0f}, got {text[:SHOWN]!r}")
    return value
