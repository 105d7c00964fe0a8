"""Which picture meets which sound: balance, and nobody meets itself."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l3core.avc.pairs import Choice, Encoded, Place, choose_pairs, pairs_of


def encoded(name, number):
    return Encoded(
        audio=f"{name} sound {number}".encode(),
        image=f"{name} picture {number}".encode(),
        audio_start_us=number,
        image_us=1000 + number,
        gain=1.0 + number,
        saturation=2.0 + number,
        brightness=3.0 + number,
        box=(number, 7),
        flipped=number % 2,
    )


def test_two_videos_by_hand():
    """Of two videos there is but one way to go wrong: each picture with the other's sound."""
    chosen = choose_pairs([2, 2], per_video=2, seed=0, ids=["a", "b"])
    assert Counter(choice.label for choice in chosen) == {1: 2, 0: 2}
    right = {choice.image for choice in chosen if choice.label}
    wrong = [choice for choice in chosen if not choice.label]
    assert {place.video for place in right} == {0, 1}
    assert sorted((choice.image.video, choice.audio.video) for choice in wrong) == [(0, 1), (1, 0)]
    # a moment is in a right pair or in wrong ones
    assert {choice.image for choice in wrong} == {Place(p.video, 1 - p.moment) for p in right}
    assert {choice.audio for choice in wrong} == {choice.image for choice in wrong}


@given(
    moments=st.lists(st.integers(1, 9), min_size=2, max_size=12),
    half=st.integers(1, 6),
    seed=st.integers(0, 2**40),
)
@settings(max_examples=150, deadline=None)
def test_balance_whatever_there_is(moments, half, seed):
    ids = [f"video {number}" for number in range(len(moments))]
    chosen = choose_pairs(moments, per_video=2 * half, seed=seed, ids=ids)
    assert len(chosen) == 2 * half * len(moments)
    for label in (0, 1):
        own = [choice for choice in chosen if choice.label == label]
        each = dict.fromkeys(range(len(moments)), half)
        assert Counter(choice.image.video for choice in own) == each
        assert Counter(choice.audio.video for choice in own) == each
    for choice in chosen:
        assert (choice.image.video == choice.audio.video) == bool(choice.label)
        assert choice.image.moment < moments[choice.image.video]
        assert choice.audio.moment < moments[choice.audio.video]
    assert choose_pairs(moments, per_video=2 * half, seed=seed, ids=ids) == chosen


def test_with_enough_moments_none_is_used_twice():
    chosen = choose_pairs([6] * 5, per_video=6, seed=3, ids=list("abcde"))
    assert max(Counter(choice.image for choice in chosen).values()) == 1
    assert max(Counter(choice.audio for choice in chosen).values()) == 1
    assert {choice.image for choice in chosen if choice.label}.isdisjoint(
        choice.image for choice in chosen if not choice.label
    )


def test_partners_differ_and_labels_are_mixed():
    chosen = choose_pairs([16] * 30, per_video=16, seed=0, ids=[str(n) for n in range(30)])
    partners = {choice.audio.video for choice in chosen if choice.image.video == 0 and not choice.label}
    assert len(partners) > 4
    first = sum(choice.label for choice in chosen[:100])
    assert 30 < first < 70


def test_other_seeds_and_videos_draw_otherwise():
    drawn = [
        choose_pairs([4] * 8, per_video=4, seed=seed, ids=[f"{name}{n}" for n in range(8)])
        for seed, name in ((0, "a"), (1, "a"), (0, "b"))
    ]
    assert drawn[0] != drawn[1]
    assert drawn[0] != drawn[2]


@pytest.mark.parametrize("moments", [[], [5]])
def test_nobody_to_be_wrong_with(moments):
    assert choose_pairs(moments, per_video=4, seed=0, ids=["a"][: len(moments)]) == []


def test_a_pair_has_what_belongs_to_its_halves():
    videos = {name: [encoded(name, n) for n in range(2)] for name in ("b", "a")}
    pairs = pairs_of(videos, per_video=2, seed=0)
    assert pairs == pairs_of(dict(sorted(videos.items())), per_video=2, seed=0)
    assert len(pairs) == 4
    for pair in pairs:
        image = int(pair.image.split()[-1])
        audio = int(pair.audio.split()[-1])
        assert pair.image == f"{pair.image_video} picture {image}".encode()
        assert pair.audio == f"{pair.audio_video} sound {audio}".encode()
        assert pair.label == (pair.image_video == pair.audio_video)
        assert (pair.image_us, pair.audio_start_us) == (1000 + image, audio)
        assert (pair.gain, pair.saturation, pair.brightness) == (1.0 + audio, 2.0 + image, 3.0 + image)
        assert (pair.box, pair.flipped) == ((image, 7), image % 2)


def test_the_label_is_of_the_moment():
    assert Choice(Place(1, 2), Place(1, 2)).label == 1
    assert Choice(Place(1, 2), Place(0, 2)).label == 0
