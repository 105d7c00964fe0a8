"""Turns: few threads compute, and those that wait let others go on."""

import threading

from l3core.turns import Turns


def another_can(turns):
    """Whether another thread gets a turn at once."""
    done = threading.Event()

    def take():
        with turns.turn():
            done.set()

    threading.Thread(target=take, daemon=True).start()
    return done.wait(0.2)


def test_as_many_as_are_allowed_have_a_turn():
    turns = Turns(2)
    with turns.turn():
        assert another_can(turns)
        with turns.turn():
            assert not another_can(turns)
        assert another_can(turns)


def test_who_waits_lends_the_turn():
    turns = Turns(1)
    with turns.turn():
        assert not another_can(turns)
        with turns.lend():
            assert another_can(turns)
        assert not another_can(turns)
    assert another_can(turns)
