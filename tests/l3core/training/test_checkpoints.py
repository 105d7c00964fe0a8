"""Checkpoints after kills, and while a training is at work."""

from pathlib import Path

import numpy as np
import pytest

from l3core.errors import DamagedError, RunError
from l3core.training.checkpoints import Best, Checkpoints, State
from tests.l3core.training.trainings import Kill

FIRST = State(step=6, samples=24, epochs=1, best=Best(1, 24, 0.5, 0.7))
SECOND = State(step=12, samples=48, epochs=2, best=Best(2, 48, 0.75, 0.6))


def save(folder, state):
    tensors = {"conv/kernel": np.full((2, 3), state.samples, np.float32)}
    Checkpoints(str(folder)).save(state, tensors, tensors)


def tree(folder):
    folder = Path(folder)
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# three files and what was there before of state.json; two pointers; the old best one in two steps
@pytest.mark.parametrize("change", range(9))
@pytest.mark.parametrize("before", [[], [FIRST]])
def test_the_same_command_heals_a_kill_within_a_save(before, change, tmp_path):
    """Whatever of a save was done: going on ends with the same files as without a kill."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for state in (*before, SECOND):
        save(whole, state)
    for state in before:
        save(killed, state)
    with Kill(change) as kill:
        save(killed, SECOND)
    assert kill.done == (change < (8 if before else 6))
    latest = Checkpoints(str(killed)).latest()
    found = Checkpoints(str(killed)).resume()
    assert latest == (None if found is None else found.state.samples)
    if found is None or found.state.step < SECOND.step:
        save(killed, SECOND)
    assert tree(killed) == tree(whole)


def test_one_that_a_training_at_work_removes(tmp_path):
    checkpoints = Checkpoints(str(tmp_path))
    save(tmp_path, FIRST)
    best = checkpoints.find("best")
    save(tmp_path, SECOND)
    with pytest.raises(RunError, match=r"checkpoints/24 was superseded meanwhile: ask again$"):
        checkpoints.weights(best)
    (tmp_path / "checkpoints" / "48" / "weights.h5").unlink()
    with pytest.raises(DamagedError, match="48 is damaged or incomplete: remove that folder"):
        checkpoints.weights(48)
