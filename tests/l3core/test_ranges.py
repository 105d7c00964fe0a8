"""Ranges: the same bytes as the object has, read in requests that grow while reading goes on."""

import io

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from l3core.audio import Recording
from l3core.ranges import FIRST_BYTES, MOST_BYTES, RangedFile
from tests.corpus import noise

CONTENT = np.random.default_rng(0).bytes(3_000_000)


class Store:
    """Ranges of an object, each after a while by its own clock."""

    def __init__(self, content, latency_s=0.0, s_a_byte=0.0):
        self.content = content
        self.latency_s, self.s_a_byte = latency_s, s_a_byte
        self.asked = []
        self.now = 0.0

    def __call__(self, start, stop):
        self.asked.append((start, stop))
        self.now += self.latency_s + self.s_a_byte * (stop - start)
        return self.content[start:stop]

    @property
    def bytes(self):
        return sum(stop - start for start, stop in self.asked)


def opened(store):
    return io.BufferedReader(RangedFile(store, len(store.content), lambda: store.now), 8_192)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["set", "on", "end"]), st.integers(0, 3_100_000), st.integers(0, 200_000)
        ),
        max_size=12,
    )
)
def test_any_reading_gives_the_bytes_of_the_object(steps):
    file, plain = opened(Store(CONTENT)), io.BytesIO(CONTENT)
    for how, offset, length in steps:
        for each in (file, plain):
            if how == "set":
                each.seek(offset)
            elif how == "end":
                each.seek(-min(offset, len(CONTENT)), io.SEEK_END)
        assert file.read(length) == plain.read(length)
        assert file.tell() == plain.tell()


def test_reading_on_asks_for_more_and_more():
    store = Store(CONTENT, latency_s=0.005)
    assert opened(store).read() == CONTENT
    lengths = [stop - start for start, stop in store.asked]
    assert lengths[:4] == [FIRST_BYTES * 2**n for n in range(4)]
    assert len(lengths) <= 7
    assert store.bytes == len(CONTENT)


def test_no_more_than_the_latency_asks_for():
    """Where a byte takes its time, long ranges save nothing, and what is not used was fetched for it."""
    store = Store(CONTENT, latency_s=0.001, s_a_byte=1e-7)  # 6.6 ms for the first range
    opened(store).read()
    assert max(stop - start for start, stop in store.asked) == 16 * FIRST_BYTES < MOST_BYTES


def test_a_jump_begins_anew():
    store = Store(CONTENT)
    file = opened(store)
    file.read(500_000)
    file.seek(2_000_000)
    file.read(10)
    assert store.asked[-1] == (2_000_000, 2_000_000 + FIRST_BYTES)
    file.seek(0)
    file.read(10)  # the header is still there
    assert store.asked[-1] == (2_000_000, 2_000_000 + FIRST_BYTES)


def test_one_block_of_a_large_wav_costs_about_that_block():
    content = io.BytesIO()
    soundfile.write(content, np.tile(noise(10.0, rate=44_100), (12, 2)), 44_100, format="WAV")
    store = Store(content.getvalue(), latency_s=0.002)
    assert len(store.content) > 20_000_000
    with Recording(opened(store)) as recording:
        block = recording.read(60 * 44_100, 70 * 44_100)
    assert len(block) == 441_000
    assert 1_764_000 < store.bytes < 1.3 * 1_764_000


def test_a_store_that_sends_less_is_an_error():
    file = opened(lambda_store := Store(CONTENT))
    lambda_store.content = CONTENT[:1_000]
    with pytest.raises(OSError, match="got 1000 of 65536 bytes from byte 0 on"):
        file.read(10)


def test_an_answer_that_is_too_short_is_asked_for_again():
    store = Store(CONTENT)
    lengths = iter([10, 20, None])
    file = io.BufferedReader(
        RangedFile(lambda *part: store(*part)[: next(lengths)], len(CONTENT)), 8_192
    )
    assert file.read(100) == CONTENT[:100]
    assert len(store.asked) == 3
