"""Right and wrong pairs of the moments of some videos.

Each video gives as many pictures and as many sounds as any other, to right and to wrong pairs alike, so
that neither a picture nor a sound alone tells the label.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from l3core.avc.records import Pair


class Encoded(NamedTuple):
    """A moment as it lies in records; fields as of `Pair`."""

    audio: bytes
    image: bytes
    audio_start_us: int
    image_us: int
    gain: float
    saturation: float
    brightness: float
    box: tuple[int, int]
    flipped: int


class Place(NamedTuple):
    """A moment of a video: which of the videos, which of its moments."""

    video: int
    moment: int


class Choice(NamedTuple):
    """A pair to be: the moments of its picture and of its sound."""

    image: Place
    audio: Place

    @property
    def label(self) -> int:
        """1: of one moment."""
        return int(self.image == self.audio)


def choose_pairs(
    moments: Sequence[int],
    *,
    per_video: int,
    seed: int,
    ids: Sequence[str],
    groups: Sequence[str] | None = None,
) -> list[Choice]:
    """Pairs of some videos of one split, in random order.

    Of `per_video` moments of each video one half become right pairs. Of the others, the n-th pictures of
    all videos are matched with the n-th sounds along a random cycle through all videos: no video meets
    itself or another one of its group, and each gives one picture and one sound. A video with fewer
    moments gives some of them again.

    A group of more than half of the videos has too few partners: some of it, by turns, give neither a
    right nor a wrong pair.

    Args:
        moments: how many there are of each video, at least one.
        per_video: pairs for each video; even.
        seed: of the corpus.
        ids: of the videos; with the seed they decide what is drawn.
        groups: of the videos, parts of one recording; None: each is alone.

    Returns:
        `per_video * len(moments)` pairs; fewer where a group is too large, none of fewer than two.
    """
    members = _members(groups or ids)
    if len(members) < 2:
        return []
    generator = np.random.default_rng(_entropy(seed, ids))
    # each video's moments in an order of its own
    orders = [np.resize(generator.permutation(count), per_video) for count in moments]
    half = per_video // 2
    chosen = []
    for turn in range(half):
        right = [Place(video, int(orders[video][turn])) for video in _taking_part(members, turn)]
        chosen += [Choice(place, place) for place in right]
    for turn in range(half):
        part = _taking_part(members, turn)
        cycle = [part[place] for place in generator.permutation(len(part))]
        for video, other in _partners(cycle, members):
            image, audio = (Place(each, int(orders[each][half + turn])) for each in (video, other))
            chosen.append(Choice(image, audio))
    return [chosen[place] for place in generator.permutation(len(chosen))]


def _members(groups: Sequence[str]) -> list[list[int]]:
    """The videos of each group."""
    found: dict[str, list[int]] = {}
    for video, group in enumerate(groups):
        found.setdefault(group, []).append(video)
    return list(found.values())


def _taking_part(members: Sequence[Sequence[int]], turn: int) -> list[int]:
    """The videos of a turn, in order: of a group never more than there are others."""
    most = max(members, key=len)
    others = sum(map(len, members)) - len(most)
    first = turn * others
    part = {most[(first + place) % len(most)] for place in range(min(len(most), others))}
    return sorted(part.union(*(each for each in members if each is not most)))


def _partners(cycle: Sequence[int], members: Sequence[Sequence[int]]) -> Iterator[tuple[int, int]]:
    """Each video with one of another group: a cycle, group after group, turned by the largest one."""
    group = {video: number for number, each in enumerate(members) for video in each}
    blocks: dict[int, list[int]] = {}
    for video in cycle:
        blocks.setdefault(group[video], []).append(video)
    ordered = [video for block in blocks.values() for video in block]
    step = max(map(len, blocks.values()))
    return zip(ordered, ordered[step:] + ordered[:step])


def _entropy(seed: int, ids: Sequence[str]) -> list[int]:
    digest = hashlib.sha256("\0".join(ids).encode()).digest()
    return [seed, int.from_bytes(digest[:8], "little")]


def pairs_of(
    videos: Mapping[str, Sequence[Encoded]],
    *,
    per_video: int,
    seed: int,
    groups: Mapping[str, str] | None = None,
) -> list[Pair]:
    """The pairs of some videos of one split; arguments and order as of `choose_pairs`.

    Args:
        videos: id -> its moments, at least one.
        per_video: pairs for each video.
        seed: of the corpus.
        groups: id -> what it is a part of; one that is not there is alone.
    """
    ids = sorted(videos)
    counts = [len(videos[each]) for each in ids]
    parts = [(groups or {}).get(each) or each for each in ids]
    chosen = choose_pairs(counts, per_video=per_video, seed=seed, ids=ids, groups=parts)
    return [_pair(choice, ids, videos) for choice in chosen]


def _pair(choice: Choice, ids: Sequence[str], videos: Mapping[str, Sequence[Encoded]]) -> Pair:
    seen, heard = ids[choice.image.video], ids[choice.audio.video]
    image, audio = videos[seen][choice.image.moment], videos[heard][choice.audio.moment]
    return Pair(
        audio=audio.audio,
        image=image.image,
        label=choice.label,
        audio_video=heard,
        image_video=seen,
        audio_start_us=audio.audio_start_us,
        image_us=image.image_us,
        gain=audio.gain,
        saturation=image.saturation,
        brightness=image.brightness,
        box=image.box,
        flipped=image.flipped,
    )
