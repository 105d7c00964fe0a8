"""Parts of a sound: what packets say, in order or not, and none overlaps another one."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l3core.avc import spans
from l3core.avc.errors import VideoError
from l3core.avc.spans import Spans


def united(*packets):
    found = Spans()
    for begin_s, end_s in packets:
        found.add(begin_s, end_s)
    return found.united().tolist()


def test_no_packet_is_no_part():
    assert united() == []


def test_a_gap_parts_and_a_short_one_does_not():
    assert united((0, 1), (1, 2), (2.25, 3)) == [0, 3]
    assert united((0, 1), (1.5, 2)) == [0, 1, 1.5, 2]


def test_packets_whose_times_fall_are_one_part():
    """An hour each, a millisecond earlier each: they were a part each, of all frames each."""
    assert united(*((100 - n / 1000, 3700) for n in range(200))) == [99.801, 3700]


def test_parts_that_overlap_others_than_the_last_one_are_united():
    assert united((0, 10), (20, 30), (5, 12), (40, 41), (29, 35)) == [0, 12, 20, 35, 40, 41]
    assert united((20, 30), (0, 1), (25, 26), (0, 1)) == [0, 1, 20, 30]


def test_the_first_part_begins_with_its_first_sample():
    found = Spans()
    found.add(-0.02, 1.0)
    found.begin_at(0.0)
    assert found.united().tolist() == [0, 1]
    assert found.last_s == 1


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 40)), max_size=30))
def test_what_sounds_is_in_one_part_and_no_other_is(packets):
    """Against marking tenths of seconds; a gap is filled only where the next packet comes soon."""
    bounds = united(*((begin / 10, (begin + length) / 10) for begin, length in packets))
    parts = list(zip(bounds[::2], bounds[1::2]))
    assert bounds == sorted(bounds)
    assert all(end < begin for (_, end), (begin, _) in pairwise(parts))
    for begin, length in packets:
        assert any(one <= begin / 10 and (begin + length) / 10 <= other for one, other in parts)
    ends = {(begin + length) / 10 for begin, length in packets}
    assert set(bounds[::2]) <= {begin / 10 for begin, _ in packets}
    assert set(bounds[1::2]) <= ends


def test_too_many_parts(monkeypatch):
    monkeypatch.setattr(spans, "MOST_SPANS", 3)
    with pytest.raises(VideoError, match="more than 3 gaps"):
        united(*((n, n + 0.5) for n in range(4)))
