"""How far a cross-validation is: from finished folds, and notes that running ones leave."""

import time
from contextlib import suppress
from typing import NamedTuple

from l3core import storage
from l3core.crossval.plan import CrossvalPlan, OutputPaths
from l3core.crossval.results import finished_folds
from l3core.table.json_objects import read_json, write_json

# A note is a small object; on a disk it costs nothing, on a store a request.
NOTE_EVERY_S = 2.0


class Progress(NamedTuple):
    """What is done.

    Attributes:
        share: of all the work if every model used all of its epochs, 0 to 1.
        folds: finished, of those that were to train.
        of: folds to train.
        running: the note of each running fold: its name, epoch, and models left.
    """

    share: float
    folds: int
    of: int
    running: tuple[tuple[str, int, int], ...]

    @property
    def begun(self) -> bool:
        """Whether anything was trained yet."""
        return self.share > 0


class FoldNotes:
    """Notes that a running fold leaves after an epoch."""

    def __init__(self, paths: OutputPaths, digest: str, fold: str) -> None:
        self._uri = _note(paths, digest, fold)
        self._next = 0.0

    def note(self, epoch: int, left: int) -> None:
        """Say how far the fold is; does nothing if the last note is young."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + NOTE_EVERY_S
            with suppress(
                OSError
            ):  # a store that is busy: the next note comes, and the training goes on
                write_json(self._uri, {"epoch": epoch, "left": left})


class CrossvalProgress:
    """Reads the progress of a run.

    Args:
        paths: of the output.
        plan: of the run.
        folds: names of those to train.
    """

    def __init__(self, paths: OutputPaths, plan: CrossvalPlan, folds: list[str]) -> None:
        self._paths = paths
        self._plan = plan
        self._folds = folds
        for fold in folds:  # notes of an interrupted run
            storage.remove(_note(paths, plan.digest, fold))

    def __call__(self) -> Progress:
        """Where the run is now."""
        done = set(finished_folds(self._paths, self._plan.digest)).intersection(self._folds)
        running = []
        for fold in self._folds:
            with suppress(FileNotFoundError):
                if fold not in done:
                    note = read_json(_note(self._paths, self._plan.digest, fold))
                    running.append((fold, note["epoch"], note["left"]))
        epochs = sum(epoch for _, epoch, _ in running) / self._plan.epochs
        share = (len(done) + epochs) / len(self._folds)
        return Progress(min(share, 1.0), len(done), len(self._folds), tuple(running))


def _note(paths: OutputPaths, digest: str, fold: str) -> str:
    return storage.join(paths.work(digest), "progress", f"{fold}.json")
