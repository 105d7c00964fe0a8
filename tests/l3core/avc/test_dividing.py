"""Splits and shards: stable, about as large as they should be, and nobody alone."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l3core.avc.dividing import (
    Video,
    cut,
    group_by_subset,
    shard_name,
    split_by_hash,
    split_by_subset,
    videos_a_shard,
)
from l3core.storage import StoredObject


def video(name, **changed):
    return Video(str(name), "train", StoredObject(f"/v/{name}", 5, "1")._replace(**changed))


def test_eighty_ten_ten():
    """Of 10,000 draws with p = 0.1 a share is off by 0.003 (one deviation); 0.015 is five."""
    counts = Counter(map(split_by_hash(0), map(str, range(10_000))))
    assert counts["train"] / 10_000 == pytest.approx(0.8, abs=0.02)
    assert counts["valid"] / 10_000 == pytest.approx(0.1, abs=0.015)
    assert counts["test"] / 10_000 == pytest.approx(0.1, abs=0.015)


def test_a_split_depends_on_seed_and_id_alone():
    """What it is today it has to be in years: videos must not change their split."""
    found = ["".join(split_by_hash(seed)(f"v{n}.mp4")[1] for n in range(12)) for seed in (0, 1)]
    assert found == ["rrrrrererrer", "arrrerrrrrrr"]


def test_a_subset_knows_videos_by_their_stem():
    split_of = split_by_subset({"abc": "valid", "d.e": "test"})
    assert split_of("some/folder/abc.webm") == "valid"
    assert split_of("d.e.mp4") == "test"
    assert split_of("d.mp4") is None


@given(count=st.integers(1, 300), per_shard=st.integers(2, 70))
@settings(max_examples=100, deadline=None)
def test_shards_are_equal_and_nobody_is_alone(count, per_shard):
    videos = [video(number) for number in range(count)]
    shards = cut(videos, seed=0, per_shard=per_shard)
    assert sorted(each for shard in shards for each in shard) == sorted(videos)
    sizes = {len(shard) for shard in shards}
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= 1.5 * per_shard + 1
    assert min(sizes) >= min(2, count)
    assert cut(videos[::-1], seed=0, per_shard=per_shard) == shards


@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=60), per_shard=st.integers(2, 20))
@settings(max_examples=100, deadline=None)
def test_those_of_a_group_are_spread(sizes, per_shard):
    """A shard has at most one more of a group than its share, and one at either end."""
    videos = [
        video(f"{group}_{number}")._replace(group=str(group))
        for group, size in enumerate(sizes)
        for number in range(size)
    ]
    shards = cut(videos, seed=0, per_shard=per_shard)
    assert sorted(each for shard in shards for each in shard) == sorted(videos)
    assert cut(videos[::-1], seed=0, per_shard=per_shard) == shards
    ordered = [each.group for shard in shards for each in shard]
    for group, size in enumerate(sizes):
        places = [place for place, each in enumerate(ordered) if each == str(group)]
        for other, others in enumerate(sizes):  # between two of them are as many of the others
            between = [ordered[one:two].count(str(other)) for one, two in pairwise(places)]
            assert all(count <= others / size + 1 for count in between)


def test_segments_of_a_subset_are_of_one_video():
    group_of = group_by_subset({"ID_0": "ID", "ID_10000": "ID", "x": "x"})
    assert [group_of(each) for each in ("a/ID_0.mp4", "ID_10000.webm", "x.mp4", "y/z.mp4")] == [
        "ID",
        "ID",
        "x",
        "y/z.mp4",
    ]
    assert len({shard_name([video(1)._replace(group=group)], "s") for group in "ab"}) == 2


def test_shards_are_mixed_by_the_seed():
    videos = [video(number) for number in range(100, 200)]
    first, second = (cut(videos, seed=seed, per_shard=50) for seed in (0, 1))
    assert list(first[0]) != sorted(first[0])
    assert first != second


def test_a_file_has_about_a_thousand_pairs():
    assert [videos_a_shard(each) for each in (16, 2, 64, 5000)] == [64, 256, 16, 2]


def test_a_shard_is_called_by_what_is_in_it():
    names = {
        shard_name([video(1), video(2)], "s"),
        shard_name([video(2), video(1)], "s"),
        shard_name([video(1), video(2)], "t"),
        shard_name([video(1)], "s"),
        shard_name([video(1), video(2, version="2")], "s"),
        shard_name([video(1), video(2, size_bytes=6)], "s"),
        shard_name([video(1), video(2)._replace(split="test")], "s"),
    }
    assert len(names) == 7
    again = [video(1), video(2, checksum="crc32c:00", within="/v")]
    assert shard_name(again, "s") == shard_name([video(1), video(2)], "s")
