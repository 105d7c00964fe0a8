"""Training: step after step, a validation after each epoch, and everything kept that goes on needs."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from l3core import storage
from l3core.avc.corpus import Corpus
from l3core.errors import RunError, UsageError
from l3core.training.alone import alone_in
from l3core.training.checkpoints import Best, Checkpoints, State
from l3core.training.history import (
    EARLY,
    EARLY_STEPS,
    EPOCH,
    Row,
    Sums,
    is_early,
    read_history,
    until,
    write_history,
)
from l3core.training.output import (
    Identity,
    OutputPaths,
    check_identity,
    claim,
    identity_for,
)
from l3core.training.settings import TrainingSettings

if TYPE_CHECKING:
    from l3core.training.feed import Feed, Source
    from l3core.training.step import Figures, Trainer

SAVE_EVERY_S = 900.0  # a kill costs so much of a long epoch, at most


class Watcher:
    """Who looks at a training; this one does not. Whoever does overrides what it is told."""

    def begun(self, state: State, identity: Identity) -> None:
        """The training begins, or goes on, here."""

    def stepped(self, step: int, figures: "Figures") -> None:
        """A step was done, from 1."""

    def judging(self, done: int, pairs: int) -> None:
        """Of the validation, so many pairs are done."""

    def noted(self, row: Row, best: Best | None) -> None:
        """A row was added to the history."""

    def stops(self) -> bool:
        """Whether to stop here; asked after each step."""
        return False


class Outcome(NamedTuple):
    """How a call of `train` ended.

    Attributes:
        state: of the training.
        finished: whether all its epochs are done; else it was told to stop.
        rows: the history.
    """

    state: State
    finished: bool
    rows: tuple[Row, ...]


def train(
    settings: TrainingSettings,
    corpus: Corpus,
    output: str,
    *,
    devices: Sequence[str] = (),
    deterministic: bool = False,
    watcher: Watcher | None = None,
) -> Outcome:
    """Train, or go on with what was begun in a folder.

    Args:
        settings: of the training.
        corpus: of the pairs.
        output: folder of what it leaves.
        devices: see `l3core.training.devices.strategy_of`.
        deterministic: let TensorFlow use only what gives the same numbers each time; a CPU does anyway.
        watcher: is told how it goes, and may stop it.

    Raises:
        UsageError: the corpus lacks pairs, the folder has another training, there is no such device.
        BusyError: another run is at work in the folder.
        DamagedError: a file of the corpus or a checkpoint is not what was written.
        RunError: the loss is no number; the batch and the weights before it are in OUT/nan.
    """
    check_corpus(corpus)
    root = storage.absolute_folder(output)
    check_identity(OutputPaths(root), identity_for(settings, corpus))  # before TensorFlow is loaded
    strategy = _strategy(settings, devices, deterministic)
    with alone_in(root) as hold:
        return _Training(settings, corpus, root, strategy, watcher or Watcher(), hold).run()


class _Training:
    """A training on its way."""

    def __init__(
        self,
        settings: TrainingSettings,
        corpus: Corpus,
        root: str,
        strategy: Any,
        watcher: Watcher,
        hold: Callable[[], None],
    ) -> None:
        self._settings, self._watcher, self._hold = settings, watcher, hold
        self._paths, self._checkpoints = OutputPaths(root), Checkpoints(root)
        found = self._checkpoints.resume()
        self._state = State() if found is None else found.state
        wanted = identity_for(settings, corpus, replicas=strategy.num_replicas_in_sync)
        self._identity = claim(self._paths, wanted, epochs_done=self._state.epochs)
        self._trainer = _trainer(settings, strategy)
        if found is not None:
            where = self._checkpoints.folder(self._state.samples)
            self._trainer.restore(found.weights, found.optimizer, where=where)
        self._source, self._judged = sources(settings, corpus)
        self._rows = self._kept_rows()
        self._saved_at = time.monotonic()

    def _kept_rows(self) -> list[Row]:
        from l3core.training.events import known_rows

        rows = read_history(self._paths.history)
        rows = until(rows, step=self._state.step, epochs=self._state.epochs)
        self._told = known_rows(self._paths.tensorboard, len(rows))  # TensorBoard
        return rows

    def run(self) -> Outcome:
        """Train to the end, or until it is told to stop."""
        self._watcher.begun(self._state, self._identity)
        self._tell()  # what a killed run has not
        feed: Feed | None = None
        while self._state.epochs < self._settings.epochs:
            if self._watcher.stops():
                self._save()
                return Outcome(self._state, False, tuple(self._rows))
            if self._state.step == (self._state.epochs + 1) * self._settings.steps_per_epoch:
                self._close_epoch()
                continue
            if feed is None:
                feed = self._source.batches(self._state.step)
            self._step(feed)
            if self._is_due():
                self._save()
        return Outcome(self._state, True, tuple(self._rows))

    def _step(self, feed: "Feed") -> None:
        begin = time.perf_counter()
        batch = next(feed)
        got = time.perf_counter()
        figures, finite = self._trainer.train(batch)
        if not finite:
            raise self._no_number(figures)
        state, seconds = self._state, time.perf_counter() - begin
        state.step += 1
        state.samples += figures.pairs
        for sums in (state.epoch, state.window):
            sums.add(figures, seconds=seconds, waited=got - begin)
        self._watcher.stepped(state.step, figures)
        if is_early(state.step):
            self._note(EARLY, state.window)
            state.window = Sums()

    def _is_due(self) -> bool:
        kept = self._settings.keeps_checkpoint(self._state.step)
        closing = self._state.step % self._settings.steps_per_epoch == 0  # then the epoch's end does it
        return not closing and (kept or time.monotonic() - self._saved_at > SAVE_EVERY_S)

    def _close_epoch(self) -> None:
        """Validate, and keep all of it; told to stop meanwhile, it is done when the training goes on."""
        judged = Sums()
        for batch in self._judged.batches():
            judged.add(self._trainer.judge(batch))
            self._watcher.judging(judged.pairs, self._judged.pairs)
            if self._watcher.stops():
                return
        state = self._state
        accuracy, loss = judged.correct / judged.pairs, judged.loss / judged.pairs
        if not math.isfinite(loss):
            raise RunError(
                f"step {state.step}: the loss of the validation is no number ({loss:g}). "
                f"{self._advice()}"
            )
        state.epochs += 1
        if state.best is None or accuracy > state.best.validation_accuracy:
            state.best = Best(state.epochs, state.samples, accuracy, loss)
        self._note(EPOCH, state.epoch, judged)
        state.epoch = Sums()
        if state.step > EARLY_STEPS:
            state.window = Sums()
        self._save()

    def _note(self, kind: str, sums: Sums, judged: Sums | None = None) -> None:
        state = self._state
        epoch = (state.step - 1) // self._settings.steps_per_epoch + 1
        places = {"epoch": epoch, "step": state.step, "samples": state.samples}
        row = sums.row(kind, **places, time=round(time.time(), 3), judged=judged)
        self._rows.append(row)
        self._watcher.noted(row, state.best)

    def _save(self) -> None:
        """Write the history, then a checkpoint: rows that no checkpoint has are cut when it goes on."""
        self._hold()
        write_history(self._paths.history, self._rows)
        state = replace(self._state, kept=self._settings.keeps_checkpoint(self._state.step))
        self._checkpoints.save(state, self._trainer.weights(), self._trainer.optimizer())
        self._tell()
        self._saved_at = time.monotonic()

    def _tell(self) -> None:
        """Write what people look at."""
        from l3core.reports.training import training_page
        from l3core.training.events import write_events

        write_events(self._paths.tensorboard, self._rows, known=self._told)
        self._told = len(self._rows)
        page = training_page(self._identity, self._rows, self._state.best)
        storage.write_bytes(self._paths.page, page.encode())

    def _no_number(self, figures: "Figures") -> RunError:
        """Keep what gave no number; says so."""
        from l3core.avc.examples import frame

        batch = next(self._source.raw_batches(self._state.step))
        with storage.writing(storage.join(self._paths.nan, "batch.tfrecord")) as file:
            for record in batch.records:
                file.write(frame(record))
        before = Checkpoints(self._paths.nan)
        before.save(self._state, self._trainer.weights(), self._trainer.optimizer())
        return RunError(
            f"step {self._state.step + 1}: the loss or its gradient is no number (loss "
            f"{figures.loss:g}); its pairs, and the weights before it, are in {self._paths.nan}. "
            f"{self._advice()}"
        )

    def _advice(self) -> str:
        """What may help against no numbers, and what is left."""
        precision = "" if self._settings.precision == "float32" else ", or --precision float32,"
        left = "" if self._checkpoints.latest() is None else "; the last checkpoint is as it was"
        return f"A lower --learning-rate{precision} may help, in another --output{left}"


def check_corpus(corpus: Corpus) -> None:
    """Hold that there is something to train on and to validate with.

    Raises:
        UsageError: there is not.
    """
    for split in ("train", "valid"):
        if not sum(file.pairs for file in corpus.of_split(split)):
            raise UsageError(f"{corpus.root} has no pairs in its split {split}: sample more videos")


def sources(settings: TrainingSettings, corpus: Corpus) -> tuple["Source", "Source"]:
    """(what is trained on, what is validated with)."""
    from l3core.training.feed import Source

    size, seed = settings.batch_size, settings.seed
    shuffled = settings.shuffle_labels
    trained = Source(corpus, "train", batch_size=size, seed=seed, shuffle_labels=shuffled)
    limit = settings.validation_steps * size
    return trained, Source(corpus, "valid", batch_size=size, seed=seed, limit=limit)


def _strategy(settings: TrainingSettings, devices: Sequence[str], deterministic: bool) -> Any:
    import tensorflow as tf

    from l3core.training.devices import strategy_of

    if deterministic:
        tf.config.experimental.enable_op_determinism()
    return strategy_of(devices, batch_size=settings.batch_size)


def _trainer(settings: TrainingSettings, strategy: Any) -> "Trainer":
    from l3core.training.step import Trainer

    return Trainer(settings, strategy)
