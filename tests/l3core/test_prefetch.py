"""Prefetching: the same items in the same order, errors in their place, and threads that end."""

import itertools
import threading
import time
from contextlib import closing
from contextvars import ContextVar

import pytest

from l3core import prefetch as module


def prefetch(items, depth):
    """One source, one thread."""
    return module.prefetch([lambda: items], threads=1, sources_ahead=1, items_ahead=depth)


def several(sources, **bounds):
    bounds = {"threads": 3, "sources_ahead": 4, "items_ahead": 2} | bounds
    return module.prefetch(sources, **bounds)


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


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("lengths", [[], [0], [3, 0, 0, 1, 7, 0, 2], [1] * 40])
def test_sources_come_one_after_the_other(threads, lengths):
    def source(number, length):
        def items():
            for index in range(length):
                time.sleep(0.001 * (number % 3))  # later sources are ready first
                yield number, index

        return items

    sources = [source(number, length) for number, length in enumerate(lengths)]
    found = list(several(iter(sources), threads=threads))
    assert found == [(number, index) for number, length in enumerate(lengths) for index in range(length)]
    assert prefetch_threads() == []


def test_threads_work_on_several_sources_at_the_same_time():
    together = threading.Barrier(3, timeout=10)  # breaks unless three sources wait here at once

    def items():
        yield together.wait()

    assert sorted(several([items] * 3, threads=3)) == [0, 1, 2]


def test_sources_are_begun_in_bounds():
    begun = 0

    def source():
        nonlocal begun
        begun += 1
        return [begun]

    ahead = several(itertools.repeat(source), threads=2, sources_ahead=4)
    next(ahead)
    assert settled(lambda: begun) == 1 + 4  # the one that is used, and four that wait
    ahead.close()
    assert prefetch_threads() == []


def test_an_error_in_a_source_comes_after_the_sources_before_it():
    def broken():
        yield 2
        raise KeyError("broken")

    ahead = several([lambda: [0, 1], broken, lambda: [3]])
    assert [next(ahead) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError, match="broken"):
        next(ahead)
    assert prefetch_threads() == []


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_of_the_list_of_sources_is_raised(threads):
    def sources():
        yield lambda: [0]
        raise KeyError("no list")

    ahead = several(sources(), threads=threads)
    assert next(ahead) == 0
    with pytest.raises(KeyError, match="no list"):
        next(ahead)
    assert prefetch_threads() == []


def test_a_source_that_is_given_up_is_closed():
    closed = threading.Event()

    def items():
        try:
            yield from itertools.count()
        finally:
            closed.set()

    ahead = several([items])
    next(ahead)
    ahead.close()
    assert closed.is_set()


def test_threads_tell_how_long_they_waited():
    told = []
    ahead = several([lambda: [0]] * 6, threads=1, sources_ahead=2, waited=told.append)
    next(ahead)
    time.sleep(0.3)  # two wait, and the thread has the next one in its hand
    list(ahead)
    assert 0.2 < sum(told) < 0.6


def test_closing_ends_the_threads_though_the_generator_is_still_held():
    """As by the traceback of the error that stopped its user."""
    ahead = several([itertools.count] * 9)
    with pytest.raises(ZeroDivisionError), closing(ahead):
        1 / next(ahead)
    assert prefetch_threads() == []


def test_threads_know_what_the_caller_is_working_on():
    about = ContextVar("about", default=None)

    def ask():
        yield about.get(), threading.current_thread() is not threading.main_thread()

    about.set("shard 1")
    assert list(several([ask] * 5)) == [("shard 1", True)] * 5
