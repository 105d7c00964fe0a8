"""Which split a video is in, and how a split is cut into shards: by hashes, so that they stay."""

import hashlib
import posixpath
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from l3core.storage import StoredObject

# Of the videos, as the paper has it: 80/10/10 (facts of the original: shuffled by video).
TRAIN, VALID = 0.8, 0.1
PAIRS_A_FILE = 1024
MOST_VIDEOS = 256  # in a shard: what is lost if it is interrupted

SplitOf = Callable[[str], str | None]


class Video(NamedTuple):
    """A video that is to be sampled.

    Attributes:
        video_id: path below the root.
        split: that it is in.
        listed: the object.
        checksum: of its content, where it is known.
    """

    video_id: str
    split: str
    listed: StoredObject
    checksum: str | None = None


def split_by_hash(seed: int) -> SplitOf:
    """80/10/10 by seed and id: a video stays where it is, whatever comes beside it."""

    def split_of(video_id: str) -> str:
        place = _hash("split", seed, video_id) / 2**64
        return "train" if place < TRAIN else "valid" if place < TRAIN + VALID else "test"

    return split_of


def split_by_subset(splits: Mapping[str, str]) -> SplitOf:
    """As a subset says; an object's id there is its file name's stem. None: it is not in the subset."""

    def split_of(video_id: str) -> str | None:
        return splits.get(posixpath.splitext(posixpath.basename(video_id))[0])

    return split_of


def videos_a_shard(per_video: int) -> int:
    """Videos whose pairs fill a file."""
    return min(MOST_VIDEOS, max(2, PAIRS_A_FILE // per_video))


def cut(videos: Iterable[Video], *, seed: int, per_shard: int) -> list[tuple[Video, ...]]:
    """Equal shards of one split, in an order shuffled by seed and id.

    Their sizes differ by one at most; there is none of a single video where there are two.
    """
    ordered = sorted(videos, key=lambda video: (_hash("order", seed, video.video_id), video.video_id))
    count = max(1, min(round(len(ordered) / per_shard), len(ordered) // 2))
    bounds = [len(ordered) * number // count for number in range(count + 1)]
    return [tuple(ordered[start:stop]) for start, stop in pairwise(bounds) if stop > start]


def shard_name(videos: Sequence[Video], settings: str) -> str:
    """A name for a shard that says what is in it: the same objects and settings have the same name."""
    facts = [
        f"{each.video_id}\0{each.split}\0{each.listed.size_bytes}\0{each.listed.version}"
        for each in videos
    ]
    return hashlib.sha256("\n".join([settings, *facts]).encode()).hexdigest()[:16]


def _hash(what: str, seed: int, video_id: str) -> int:
    digest = hashlib.sha256(f"{what}\0{seed}\0{video_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big")
