"""Right and wrong pairs of the moments of some videos.

Each video gives as many pictures and as many sounds as any other, to right and to wrong pairs alike, so
that neither a picture nor a sound alone tells the label.
"""

import hashlib
from collections.abc import Mapping, Sequence
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
    moments: Sequence[int], *, per_video: int, seed: int, ids: Sequence[str]
) -> list[Choice]:
    """Pairs of some videos of one split, in random order.

    Of `per_video` moments of each video one half become right pairs. Of the others, the n-th pictures of
    all videos are matched with the n-th sounds along a random cycle through all videos: no video meets
    itself, and each gives one picture and one sound. A video with fewer moments gives some of them
    again.

    Args:
        moments: how many there are of each video, at least one.
        per_video: pairs for each video; even.
        seed: of the corpus.
        ids: of the videos; with the seed they decide what is drawn.

    Returns:
        `per_video * len(moments)` pairs; none of fewer than two videos.
    """
    videos = len(moments)
    if videos < 2:
        return []
    generator = np.random.default_rng(_entropy(seed, ids))
    # each video's moments in an order of its own
    orders = [np.resize(generator.permutation(count), per_video) for count in moments]
    half = per_video // 2
    chosen = []
    for turn in range(half):
        right = [Place(video, int(orders[video][turn])) for video in range(videos)]
        chosen += [Choice(place, place) for place in right]
    for turn in range(half, per_video):
        cycle = generator.permutation(videos).tolist()
        for video, other in zip(cycle, cycle[1:] + cycle[:1]):
            image, audio = (Place(each, int(orders[each][turn])) for each in (video, other))
            chosen.append(Choice(image, audio))
    return [chosen[place] for place in generator.permutation(len(chosen))]


def _entropy(seed: int, ids: Sequence[str]) -> list[int]:
    digest = hashlib.sha256("\0".join(ids).encode()).digest()
    return [seed, int.from_bytes(digest[:8], "little")]


def pairs_of(videos: Mapping[str, Sequence[Encoded]], *, per_video: int, seed: int) -> list[Pair]:
    """The pairs of some videos of one split; arguments and order as of `choose_pairs`.

    Args:
        videos: id -> its moments, at least one.
        per_video: pairs for each video.
        seed: of the corpus.
    """
    ids = sorted(videos)
    counts = [len(videos[each]) for each in ids]
    chosen = choose_pairs(counts, per_video=per_video, seed=seed, ids=ids)
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
