"""Rows to train on: each once, in an order that the seed decides, shared out among readers."""

import re
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from l3core import feeds
from l3core.errors import TableError, UsageError
from l3core.feeds.feed import Share, make_feed, share_out
from l3core.table.read import read_windows
from l3core.table.scan import Piece
from tests.training import AWKWARD, make_table, rows_of

OPTIONS = {"clips": None, "where": None, "labels": None, "seed": None, "buffer_rows": 8}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    table = make_table(tmp_path_factory.mktemp("feed"))
    return table, [(row[0], row[1], row[4]) for row in rows_of(*read_windows(table))]


def feed_of(table, **options):
    return make_feed(table, None, **({"columns": ("clip_id", "window")} | OPTIONS | options))


def rows(feed, *arguments, **options):
    return [
        (clip, int(window), vector.tobytes())
        for arrays in feed.arrays(*arguments, **options)
        for clip, window, vector in zip(arrays["clip_id"], arrays["window"], arrays["embedding"])
    ]


@pytest.mark.parametrize("buffer_rows", [1, 3, 8, 1000])
@pytest.mark.parametrize("batch_size", [None, 5])
def test_each_row_once_in_an_order_of_its_own(made, buffer_rows, batch_size):
    table, everything = made
    feed = feed_of(table, seed=3, buffer_rows=buffer_rows)
    first, again = (rows(feed, batch_size=batch_size) for _ in range(2))
    assert sorted(first) == everything
    assert first == again
    other = [rows(feed, epoch=1), rows(feed_of(table, seed=4, buffer_rows=buffer_rows))]
    assert sorted(other[0]) == sorted(other[1]) == everything
    assert len({tuple(order) for order in (first, *other, everything)}) == 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"batch_size": -1}, "batch_size must be at least 1, got -1"),
        ({"share": (2, 2)}, "share must be (number, of how many), numbers from 0, got (2, 2)"),
        ({"share": (-1, 2)}, "got (-1, 2)"),
        ({"share": (0, 0)}, "got (0, 0)"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_read(options, words):
    with pytest.raises(UsageError) as caught:
        make_feed("/no/table", None, **(OPTIONS | options))
    assert words in str(caught.value)


def test_epochs_of_a_single_row_group_differ(made):
    feed = feed_of(made[0], seed=3)
    feed = replace(feed, pieces=feed.pieces[:1])
    assert len({tuple(rows(feed, epoch)) for epoch in range(4)}) > 1


def test_without_a_seed_rows_come_as_they_lie(made):
    table, everything = made
    feed = feed_of(table)
    assert sorted(rows(feed)) == everything
    assert rows(feed) == rows(feed, epoch=5)


def test_a_buffer_mixes_more_than_neighbours(made):
    """Of a clip of 31 windows no more than a few follow one another."""
    table, everything = made
    longest = Counter(row[0] for row in everything).most_common(1)[0][0]
    order = [row[0] == longest for row in rows(feed_of(table, seed=0, buffer_rows=1000))]
    runs = [len(run) for run in "".join("x" if hit else " " for hit in order).split()]
    assert sum(runs) > 30
    assert len(runs) > 10


@pytest.mark.parametrize("seed", [None, 9])
@pytest.mark.parametrize("readers", [1, 2, 3, 7, 40])
def test_readers_share_rows_evenly(made, seed, readers):
    table, everything = made
    feed = feed_of(table, seed=seed)
    shares = [rows(feed, 2, Share(number, readers)) for number in range(readers)]
    assert sorted(row for share in shares for row in share) == everything
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_shares_by_hand():
    """13 rows of three pieces in three shares: 4, 4 and 5."""
    pieces = [Piece("a", 0, 0, 5), Piece("a", 1, 2, 8), Piece("b", 0, 0, 2)]
    assert [share_out(pieces, Share(number, 3)) for number in range(3)] == [
        [Piece("a", 0, 0, 4)],
        [Piece("a", 0, 4, 5), Piece("a", 1, 2, 5)],
        [Piece("a", 1, 5, 8), Piece("b", 0, 0, 2)],
    ]


LABELS = {name: number for number, name in enumerate(AWKWARD)}


@pytest.mark.parametrize("seed", [None, 9])
def test_labels_belong_to_their_clips(made, seed):
    table, everything = made
    feed = feed_of(table, labels=LABELS | {"not there.wav": 7}, seed=seed)
    found = Counter()
    for arrays in feed.arrays():
        assert arrays["label"].dtype == np.int64
        found.update(zip(arrays["clip_id"], arrays["label"].tolist()))
    assert found == Counter((row[0], LABELS[row[0]]) for row in everything if row[0] in LABELS)


def test_labels_and_clips_and_no_columns(made):
    feed = feed_of(made[0], columns=(), labels=LABELS, clips=["a b.wav", "a.wav"])
    (arrays,) = feed.arrays(batch_size=100)
    assert list(arrays) == ["embedding", "label"]
    assert arrays["label"].tolist() == [0] * 9


@pytest.mark.parametrize(
    ("values", "dtype", "shape"),
    [
        ([0.5, 1, 2, 3], np.float32, ()),
        ([True, False, True, True], np.int64, ()),
        ([[0, 1], [1, 0], [1, 1], [0, 0]], np.int64, (2,)),
        (np.eye(4, dtype=np.float64), np.float32, (4,)),
    ],
)
def test_kinds_of_labels(made, values, dtype, shape):
    feed = feed_of(made[0], labels=dict(zip(AWKWARD, values)))
    (arrays,) = feed.arrays(batch_size=1000)
    assert (arrays["label"].dtype, arrays["label"].shape[1:]) == (dtype, shape)
    expected = [np.asarray(dict(zip(AWKWARD, values))[clip], dtype) for clip in arrays["clip_id"]]
    np.testing.assert_array_equal(arrays["label"], expected)


@pytest.mark.parametrize("labels", [{}, {"a.wav": "dog"}, {"a.wav": None}, {"a.wav": [1], "b": [1, 2]}])
def test_labels_that_are_no_numbers(made, labels):
    with pytest.raises(UsageError, match="labels must be clip id -> number"):
        feed_of(made[0], labels=labels)


def test_labels_of_something_else(made):
    with pytest.raises(UsageError, match=r"labels have '/data/a\.wav', its clip ids are as 'a b\.wav'"):
        feed_of(made[0], labels={"/data/a.wav": 1})


def test_no_room_to_shuffle(made):
    with pytest.raises(UsageError, match="buffer_rows must be at least 1, got 0"):
        feed_of(made[0], buffer_rows=0)
    with pytest.raises(TableError, match="columns must be of"):
        feed_of(made[0], columns="loudness")


def test_what_is_handed_out_may_be_written_to(made):
    for arrays in feed_of(made[0], labels=LABELS).arrays():
        assert all(array.flags.writeable for array in arrays.values())


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        ("torch_dataset", "torch", "l3flow[torch]"),
        ("huggingface_dataset", "datasets", "l3flow[huggingface]"),
    ],
)
def test_a_library_that_is_not_there_is_named_with_what_installs_it(monkeypatch, name, package, extra):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"l3core.feeds.for_{name.removesuffix('_dataset')}", raising=False)
    with pytest.raises(
        ModuleNotFoundError, match=re.escape(f"{name} needs {package}: pip install '{extra}'")
    ):
        getattr(feeds, name)
