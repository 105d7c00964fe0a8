"""Checkpoints: all that a training needs to go on, in a folder for each number of pairs that were seen.

OUT/checkpoints/<samples>/weights.h5      the network's variables by their names
OUT/checkpoints/<samples>/optimizer.npz   Adam's
OUT/checkpoints/<samples>/state.json      where the training is; written last: without it there is none
OUT/latest.json, OUT/best.json            which one to go on with, which one to use
"""

import hashlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import h5py
import numpy as np

from l3core import storage
from l3core.errors import DamagedError, RunError, TableError, UsageError
from l3core.hdf5 import UnsafeHdf5Error, check_contained
from l3core.table.json_objects import read_json, write_json
from l3core.training.history import Sums

WEIGHTS, OPTIMIZER, STATE = "weights.h5", "optimizer.npz", "state.json"
_ADVICE = ": remove that folder to go on with the checkpoint before it"


class Best(NamedTuple):
    """The best validation so far."""

    epoch: int
    samples: int
    validation_accuracy: float
    validation_loss: float


@dataclass
class State:
    """Where a training is.

    Attributes:
        step: steps that were done.
        samples: pairs that were seen.
        epochs: that were closed, with their validation.
        best: of their validations, the first of equal ones.
        epoch: sums of the present epoch.
        window: sums since the last row of the first steps.
        kept: whether the checkpoint stays when there are later ones.
    """

    step: int = 0
    samples: int = 0
    epochs: int = 0
    best: Best | None = None
    epoch: Sums = field(default_factory=Sums)
    window: Sums = field(default_factory=Sums)
    kept: bool = False

    def as_json(self) -> dict[str, Any]:
        """For state.json."""
        return asdict(self) | {"best": None if self.best is None else self.best._asdict()}


def state_of(found: Mapping[str, Any], where: str) -> State:
    """The state that a state.json holds.

    Raises:
        DamagedError: it holds none.
    """
    try:
        best = None if found["best"] is None else Best(**found["best"])
        epoch, window = Sums(**found["epoch"]), Sums(**found["window"])
        return State(
            found["step"], found["samples"], found["epochs"], best, epoch, window, found["kept"]
        )
    except (KeyError, TypeError):
        raise DamagedError(f"{where} is damaged") from None


class Checkpoint(NamedTuple):
    """A checkpoint as it was read."""

    state: State
    weights: dict[str, np.ndarray]
    optimizer: dict[str, np.ndarray]


