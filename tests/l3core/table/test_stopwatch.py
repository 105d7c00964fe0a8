"""The stopwatch: what is timed within counts for itself alone."""

import io
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
    file = TimedFile(io.BytesIO(b"0123456789"), watch)  # type: ignore[arg-type]
    file.read(4)
    file.seek(0)
    file.read()
    assert watch.bytes_read == 14
