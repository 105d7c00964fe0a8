"""The stopwatch: what is timed within counts for itself alone."""

import io
import threading
import time
from contextlib import suppress

import pytest

from l3core.table.stopwatch import KINDS, Stopwatch, TimedFile


def test_inner_times_are_not_counted_twice() -> None:
    watch = Stopwatch()
    start = time.perf_counter()
    with watch.timing("resample"):
        with watch.timing("decode"), watch.timing("read"):
            time.sleep(0.05)
        with watch.timing("read"):
            time.sleep(0.03)
        time.sleep(0.02)
    whole = time.perf_counter() - start
    assert sum(watch.seconds.values()) == pytest.approx(whole, abs=0.005)
    assert watch.seconds["read"] >= 0.08
    assert watch.seconds["resample"] >= 0.02
    assert watch.seconds["decode"] < 0.02  # all of it was reading


def test_a_failing_block_is_timed_and_leaves_no_trace_in_the_next() -> None:
    watch = Stopwatch()
    with suppress(OSError), watch.timing("decode"), watch.timing("read"):
        time.sleep(0.02)
        raise OSError
    with watch.timing("write"):
        time.sleep(0.01)
    assert watch.seconds["read"] >= 0.02
    assert watch.seconds["write"] >= 0.01
    assert set(watch.seconds) == set(KINDS)


def test_bytes_are_counted_as_they_are_read() -> None:
    watch = Stopwatch()
    file = io.BufferedReader(TimedFile(io.BytesIO(b"0123456789" * 100), watch), 400)
    assert file.read(4) == b"0123"
    assert watch.bytes_read == 400
    assert file.seek(990) == 990
    assert file.read() == b"0123456789"
    assert watch.bytes_read == 410


def test_threads_add_up() -> None:
    watch = Stopwatch()

    def count() -> None:
        for _ in range(20_000):
            watch.add("read", 1.0)
            watch.add_bytes(1)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert watch.seconds["read"] == 80_000
    assert watch.bytes_read == 80_000
