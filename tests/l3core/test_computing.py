"""Batches through an engine that takes its next signal ahead: order, errors, memory."""

import threading
from contextlib import closing

import numpy as np
import pytest

from l3core.computing import compute_batches
from l3core.logs import _working_on, working_on
from l3core.packing import Batch

PATIENCE_S = 60


class Engine:
    """Adds one to the sample at each start."""

    batch_size, device = 2, "CPU"

    def __call__(self, signal, starts):
        return signal[starts][:, np.newaxis] + 1


class Placing(Engine):
    def __init__(self):
        self.placed = []

    def place(self, signal):
        self.placed.append(float(signal[0]))
        return signal


def batches(count):
    for number in range(count):
        signal = np.array([number, number + 0.5], np.float32)
        yield Batch(signal, np.array([0, 1], np.int32), [(number, np.zeros(2, bool))])


def computed(engine, given, told=lambda windows, seconds: None):
    return compute_batches(engine, given, computed=told, halved=lambda size: None)


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_the_same_vectors_in_the_same_order(count):
    plain, ahead = (
        [(batch.parts[0][0], vectors.tolist()) for batch, vectors in computed(engine, batches(count))]
        for engine in (Engine(), Placing())
    )
    assert plain == [(number, [[number + 1.0], [number + 1.5]]) for number in range(count)]
    assert ahead == plain


def test_the_next_signal_is_placed_before_the_present_batch_is_done():
    placed = [threading.Event() for _ in range(4)]

    class Patient(Placing):
        def place(self, signal):
            placed[int(signal[0])].set()
            return signal

        def __call__(self, signal, starts):
            following = int(signal[0]) + 1
            assert following == len(placed) or placed[following].wait(PATIENCE_S)
            return super().__call__(signal, starts)

    assert len(list(computed(Patient(), batches(4)))) == 4


def test_two_batches_at_a_time():
    made = []

    def noted():
        for batch in batches(9):
            made.append(batch)
            yield batch

    for given, _ in enumerate(computed(Placing(), noted())):
        assert len(made) <= given + 2
    assert len(made) == 9


def test_an_error_of_the_engine_comes_after_the_batches_before_it():
    class Broken(Placing):
        def __call__(self, signal, starts):
            if signal[0] == 2:
                raise ValueError("the third is broken")
            return super().__call__(signal, starts)

    found = []
    with pytest.raises(ValueError, match="the third is broken"):
        found.extend(computed(Broken(), batches(9)))
    assert [batch.parts[0][0] for batch, _ in found] == [0, 1]


@pytest.mark.parametrize("engine", [Engine(), Placing()], ids=["plain", "ahead"])
def test_an_error_of_the_batches_comes_after_the_batches_before_it(engine):
    def broken():
        yield from batches(3)
        raise OSError("the store is gone")

    found = []
    with pytest.raises(OSError, match="the store is gone"):
        found.extend(computed(engine, broken()))
    assert len(found) == 3


def test_who_stops_early_leaves_no_thread():
    before = threading.active_count()
    with closing(computed(Placing(), batches(9))) as given:
        next(given)
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


def test_what_is_told_of_a_batch_is_told_with_its_shard():
    found = []
    with working_on(shard="000001"):
        for _ in computed(
            Placing(), batches(2), lambda windows, _: found.append((windows, _working_on.get()))
        ):
            continue
    assert found == [(2, (("shard", "000001"),))] * 2
