"""The file of a subset: its segments, labels and splits, and what the files of its videos are called."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from l3core import storage
from l3core.avc.audioset import LABEL_SEPARATOR, SHOWN, Segment, read_lines
from l3core.avc.ontology import Ontology
from l3core.avc.subset import SPLITS
from l3core.errors import UsageError

COLUMNS = ("ytid", "start_s", "end_s", "labels", "split")


class Times(NamedTuple):
    """Seconds of a video that are to be fetched."""

    video: str
    start_s: float
    end_s: float


def write_subset(
    uri: str, segments: Sequence[Segment], splits: Mapping[str, str], ontology: Ontology
) -> None:
    """Write a subset as CSV: `ytid,start_s,end_s,labels,split`, labels by name with `;` between them."""
    with storage.writing(uri) as binary:
        text = io.TextIOWrapper(binary, encoding="utf-8", newline="", write_through=True)
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(COLUMNS)
        for video, start_s, end_s, labels in segments:
            names = LABEL_SEPARATOR.join(ontology.names.get(label, label) for label in labels)
            rows.writerow((video, f"{start_s:.3f}", f"{end_s:.3f}", names, splits[video]))
        text.detach()


def file_names(segments: Iterable[Segment]) -> dict[str, Times]:
    """What is to be fetched, by the name that its file has, without an ending: the video's id.

    Where a video has several segments the start follows, in milliseconds; and the end, where two begin
    together.

    Raises:
        UsageError: two would have the same name.
    """
    found = list(dict.fromkeys(Times(*segment[:3]) for segment in segments))
    of_video = Counter(times.video for times in found)
    begun = Counter((times.video, _ms(times.start_s)) for times in found)
    named: dict[str, Times] = {}
    for times in found:
        name = times.video
        if of_video[times.video] > 1:
            name += f"_{_ms(times.start_s)}"
        if begun[times.video, _ms(times.start_s)] > 1:
            name += f"_{_ms(times.end_s)}"
        if name in named:
            raise UsageError(f"{named[name].video} and {times.video} would both have the file {name}")
        named[name] = times
    return named


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


class Files(NamedTuple):
    """The files of a subset, by their names without an ending.

    Attributes:
        splits: name -> split that it is in.
        videos: name -> the video that it is of.
    """

    splits: dict[str, str]
    videos: dict[str, str]


def read_files(uri: str) -> Files:
    """The files of a subset, with their splits and videos.

    Raises:
        UsageError: it is no subset.
    """
    segments, splits = _read(uri)
    if len(splits) < len({segment.video for segment in segments}):
        raise UsageError(f"{uri} is no subset: needs the columns {', '.join(COLUMNS)}")
    videos = {name: times.video for name, times in file_names(segments).items()}
    return Files({name: splits[video] for name, video in videos.items()}, videos)


def read_named(uri: str) -> dict[str, Times]:
    """What is to be fetched of a subset, or of AudioSet's own lists, by the names of its files.

    Raises:
        UsageError: it is neither.
    """
    return file_names(_read(uri)[0])


def _read(uri: str) -> tuple[list[Segment], dict[str, str]]:
    """The segments of a list, and video -> split if it has splits."""
    splits: dict[str, str] = {}
    segments = []
    for number, segment, split in read_lines(uri):
        segments.append(segment)
        if split is None:
            continue
        if split not in SPLITS:
            wrong = f"split needs {', '.join(SPLITS)}, got {split[:SHOWN]!r}"
            raise UsageError(f"{uri} line {number}: {wrong}")
        if splits.setdefault(segment.video, split) != split:
            wrong = f"{segment.video} needs one split, got {splits[segment.video]} and {split}"
            raise UsageError(f"{uri} line {number}: {wrong}")
    return segments, splits
