"""Prefetching: the same items in the same order, errors in their place, and a thread that ends."""

import itertools
import threading
import time

import pytest

from l3core.prefetch import prefetch


def settled(value, seconds=0.3):
    """The value of a callable when it has not changed for a while."""
    last, since = value(), time.monotonic()
    while time.monotonic() < since + seconds:
        time.sleep(0.01)
        if value() != last:
            last, since = value(), time.monotonic()
    return last


def prefetch_threads():
    return [thread for thread in threading.enumerate() if thread.name == "prefetch"]


@pytest.mark.parametrize("depth", [1, 2, 50])
@pytest.mark.parametrize("count", [0, 1, 20])
def test_same_items_in_the_same_order(depth, count):
    assert list(prefetch(range(count), depth)) == list(range(count))
    assert prefetch_threads() == []


def test_none_is_an_item():
    assert list(prefetch([None, 0, None], 2)) == [None, 0, None]


def test_an_error_comes_after_the_items_before_it():
    def items():
        yield 1
        yield 2
        raise KeyError("broken")

    ahead = prefetch(items(), 10)
    assert next(ahead) == 1
    time.sleep(0.05)  # the error is known by now
    assert next(ahead) == 2
    with pytest.raises(KeyError, match="broken"):
        next(ahead)
    assert prefetch_threads() == []


def test_items_are_made_by_another_thread_ahead_of_need():
    made = []

    def items():
        for number in range(3):
            made.append((number, threading.current_thread()))
            yield number

    ahead = prefetch(items(), 5)
    assert next(ahead) == 0
    assert settled(lambda: len(made)) == 3  # nobody has asked for 1 and 2
    assert all(thread is not threading.current_thread() for _, thread in made)
    assert list(ahead) == [1, 2]


@pytest.mark.parametrize("depth", [1, 4])
def test_it_is_bounded(depth):
    count = 0

    def items():
        nonlocal count
        for number in range(10_000):
            count = number + 1
            yield number

    ahead = prefetch(items(), depth)
    for used in range(1, 4):
        next(ahead)
        # those that are used, `depth` that wait, and one in the hand of the thread
        assert used + depth <= settled(lambda: count) <= used + depth + 1
    ahead.close()


def test_stopping_early_ends_the_thread():
    ahead = prefetch(itertools.count(), 2)
    assert next(ahead) == 0
    assert len(prefetch_threads()) == 1
    ahead.close()
    assert prefetch_threads() == []


def test_an_error_of_the_consumer_ends_the_thread():
    def consume():
        for item in prefetch(itertools.count(), 2):
            1 / item

    with pytest.raises(ZeroDivisionError):
        consume()
    assert prefetch_threads() == []