class Checkpoints:
    """The checkpoints of a training.

    Args:
        root: folder of the training.
    """

    def __init__(self, root: str) -> None:
        self._root = root

    def folder(self, samples: int) -> str:
        """Where a checkpoint is."""
        return storage.join(self._root, "checkpoints", str(samples))

    def all(self) -> list[int]:
        """Those that are complete, by the pairs that were seen, ascending."""
        return [each for each in self._folders() if storage.is_object(self._file(each, STATE))]

    def save(
        self, state: State, weights: Mapping[str, np.ndarray], optimizer: Mapping[str, np.ndarray]
    ) -> None:
        """Write a checkpoint, whole or not at all, as the latest; what it supersedes is removed."""
        contents = {WEIGHTS: to_h5(weights), OPTIMIZER: _to_npz(optimizer)}
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
        if self._digests(state.samples) != digests:  # those of a stop in a validation are there
            storage.remove(self._file(state.samples, STATE))
            for name, content in contents.items():
                storage.write_bytes(self._file(state.samples, name), content)
        write_json(self._file(state.samples, STATE), state.as_json() | {"sha256": digests})
        self._point(state)
        self._tidy(state)

    def _point(self, state: State) -> None:
        """Write latest.json and best.json."""
        latest = {"samples": state.samples, "step": state.step, "epoch": state.epochs}
        write_json(self._pointer("latest"), latest)
        if state.best is not None:
            write_json(self._pointer("best"), state.best._asdict())

    def _pointer(self, name: str) -> str:
        return storage.join(self._root, f"{name}.json")

    def find(self, which: str) -> int:
        """The number of `best`, `latest` or a number of samples.

        Raises:
            UsageError: there is none such.
        """
        if which in ("best", "latest"):
            try:
                found = read_json(self._pointer(which))["samples"]
            except (FileNotFoundError, KeyError):
                raise UsageError(f"{self._root} has no {which} checkpoint yet") from None
        else:
            found = int(which) if which.isascii() and which.isdigit() else None
        there = self.all()
        if found not in there:
            words = [] if which in ("best", "latest") or not there else ["best", "latest"]
            known = ", ".join([*words, *map(str, there)]) or "none"
            raise UsageError(f"{self._root} has no checkpoint {which}; there is: {known}")
        return int(found)

    def state(self, samples: int) -> State:
        """Where the training was."""
        where = self._file(samples, STATE)
        return state_of(read_json(where), where)

    def weights(self, samples: int) -> dict[str, np.ndarray]:
        """The network's variables.

        Raises:
            DamagedError: they are not what was written.
            RunError: a training at work has removed them since it was asked for the checkpoint.
        """
        return from_h5(self._content(samples, WEIGHTS), self._file(samples, WEIGHTS))

    def load(self, samples: int) -> Checkpoint:
        """A whole checkpoint.

        Raises:
            DamagedError: it is not what was written.
        """
        optimizer = _from_npz(self._content(samples, OPTIMIZER), self._file(samples, OPTIMIZER))
        return Checkpoint(self.state(samples), self.weights(samples), optimizer)

    def latest(self) -> int | None:
        """The number of the one to go on with, even after a kill; None: there is none."""
        if not (there := self.all()):
            return None
        try:
            named = read_json(self._pointer("latest")).get("samples")
        except FileNotFoundError:
            named = None
        return int(named) if named in there else there[-1]

    def resume(self) -> Checkpoint | None:
        """The one to go on with; what a kill has left undone is done, what is beyond is removed.

        Raises:
            DamagedError: it is not what was written.
        """
        if (latest := self.latest()) is None:
            return None
        found = self.load(latest)
        self._point(found.state)  # before: it may be that the best one is about to be removed
        self._tidy(found.state)
        return found

    def _tidy(self, latest: State) -> None:
        """Remove what is neither the latest, nor the best, nor kept."""
        stay = {latest.samples} | ({latest.best.samples} if latest.best else set())
        for samples in self._folders():
            complete = storage.is_object(self._file(samples, STATE))
            kept = complete and samples < latest.samples and self.state(samples).kept
            if samples not in stay and not kept:
                storage.remove(self._file(samples, STATE))
                storage.remove_folder(self.folder(samples))

    def _folders(self) -> list[int]:
        names = storage.names_below(storage.join(self._root, "checkpoints"), suffix="")
        return sorted(int(name) for name in names if name.isascii() and name.isdigit())

    def _file(self, samples: int, name: str) -> str:
        return storage.join(self.folder(samples), name)

    def _digests(self, samples: int) -> Any:
        try:
            return read_json(self._file(samples, STATE)).get("sha256")
        except (FileNotFoundError, TableError):
            return None

    def _content(self, samples: int, name: str) -> bytes:
        where = self._file(samples, name)
        try:
            digest = read_json(self._file(samples, STATE))["sha256"][name]
            content = storage.read_bytes(where)
        except (FileNotFoundError, KeyError, TypeError, TableError):
            if not storage.is_object(self._file(samples, STATE)):  # what is removed goes before the rest
                raise RunError(f"{self.folder(samples)} was superseded meanwhile: ask again") from None
            raise DamagedError(f"{self.folder(samples)} is damaged or incomplete{_ADVICE}") from None
        if hashlib.sha256(content).hexdigest() != digest:
            raise DamagedError(f"{where} is not what was written{_ADVICE}")
        return content


def to_h5(tensors: Mapping[str, np.ndarray]) -> bytes:
    """Variables as HDF5, each at the path of its name."""
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for name, tensor in tensors.items():
            file.create_dataset(name, data=tensor, track_times=False)
    return content.getvalue()


def from_h5(content: bytes, where: str) -> dict[str, np.ndarray]:
    """What `to_h5` was given.

    Raises:
        DamagedError: it is no such file.
    """
    found: dict[str, np.ndarray] = {}

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            check_contained(file)
            file.visititems(note)
    except (OSError, RuntimeError, UnsafeHdf5Error) as error:
        raise DamagedError(f"{where} is no checkpoint: {error}") from None
    return found


def _to_npz(tensors: Mapping[str, np.ndarray]) -> bytes:
    content = io.BytesIO()
    named: dict[str, Any] = {name.replace("/", "|"): tensor for name, tensor in tensors.items()}
    np.savez(content, **named)
    return content.getvalue()


def _from_npz(content: bytes, where: str) -> dict[str, np.ndarray]:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return {name.replace("|", "/"): file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DamagedError(f"{where} is no checkpoint: {error}") from None
