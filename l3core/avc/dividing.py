"""Which split a video is in, and how a split is cut into shards: by hashes, so that they stay."""

import hashlib
import posixpath
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from l3core.storage import StoredObject

# Of the videos, as the paper has it: 80/10/10 (facts of the original: shuffled by video).
TRAIN, VALID = 0.8, 0.1
PAIRS_A_FILE = 1024
MOST_VIDEOS = 256  # in a shard: what is lost if it is interrupted

SplitOf = Callable[[str], str | None]
GroupOf = Callable[[str], str]


class Video(NamedTuple):
    """A video that is to be sampled.

    Attributes:
        video_id: path below the root.
        split: that it is in.
        listed: the object.
        checksum: of its content, where it is known.
        group: what it is a part of; no two of a group are a wrong pair.
    """

    video_id: str
    split: str
    listed: StoredObject
    checksum: str | None = None
    group: str = ""


def split_by_hash(seed: int) -> SplitOf:
    """80/10/10 by seed and id: a video stays where it is, whatever comes beside it."""

    def split_of(video_id: str) -> str:
        place = _hash("split", seed, video_id) / 2**64
        return "train" if place < TRAIN else "valid" if place < TRAIN + VALID else "test"

    return split_of


def split_by_subset(splits: Mapping[str, str]) -> SplitOf:
    """As a subset says; an object's id there is its file name's stem. None: it is not in the subset."""

    def split_of(video_id: str) -> str | None:
        return splits.get(_stem(video_id))

    return split_of


def group_by_subset(videos: Mapping[str, str]) -> GroupOf:
    """Segments of one video of a subset are a group; `videos` has the video of each file's stem."""

    def group_of(video_id: str) -> str:
        return videos.get(_stem(video_id), video_id)

    return group_of


def alone(video_id: str) -> str:
    """Each video is a group of its own."""
    return video_id


def _stem(video_id: str) -> str:
    return posixpath.splitext(posixpath.basename(video_id))[0]


def videos_a_shard(per_video: int) -> int:
    """Videos whose pairs fill a file."""
    return min(MOST_VIDEOS, max(2, PAIRS_A_FILE // per_video))


def cut(videos: Iterable[Video], *, seed: int, per_shard: int) -> list[tuple[Video, ...]]:
    """Equal shards of one split, in an order shuffled by seed and id.

    Their sizes differ by one at most; there is none of a single video where there are two. Those of one
    group are spread evenly.
    """
    groups: dict[str, list[Video]] = defaultdict(list)
    for video in sorted(videos):
        groups[video.group or video.video_id].append(video)
    ordered = [video for _, video in sorted(_places(groups.values(), seed))]
    count = max(1, min(round(len(ordered) / per_shard), len(ordered) // 2))
    bounds = [len(ordered) * number // count for number in range(count + 1)]
    return [tuple(ordered[start:stop]) for start, stop in pairwise(bounds) if stop > start]


def _places(groups: Iterable[Sequence[Video]], seed: int) -> Iterator[tuple[int, Video]]:
    for videos in groups:
        first = _hash("order", seed, videos[0].video_id)
        for number, video in enumerate(videos):
            yield (number * 2**64 + first) // len(videos), video


def shard_name(videos: Sequence[Video], settings: str) -> str:
    """A name for a shard that says what is in it: the same objects and settings have the same name."""
    facts = [
        f"{each.video_id}\0{each.split}\0{each.listed.size_bytes}\0{each.listed.version}\0{each.group}"
        for each in videos
    ]
    return hashlib.sha256("\n".join([settings, *facts]).encode()).hexdigest()[:16]


def _hash(what: str, seed: int, video_id: str) -> int:
    digest = hashlib.sha256(f"{what}\0{seed}\0{video_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big")
