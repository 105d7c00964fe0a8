"""A folder as `l3flow avc train` leaves it, with weights that were drawn."""

from contextlib import AbstractContextManager

import numpy as np
import pytest

from l3core import storage
from l3core.models.avc import AvcNetwork
from l3core.table.json_objects import write_json
from l3core.training.checkpoints import Best, Checkpoints, State
from l3core.training.exporting import SUFFIXES
from l3core.training.history import EPOCH, Row, write_history
from l3core.training.output import Identity, OutputPaths
from l3core.training.settings import TrainingSettings

NARROW = AvcNetwork(model="l3-narrow")


def variables_of(network, seed):
    """Drawn variables of both subnetworks by their paths."""
    rng = np.random.default_rng(seed)
    return {
        f"{layer.name}/{suffix}": rng.uniform(0.1, 1, shape).astype(np.float32)
        for part in (network.audio, network.vision)
        for layer in part.layer_shapes(whole=True)
        for suffix, shape in zip(SUFFIXES[len(layer.shapes)], layer.shapes)
    }


def trained(folder, **settings):
    """An epoch of 320 pairs, the best so far, and a checkpoint after 640."""
    fields = {"model": "l3-narrow", "seed": 3, "batch_size": 32, "steps_per_epoch": 10}
    chosen = TrainingSettings(**fields, **settings)
    paths = OutputPaths(str(folder))
    identity = Identity(chosen, "pairs", "abc123", 1000, {"l3flow": "0.1.0", "keras": "3"})
    write_json(paths.identity, identity.as_json())
    row = Row(EPOCH, 1, 10, 320, 0.7, 0.6, 320, 0.5, 0.875, 64, 1.0, 320.0, 0.0, 0.0)
    write_history(paths.history, [row])
    checkpoints = Checkpoints(str(folder))
    best = Best(1, 320, 0.875, 0.5)
    for samples in (320, 640):
        state = State(step=samples // 32, samples=samples, epochs=1, best=best, kept=True)
        checkpoints.save(state, variables_of(NARROW, samples), {"0/iteration": np.array(1)})
    return folder


class Killed(BaseException):
    """As a process ends that is killed."""


class Kill(AbstractContextManager):
    """From a change of a store on, nothing is written or removed any more, as when a process is killed.

    Args:
        at: the number of that change, from 0, or a part of its path.

    Attributes:
        armed: whether changes count already.
        done: whether it came to that.
    """

    def __init__(self, at, *, armed=True):
        self.at, self.armed, self.done = at, armed, False
        self._changes = 0
        self._patch = pytest.MonkeyPatch()

    def __enter__(self):
        for name in ("write_bytes", "remove", "remove_folder"):
            self._patch.setattr(storage, name, self._guarded(getattr(storage, name)))
        return self

    def __exit__(self, kind, *rest):
        self._patch.undo()
        return kind is Killed

    def _guarded(self, function):
        def change(uri, *content):
            if self.armed and not self.done:
                self.done = self._changes == self.at if isinstance(self.at, int) else self.at in uri
                self._changes += 1
            if self.done:
                raise Killed
            return function(uri, *content)

        return change
