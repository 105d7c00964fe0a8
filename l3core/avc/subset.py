"""A subset of AudioSet: segments that rules choose, each video in one split.

The paper's are of music (296 K videos) and of environmental sound (195 K): Cramer et al. 2019, section
3.1. Its authors shuffled the files that they had once, and took the first tenth to validate with, the
next to test with and the rest to train with (marl/l3embedding, data/avc/subsets.py).
"""

import random
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from l3core.avc.audioset import Segment
from l3core.avc.ontology import Ontology
from l3core.avc.rules import Chooser
from l3core.errors import UsageError

PAPER_VIDEOS = {"music": 296_000, "environmental": 195_000}
SPLITS = ("train", "valid", "test")
SHARE = 0.1  # of the videos that validate, and of those that test


class Chosen(NamedTuple):
    """What rules chose.

    Attributes:
        segments: sorted by video and start, each once.
        seen: segments that there were.
        repeated: chosen ones that were there before, with the same times.
        unknown: label -> segments with it, of labels that the ontology does not have.
    """

    segments: tuple[Segment, ...]
    seen: int
    repeated: int
    unknown: Mapping[str, int]

    @property
    def several(self) -> int:
        """Videos with more than one segment."""
        counts = Counter(segment.video for segment in self.segments)
        return sum(count > 1 for count in counts.values())


def choose(segments: Iterable[Segment], chooser: Chooser, ontology: Ontology) -> Chosen:
    """Choose segments by their labels."""
    found: dict[tuple[str, float, float], Segment] = {}
    unknown: Counter[str] = Counter()
    seen = repeated = 0
    for segment in segments:
        seen += 1
        unknown.update(label for label in segment.labels if label not in ontology.names)
        if not chooser.chooses(segment.video, segment.labels):
            continue
        if (before := found.get(segment[:3])) is not None:
            repeated += 1
            labels = tuple(dict.fromkeys(before.labels + segment.labels))
            segment = segment._replace(labels=labels)
        found[segment[:3]] = segment
    return Chosen(tuple(sorted(found.values())), seen, repeated, dict(unknown))


def split_videos(
    videos: Iterable[str], *, seed: int, valid: float = SHARE, test: float = SHARE
) -> dict[str, str]:
    """The split of each video: shuffled once, then valid, test and train, in this order.

    The same videos in any order and the same seed give the same splits.

    Args:
        videos: ids.
        seed: of the shuffle.
        valid: share of the videos, rounded down.
        test: the same.

    Raises:
        UsageError: the shares leave nothing to train with.
    """
    if min(valid, test) < 0 or not valid + test < 1:
        raise UsageError(f"shares that validate and test need a sum below 1, got {valid:g} and {test:g}")
    shuffled = sorted(set(videos))
    random.Random(seed).shuffle(shuffled)
    first, last = int(len(shuffled) * valid), int(len(shuffled) * valid) + int(len(shuffled) * test)
    parts = {"valid": shuffled[:first], "test": shuffled[first:last], "train": shuffled[last:]}
    return {video: split for split, part in parts.items() for video in part}
