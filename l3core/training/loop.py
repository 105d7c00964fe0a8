"""Training: step after step, a validation after each epoch, and everything kept that goes on needs."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from l3core import storage
from l3core.avc.corpus import Corpus
from l3core.errors import RunError, UsageError
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
from l3core.training.output import Identity, OutputPaths, claim, identity_for
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
        DamagedError: a file of the corpus or a checkpoint is not what was written.
        RunError: the loss is no number; the batch and the weights before it are in OUT/nan.
    """
    training = _Training(settings, corpus, output, devices, watcher or Watcher(), deterministic)
    return training.run()


class _Training:
    """A training on its way."""

    def __init__(
        self,
        settings: TrainingSettings,
        corpus: Corpus,
        output: str,
        devices: Sequence[str],
        watcher: Watcher,
        deterministic: bool,
    ) -> None:
        check_corpus(corpus)
        root = storage.absolute_folder(output)
        self._settings, self._watcher = settings, watcher
        self._paths, self._checkpoints = OutputPaths(root), Checkpoints(root)
        self._identity = claim(self._paths, identity_for(settings, corpus))
        self._trainer = _trainer(settings, devices, deterministic)
        self._source, self._judged = sources(settings, corpus)
        self._state = self._resumed()
        self._written = self._state.step  # the last step that TensorBoard knows
        self._saved_at = time.monotonic()

    def _resumed(self) -> State:
        found = self._checkpoints.resume()
        state = State()
        if found is not None:
            state = found.state
            self._trainer.restore(
                found.weights, found.optimizer, where=self._checkpoints.folder(state.samples)
            )
        rows = read_history(self._paths.history)
        self._rows = until(rows, step=state.step, epochs=state.epochs)
        from l3core.training.events import remove_events_after

        remove_events_after(self._paths.tensorboard, state.step)
        return state

    def run(self) -> Outcome:
        """Train to the end, or until it is told to stop."""
        self._watcher.begun(self._state, self._identity)
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
        state.epochs += 1
        accuracy, loss = judged.correct / judged.pairs, judged.loss / judged.pairs
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
        from l3core.reports.training import training_page
        from l3core.training.events import write_events

        write_history(self._paths.history, self._rows)
        state = replace(self._state, kept=self._settings.keeps_checkpoint(self._state.step))
        self._checkpoints.save(state, self._trainer.weights(), self._trainer.optimizer())
        write_events(self._paths.tensorboard, [row for row in self._rows if row.step > self._written])
        self._written = state.step
        page = training_page(self._identity, self._rows, state.best)
        storage.write_bytes(self._paths.page, page.encode())
        self._saved_at = time.monotonic()

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
            f"{figures.loss:g}); its pairs, and the weights before it, are in {self._paths.nan}. A "
            "lower --learning-rate, or --precision float32, may help; the last checkpoint is as it was"
        )


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


def _trainer(settings: TrainingSettings, devices: Sequence[str], deterministic: bool) -> "Trainer":
    import tensorflow as tf

    from l3core.training.devices import strategy_of
    from l3core.training.step import Trainer

    if deterministic:
        tf.config.experimental.enable_op_determinism()
    return Trainer(settings, strategy_of(devices, batch_size=settings.batch_size))
