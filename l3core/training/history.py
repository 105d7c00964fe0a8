"""How a training went: a row for each epoch, and finer ones of its first thousand steps."""

import csv
import io
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from l3core import storage
from l3core.errors import DamagedError

if TYPE_CHECKING:
    from l3core.training.step import Figures

EARLY_STEPS, EARLY_EVERY = 1000, 50
EARLY, EPOCH = "early", "epoch"


class Row(NamedTuple):
    """A line of history.csv.

    Attributes:
        kind: `EPOCH`: of a whole epoch; `EARLY`: of the last steps before it.
        epoch: from 1.
        step: that it was written after, from 1.
        samples: pairs that were seen until then.
        loss: mean over the pairs that it is of, each before its step.
        accuracy: share of these that were told right.
        pairs: how many these are.
        validation_loss, validation_accuracy: after an epoch; None in between.
        validation_pairs: that these are of.
        seconds: that training took, without validation.
        samples_per_s: pairs in a second of it.
        wait_share: share of it that the device waited for pairs.
        time: when it was written, seconds since 1970.
    """

    kind: str
    epoch: int
    step: int
    samples: int
    loss: float
    accuracy: float
    pairs: int
    validation_loss: float | None
    validation_accuracy: float | None
    validation_pairs: int | None
    seconds: float
    samples_per_s: float
    wait_share: float
    time: float


@dataclass
class Sums:
    """What is added up over steps.

    Attributes:
        pairs: that were seen.
        loss: sum over the pairs.
        correct: told right.
        seconds: that it took.
        waited: of these, waiting for pairs.
    """

    pairs: int = 0
    loss: float = 0.0
    correct: int = 0
    seconds: float = 0.0
    waited: float = 0.0

    def add(self, figures: "Figures", *, seconds: float = 0.0, waited: float = 0.0) -> None:
        """Add a step."""
        self.pairs += figures.pairs
        self.loss += figures.loss * figures.pairs
        self.correct += figures.correct
        self.seconds += seconds
        self.waited += waited

    def as_json(self) -> dict[str, Any]:
        """For a checkpoint."""
        return asdict(self)

    def row(
        self,
        kind: str,
        *,
        epoch: int,
        step: int,
        samples: int,
        time: float,
        judged: "Sums | None" = None,
    ) -> Row:
        """The line that it makes."""
        return Row(
            kind,
            epoch,
            step,
            samples,
            self.loss / self.pairs,
            self.correct / self.pairs,
            self.pairs,
            judged.loss / judged.pairs if judged else None,
            judged.correct / judged.pairs if judged else None,
            judged.pairs if judged else None,
            round(self.seconds, 3),
            round(self.pairs / max(self.seconds, 1e-9), 2),
            round(self.waited / max(self.seconds, 1e-9), 4),
            time,
        )


def write_history(uri: str, rows: Iterable[Row]) -> None:
    """Write history.csv."""
    text = io.StringIO(newline="")
    lines = csv.writer(text, lineterminator="\r\n")
    lines.writerow(Row._fields)
    for row in rows:
        lines.writerow("" if value is None else value for value in row)
    storage.write_bytes(uri, text.getvalue().encode())


def read_history(uri: str) -> list[Row]:
    """The rows of a history.csv; none if there is no file.

    Raises:
        DamagedError: it is no such file.
    """
    try:
        text = storage.read_bytes(uri).decode()
    except FileNotFoundError:
        return []
    except UnicodeDecodeError:
        raise DamagedError(f"{uri} is damaged: it is no text") from None
    lines = list(csv.reader(io.StringIO(text, newline="")))
    if not lines or tuple(lines[0]) != Row._fields:
        raise DamagedError(f"{uri} is damaged, or of another version of l3flow: remove it to go on")
    try:
        return [
            Row(*(_value(name, line[place]) for place, name in enumerate(Row._fields)))
            for line in lines[1:]
        ]
    except (IndexError, ValueError):
        raise DamagedError(f"{uri} is damaged: remove it to go on") from None


def until(rows: Iterable[Row], *, step: int, epochs: int) -> list[Row]:
    """The rows that were there after a step, when so many epochs were closed."""
    return [row for row in rows if (row.epoch <= epochs if row.kind == EPOCH else row.step <= step)]


def is_early(step: int) -> bool:
    """Whether a row of the last steps is written after a step."""
    return step <= EARLY_STEPS and step % EARLY_EVERY == 0


_WHOLE = ("epoch", "step", "samples", "pairs", "validation_pairs")


def _value(name: str, text: str) -> Any:
    if name == "kind":
        return text
    if text == "":
        return None
    if name in _WHOLE:
        return int(text)
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return value
