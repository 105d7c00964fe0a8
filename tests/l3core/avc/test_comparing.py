"""What is sampled, what waits and what is a duplicate: on rows and listings alone."""

import pytest

from l3core.avc.comparing import Compared, Rules
from l3core.avc.layout import VideoRow
from l3core.storage import StoredObject, absent

FILE = "records/split=train/a.tfrecord"
EVERYTHING = Rules(named=lambda uri: True)


def row(name, *, size=None, **fields):
    size = size or 100 + sum(map(ord, name))
    given = {"split": "train", "pairs": 16, "moments": 16, "file": FILE} | fields
    return VideoRow(f"{name}.mp4", f"/v/{name}.mp4", size, "1", **given)


def bad(name, status, **fields):
    return row(name, status=status, pairs=0, moments=0, file=None, **fields)


def compared(known, listed, *, rules=EVERYTHING, group_of=lambda video_id: video_id, per_shard=4):
    """What a run finds, where `listed` are rows as whose objects the input is."""
    found = Compared({each.video_id: each for each in known}, lambda video_id: "train", rules, group_of)
    for each in listed:
        found.add(each.video_id, each.stored._replace(checksum=each.checksum))
    found.look_for_gone()
    found.let_wait()
    found.look_for_duplicates()
    found.dissolve(per_shard)
    return found


A, B, C = row("a"), row("b"), row("c")
NEW = bad("new", "-")


def test_a_new_video_joins_a_file_whose_videos_are_there():
    found = compared([A, B], [A, B, NEW])
    assert (set(found.todo), found.removed) == ({"a.mp4", "b.mp4", "new.mp4"}, {FILE})


@pytest.mark.parametrize("rules", [EVERYTHING, Rules(), Rules(named=lambda uri: False)])
def test_no_pair_of_a_video_that_is_not_listed_is_lost_to_a_new_one(rules):
    found = compared([A, B, C], [A, B, NEW], rules=rules)
    assert (set(found.todo), found.removed, found.rows) == ({"new.mp4"}, set(), {})


def test_pruned_videos_are_no_hindrance():
    found = compared([A, B, C], [A, B, NEW], rules=Rules(named=lambda uri: True, prune=True))
    assert set(found.todo) == {"a.mp4", "b.mp4", "new.mp4"}
    assert (found.removed, found.dropped) == ({FILE}, {"c.mp4"})


def test_a_changed_video_waits_for_those_that_are_not_listed():
    changed = A._replace(version="2")
    found = compared([A, B, C], [changed, B])
    assert (found.todo, found.removed, found.rows) == ({}, set(), {})
    assert (found.counts["changed"], found.counts["waiting"]) == (1, 1)
    found = compared([A, B, C], [changed, B], rules=Rules(named=lambda uri: True, prune=True))
    assert (set(found.todo), found.dropped) == ({"a.mp4", "b.mp4"}, {"c.mp4"})
    assert found.counts["waiting"] == 0
    found = compared([A, B, C], [changed, B, C])
    assert (set(found.todo), found.removed) == ({"a.mp4", "b.mp4", "c.mp4"}, {FILE})


@pytest.mark.parametrize("status", ["forbidden", "storage-error", "changed"])
def test_what_is_tried_again_makes_no_file_anew(status):
    known = [A, B, C, bad("d", status)]
    found = compared(known, known)
    assert (set(found.todo), found.removed) == ({"d.mp4"}, set())
    assert found.counts == {"unchanged": 3, "tried again": 1}


def test_what_is_tried_again_wakes_nobody_who_is_alone():
    known = [bad("a", "unpaired"), bad("d", "forbidden")]
    assert set(compared(known, known).todo) == {"d.mp4"}


def test_those_that_turned_out_good_join_later():
    known = [A, B, bad("d", "unpaired")]
    found = compared(known, known)
    assert (set(found.todo), found.removed) == ({"a.mp4", "b.mp4", "d.mp4"}, {FILE})
    alone = [bad("d", "unpaired"), bad("e", "unpaired")]
    assert set(compared(alone, alone).todo) == {"d.mp4", "e.mp4"}
    assert not compared(alone, alone, group_of=lambda video_id: "one").todo


def test_who_is_alone_and_not_listed_stays():
    found = compared([A, B, bad("d", "unpaired")], [A, B])
    assert (found.todo, found.removed) == ({}, set())


def test_segments_of_one_video_join_others_even_if_the_file_is_full():
    known = [A, B, C, row("e")]
    new = [bad("x_0", "-"), bad("x_9", "-")]

    def group_of(video_id):
        return video_id.partition("_")[0]

    assert compared(known, known + new).removed == set()
    found = compared(known, known + new, group_of=group_of)
    assert found.removed == {FILE}
    assert {video.group for video in found.todo.values()} == {"a.mp4", "b.mp4", "c.mp4", "e.mp4", "x"}


def test_a_video_that_was_moved_while_it_was_read_is_sampled():
    """Its old name is a row without pairs; the store's checksum says that they are the same."""
    old = bad("old", "vanished", size=50, checksum="crc32c:AAAAAA==")
    moved = bad("moved", "-", size=50, checksum="crc32c:AAAAAA==")
    found = compared([old], [moved])
    assert (set(found.todo), found.rows) == ({"moved.mp4"}, {})
    found = compared([old._replace(status="silent")], [moved, old])
    assert (set(found.todo), set(found.rows)) == (set(), {"moved.mp4"})
    # one that has pairs is the first in any case
    found = compared([row("old", size=50, checksum="crc32c:AAAAAA==")], [moved])
    assert set(found.rows) == {"moved.mp4"}


def test_a_video_that_a_list_names_and_that_is_not_there_is_no_first():
    old = bad("old", "vanished", size=50, checksum="crc32c:AAAAAA==")
    found = Compared({"old.mp4": old}, lambda video_id: "train", EVERYTHING)
    found.add("old.mp4", absent("/v/old.mp4"))
    found.add("b.mp4", StoredObject("/v/b.mp4", 50, "1", "crc32c:AAAAAA=="))
    found.look_for_gone()
    found.let_wait()
    found.look_for_duplicates()
    assert set(found.todo) == {"b.mp4"}
