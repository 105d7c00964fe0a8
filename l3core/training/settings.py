"""How a network is trained: everything that changes what it becomes, and the presets."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from l3core.errors import SpecError, UsageError
from l3core.models.avc import AvcNetwork
from l3core.spec import PRECISIONS as _OF_SPECS

PRECISIONS = tuple(each for each in _OF_SPECS if each != "int8")  # whole numbers have no gradients
LARGEST_SEED = 2**32 - 1
# A training may go on for more epochs than it was begun with: nothing before depends on their number.
MAY_CHANGE = ("epochs",)


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """A training; the defaults are the paper's (Cramer et al. 2019, section 4; l3embedding's jobs).

    Attributes:
        model: what is trained, of `l3core.models.avc.TRAINABLE`.
        input_repr: its spectrogram, as of `EmbeddingSpec`.
        frontend: generation of its spectrogram.
        epochs: that are trained; each ends with a validation.
        steps_per_epoch: steps of an epoch, whatever the corpus has.
        batch_size: pairs of a step.
        learning_rate: Adam's.
        learning_rate_decay: factor of it after each epoch; 1: it stays the same.
        l2: weight of the sum of the kernels' squares in the loss.
        seed: of the first weights and of the order of the pairs.
        validation_steps: batches of the validation, at most; the same pairs each time.
        checkpoint_samples: a checkpoint is kept each time that so many pairs more were seen.
        precision: in which the layers compute, as of `EmbeddingSpec`.
        shuffle_labels: train on labels that are drawn, for a control that must stay at chance.

    Raises:
        SpecError: a field is not what it may be.
    """

    model: str = "l3"
    input_repr: str = "mel256"
    frontend: str = "as-trained"
    epochs: int = 300
    steps_per_epoch: int = 4096
    batch_size: int = 64
    learning_rate: float = 1e-5
    learning_rate_decay: float = 1.0
    l2: float = 1e-5
    seed: int = 0
    validation_steps: int = 1024
    checkpoint_samples: int = 2_621_440
    precision: str = "float32"
    shuffle_labels: bool = False

    def __post_init__(self) -> None:
        assert self.network is not None  # it says what is wrong with its fields
        for name in (
            "epochs",
            "steps_per_epoch",
            "batch_size",
            "validation_steps",
            "checkpoint_samples",
        ):
            _hold(name, getattr(self, name), getattr(self, name) >= 1, "a whole number above 0")
        _hold("seed", self.seed, 0 <= self.seed <= LARGEST_SEED, f"a number from 0 to {LARGEST_SEED}")
        rate = self.learning_rate
        _hold("learning_rate", rate, 0 < rate < math.inf, "a number above 0")
        decay = self.learning_rate_decay
        _hold("learning_rate_decay", decay, 0 < decay <= 1, "a number above 0, at most 1")
        _hold("l2", self.l2, 0 <= self.l2 < math.inf, "a number of at least 0")
        known = ", ".join(PRECISIONS)
        _hold("precision", self.precision, self.precision in PRECISIONS, f"one of {known}")

    @property
    def network(self) -> AvcNetwork:
        """What is trained."""
        return AvcNetwork(model=self.model, input_repr=self.input_repr, frontend=self.frontend)

    @property
    def steps(self) -> int:
        """Of the whole training."""
        return self.epochs * self.steps_per_epoch

    @property
    def samples(self) -> int:
        """Pairs that the whole training sees."""
        return self.steps * self.batch_size

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        return asdict(self)

    def keeps_checkpoint(self, step: int) -> bool:
        """Whether the checkpoint after a step is one of those that are kept."""
        now, before = step * self.batch_size, (step - 1) * self.batch_size
        return step > 0 and now // self.checkpoint_samples > before // self.checkpoint_samples


def _hold(field: str, value: object, fine: bool, what: str) -> None:
    if not fine:
        raise SpecError(field, f"needs {what}, got {value!r}")


def settings_of(found: Mapping[str, Any], where: str) -> TrainingSettings:
    """Settings that were written to a file.

    Raises:
        UsageError: they are of another version, or damaged.
    """
    names = {field.name for field in fields(TrainingSettings)}
    if set(found) != names:
        odd = ", ".join(sorted(set(found) ^ names))
        raise UsageError(f"{where} is of another version of l3flow, or damaged: {odd}")
    try:
        return TrainingSettings(**found)
    except (SpecError, TypeError) as error:
        raise UsageError(f"{where} is damaged: {error}") from None


PRESETS: dict[str, TrainingSettings] = {
    # l3embedding's jobs/: one epoch in ten is kept
    "paper": TrainingSettings(seed=20180216),
    "toy": TrainingSettings(
        model="l3-narrow",
        epochs=14,
        steps_per_epoch=100,
        batch_size=16,
        learning_rate=2e-3,
        learning_rate_decay=0.85,
        validation_steps=32,
        checkpoint_samples=8_000,
    ),
}
