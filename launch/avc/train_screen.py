"""What people see of a training while it goes, and how they stop it."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import TYPE_CHECKING, NamedTuple

from l3core.training.chance import accuracy_interval, in_words, percent
from l3core.training.history import EARLY_EVERY, EARLY_STEPS, EPOCH
from l3core.training.loop import Watcher
from launch.screen import POLL_S, showing_progress
from launch.words import duration

if TYPE_CHECKING:
    from l3core.training.checkpoints import Best, State
    from l3core.training.history import Row
    from l3core.training.output import Identity
    from l3core.training.settings import TrainingSettings
    from l3core.training.step import Figures

CHANCE = 0.5
AT_CHANCE = """\
after {steps} steps it is not better than chance. What to look at, in this order:
  the data: l3flow avc inspect shows whether sound and picture of a pair belong together
  the learning rate: 1e-5 learns slowly, a small corpus takes ten to a hundred times that
  patience: the paper's networks take millions of pairs
  --shuffle-labels: that control must stay at chance, and this training must not do the same"""


@contextmanager
def asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Within the block, the first Ctrl-C or SIGTERM is a wish to be asked for; the second interrupts."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # only there can signals be handled
        yield asked.is_set
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, frame: FrameType | None) -> None:
        asked.set()
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in before:
        signal.signal(number, ask)
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Shown(NamedTuple):
    """How far a training is.

    Attributes:
        step: that was done, of so many `steps`.
        first: step that this run began after.
        epoch: from 1, of so many `epochs`.
        pairs_a_step: of a step.
        loss: of the last steps.
        accuracy: of the last steps.
        judged: pairs of the validation that are done, and all; None while it trains.
    """

    step: int
    steps: int
    first: int
    epoch: int
    epochs: int
    pairs_a_step: int
    loss: float = 0.0
    accuracy: float = CHANCE
    judged: tuple[int, int] | None = None

    @property
    def share(self) -> float:
        """Of all steps."""
        return self.step / self.steps

    @property
    def begun(self) -> bool:
        """Whether a step was done since it began, so that compiling is no part of the rate."""
        return self.step > self.first


def _speed(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def describe(shown: _Shown, seconds: float) -> str:
    """How far it is, in words."""
    epoch = f"epoch {shown.epoch} of {shown.epochs}"
    if shown.judged:
        return f"{epoch}: validating, {shown.judged[0]:,} of {shown.judged[1]:,} pairs"
    if not shown.begun:
        return "reading pairs and compiling the network"
    rate = (shown.step - shown.first) / max(seconds, POLL_S)
    left = (shown.steps - shown.step) / rate
    return (
        f"{epoch}, {_speed(rate * shown.pairs_a_step)} pairs/s, loss {shown.loss:.4f}, accuracy "
        f"{percent(shown.accuracy)}, {duration(left)} left"
    )


class Screen(Watcher):
    """Shows a training.

    Args:
        settings: of the training.
        stops: whether it is wished that it stops.
        quiet: show nothing.
    """

    _FORGETS = 0.98  # what was shown before counts so much less after each step

    def __init__(self, settings: "TrainingSettings", stops: Callable[[], bool], *, quiet: bool) -> None:
        self._settings, self._stops, self._quiet = settings, stops, quiet
        self._shown = _Shown(0, settings.steps, 0, 1, settings.epochs, settings.batch_size)
        self._stack = ExitStack()
        early = min(EARLY_STEPS, settings.steps) // EARLY_EVERY * EARLY_EVERY
        self._last_early = 0 if settings.shuffle_labels else early

    def __enter__(self) -> "Screen":
        self._stack.enter_context(showing_progress(lambda: self._shown, describe, quiet=self._quiet))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def begun(self, state: "State", identity: "Identity") -> None:
        """See `Watcher`."""
        epoch = min(state.epochs + 1, self._settings.epochs)
        self._shown = self._shown._replace(step=state.step, first=state.step, epoch=epoch)
        if state.step and state.epochs < self._settings.epochs:
            self._say(f"goes on after step {state.step:,} of {self._settings.steps:,}")

    def stepped(self, step: int, figures: "Figures") -> None:
        """See `Watcher`."""
        shown, accuracy = self._shown, figures.correct / figures.pairs
        old = self._FORGETS if shown.begun else 0.0
        self._shown = shown._replace(
            step=step,
            epoch=(step - 1) // self._settings.steps_per_epoch + 1,
            loss=old * shown.loss + (1 - old) * figures.loss,
            accuracy=old * shown.accuracy + (1 - old) * accuracy,
            judged=None,
        )

    def judging(self, done: int, pairs: int) -> None:
        """See `Watcher`."""
        self._shown = self._shown._replace(judged=(done, pairs))

    def noted(self, row: "Row", best: "Best | None") -> None:
        """See `Watcher`."""
        if row.kind == EPOCH:
            self._say(epoch_in_words(row, best, self._settings.epochs))
        else:
            self._say(early_in_words(row))
            if row.step == self._last_early and not above_chance(row):
                self._say(AT_CHANCE.format(steps=row.step))

    def stops(self) -> bool:
        """See `Watcher`."""
        return self._stops()

    def _say(self, line: str) -> None:
        if not self._quiet:
            print(line, file=sys.stderr, flush=True)


def above_chance(row: "Row") -> bool:
    """Whether it tells pairs apart better than guessing would in 39 of 40 cases."""
    return accuracy_interval(round(row.accuracy * row.pairs), row.pairs).low > CHANCE


def early_in_words(row: "Row") -> str:
    """What the last of the first steps say."""
    told = in_words(round(row.accuracy * row.pairs), row.pairs)
    verdict = "better than" if above_chance(row) else "not yet better than"
    return f"step {row.step}: loss {row.loss:.4f}, accuracy {told}, {verdict} chance (50 %)"


def epoch_in_words(row: "Row", best: "Best | None", epochs: int) -> str:
    """What an epoch has brought."""
    assert row.validation_accuracy is not None
    assert row.validation_pairs is not None
    told = in_words(round(row.validation_accuracy * row.validation_pairs), row.validation_pairs)
    mark = ", the best so far" if best is not None and best.epoch == row.epoch else ""
    return (
        f"epoch {row.epoch} of {epochs}: loss {row.loss:.4f}, accuracy {percent(row.accuracy)}, "
        f"validation accuracy {told}{mark}; {_speed(row.samples_per_s)} pairs/s, waited for pairs "
        f"{percent(row.wait_share)} of the time"
    )
