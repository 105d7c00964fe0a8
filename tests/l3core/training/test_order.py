"""The order of the pairs: each once a pass, another one each pass, and the same wherever it begins."""

from itertools import islice

import numpy as np
import pytest

from l3core.avc.corpus import RecordFile
from l3core.training.order import JUDGING, TRAINING, Order, drawn_labels

FILES = tuple(
    RecordFile(f"{number}.tfrecord", "train", count, count // 2, 1000, "")
    for number, count in enumerate((5, 3, 0, 7, 4, 6))
)
PAIRS = 25


def order_of(**changed):
    given = {"digest": "ab" * 32, "seed": 3, "purpose": TRAINING, "group_pairs": 10} | changed
    return Order(FILES, **given)


def pairs_of(order, start):
    """(file, place in it) of the pairs from `start` on, for ever."""
    for visit in order.visits(start):
        names = [(file.path, place) for file in visit.files for place in range(file.pairs)]
        yield from (names[place] for place in visit.order)


ALL = {(file.path, place) for file in FILES for place in range(file.pairs)}


def test_each_pass_has_each_pair_once_and_is_another_one():
    found = list(islice(pairs_of(order_of(), 0), 3 * PAIRS))
    passes = [found[start : start + PAIRS] for start in (0, PAIRS, 2 * PAIRS)]
    assert [set(each) for each in passes] == [ALL] * 3
    assert passes[0] != passes[1] != passes[2] != passes[0]


@pytest.mark.parametrize("start", [1, 7, 10, PAIRS - 1, PAIRS, PAIRS + 11, 5 * PAIRS + 3])
def test_it_goes_on_wherever_it_begins(start):
    whole = list(islice(pairs_of(order_of(), 0), start + 2 * PAIRS))
    assert list(islice(pairs_of(order_of(), start), 2 * PAIRS)) == whole[start:]


def test_what_is_passed_over_is_not_read():
    first = next(order_of().visits(PAIRS - 1))
    assert len(first.order) == 1


@pytest.mark.parametrize("changed", [{"seed": 4}, {"digest": "cd" * 32}, {"purpose": JUDGING}])
def test_seed_corpus_and_purpose_change_it(changed):
    first = list(islice(pairs_of(order_of(), 0), PAIRS))
    assert list(islice(pairs_of(order_of(**changed), 0), PAIRS)) != first


def test_groups_are_of_files_that_follow_one_another():
    visits = list(islice(order_of().visits(0), 3))
    assert all(sum(file.pairs for file in visit.files) <= 10 for visit in visits)
    assert max(len(visit.files) for visit in visits) > 1
    assert all(file.pairs for visit in visits for file in visit.files)


@pytest.mark.parametrize("end", [1, 10, PAIRS, PAIRS + 1])
def test_no_group_begins_at_its_end(end):
    found = list(order_of().visits(3, end))
    pairs = sum(len(visit.order) for visit in found)
    assert pairs >= end - 3
    assert pairs - len(found[-1].order) < end - 3 or end < 3


def test_no_pairs_are_no_visits():
    assert list(Order(FILES[2:3], digest="ab" * 32, seed=0, purpose=TRAINING).visits(0)) == []


def test_drawn_labels_are_halves_and_always_the_same():
    file = FILES[3]
    labels = drawn_labels(file, digest="ab" * 32, seed=1)
    assert sorted(labels) == [0, 0, 0, 0, 1, 1, 1]
    assert np.array_equal(labels, drawn_labels(file, digest="ab" * 32, seed=1))
    many = [drawn_labels(file, digest="ab" * 32, seed=seed).tolist() for seed in range(9)]
    assert len({tuple(each) for each in many}) > 3
