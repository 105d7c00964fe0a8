"""The size of a batch, from speeds that are made up."""

import pytest

from l3core.engines.probing import best_batch_size
from l3core.errors import OutOfMemoryError


def chosen(speeds, **limits):
    """Size, and those that were tried; a size without a speed has no memory."""
    tried = []

    def speed_of(size):
        tried.append(size)
        if size not in speeds:
            raise OutOfMemoryError(f"no memory for {size}")
        return speeds[size]

    return best_batch_size(speed_of, **limits), tried


def test_it_doubles_while_that_brings_more_than_a_twentieth():
    speeds = {16: 100, 32: 150, 64: 160, 128: 167, 256: 900}
    assert chosen(speeds) == (64, [16, 32, 64, 128])  # 167 is 4.4 % more


def test_memory_ends_it():
    assert chosen({16: 100, 32: 200}) == (32, [16, 32, 64])


def test_there_is_a_largest():
    assert chosen(dict.fromkeys([16, 32, 64], 0) | {16: 1, 32: 2}, largest=32) == (32, [16, 32])


def test_with_little_memory_it_halves_and_is_content():
    assert chosen({4: 100, 2: 50}) == (4, [16, 8, 4])


def test_no_memory_for_one_window():
    with pytest.raises(OutOfMemoryError, match="no memory for 1"):
        chosen({})
