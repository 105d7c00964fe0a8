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


def test_parts_of_one_recording_by_hand():
    """a and b are of one, and so are c and d: each picture of the former meets a sound of the latter."""
    chosen = choose_pairs([2] * 4, per_video=2, seed=0, ids=list("abcd"), groups=["x", "x", "y", "y"])
    wrong = sorted((one.image.video, one.audio.video) for one in chosen if not one.label)
    assert wrong in ([(0, 2), (1, 3), (2, 0), (3, 1)], [(0, 2), (1, 3), (2, 1), (3, 0)]) or wrong in (
        [(0, 3), (1, 2), (2, 0), (3, 1)],
        [(0, 3), (1, 2), (2, 1), (3, 0)],
    )
    # three of one and one other: they take turns, and there are as many right pairs
    chosen = choose_pairs([6] * 4, per_video=6, seed=0, ids=list("abcd"), groups=["x", "x", "x", "y"])
    for label in (0, 1):
        own = [one for one in chosen if one.label == label]
        assert Counter(one.image.video for one in own) == {0: 1, 1: 1, 2: 1, 3: 3}
        assert Counter(one.audio.video for one in own) == {0: 1, 1: 1, 2: 1, 3: 3}
    assert choose_pairs([2, 2], per_video=2, seed=0, ids=["ID_0", "ID_9"], groups=["ID", "ID"]) == []


@given(
    groups=st.lists(st.sampled_from("aaaabcdefgh"), min_size=2, max_size=12),
    half=st.integers(1, 6),
    seed=st.integers(0, 2**40),
)
@settings(max_examples=150, deadline=None)
def test_no_two_of_a_group_meet(groups, half, seed):
    ids = [f"video {number}" for number in range(len(groups))]
    moments = [3] * len(groups)
    chosen = choose_pairs(moments, per_video=2 * half, seed=seed, ids=ids, groups=groups)
    for one in chosen:
        assert one.image == one.audio or groups[one.image.video] != groups[one.audio.video]
    right, wrong = ([one for one in chosen if one.label == label] for label in (1, 0))
    images = Counter(one.image.video for one in right)
    assert images == Counter(one.image.video for one in wrong)
    assert images == Counter(one.audio.video for one in wrong)
    largest, most = Counter(groups).most_common(1)[0]
    others = len(groups) - most
    if most <= others:
        assert images == dict.fromkeys(range(len(groups)), half)
    else:  # all that can be had
        counts = [images[video] for video, group in enumerate(groups) if group == largest]
        assert sum(counts) == half * others
        assert max(counts) - min(counts) <= 1


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
