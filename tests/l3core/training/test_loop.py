"""Training as its users meet it: what it leaves, and that nothing can be told of a kill."""

import json
import re
import shutil
import subprocess
import sys
import uuid
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from l3core.avc.records import read_records
from l3core.errors import BusyError, DamagedError, RunError, UsageError
from l3core.table.json_objects import read_json
from l3core.table.layout import TablePaths
from l3core.training.alone import LOCK
from l3core.training.checkpoints import Checkpoints
from l3core.training.evaluating import Evaluator
from l3core.training.history import EARLY, EPOCH, read_history
from l3core.training.loop import Watcher, train
from l3core.training.opening import open_training
from l3core.training.settings import TrainingSettings
from tests.l3core.training.trainings import Kill
from tests.pairs import make_corpus
from tests.processes import killed_at_end

REPOSITORY = Path(__file__).parents[3]
SETTINGS = TrainingSettings(
    model="l3-narrow",
    input_repr="linear",
    epochs=3,
    steps_per_epoch=6,
    batch_size=4,
    learning_rate=1e-3,
    validation_steps=5,
    checkpoint_samples=40,
)
SHORT = replace(SETTINGS, epochs=1, steps_per_epoch=1, validation_steps=1)


@pytest.fixture(scope="module", autouse=True)
def one_trainer():
    """One for all trainings here, put back to its beginning: compiling it is most of what they take.

    That it is as a new one is what the training shows that is killed: it has its own.
    """
    import tensorflow as tf

    from l3core.training.step import Trainer

    trainer = Trainer(SETTINGS, tf.distribute.get_strategy())
    beginning = trainer.weights(), trainer.optimizer()

    def begun(settings, strategy):
        assert (settings.seed, settings.l2, settings.model) == (
            SETTINGS.seed,
            SETTINGS.l2,
            SETTINGS.model,
        )
        trainer.restore(*beginning, where="the beginning")
        trainer._optimizer.learning_rate = settings.learning_rate
        return trainer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("l3core.training.loop._trainer", begun)
        yield


class Losses(Watcher):
    """Notes each step; prints it, if a file is given; stops after one."""

    def __init__(self, file=None, last=None):
        self.found, self.file, self.last = {}, file, last

    def stepped(self, step, figures):
        self.found[step] = figures.loss
        if self.file:
            print(step, figures.loss.hex(), file=self.file, flush=True)

    def stops(self):
        return self.last in self.found


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus"), splits={"train": 40, "valid": 18, "test": 6})


@pytest.fixture(scope="module")
def whole(corpus, tmp_path_factory):
    """(folder, outcome, loss of each step) of a training in one go."""
    folder, losses = tmp_path_factory.mktemp("whole"), Losses()
    return folder, train(SETTINGS, corpus, str(folder), watcher=losses), losses.found


def told(rows):
    """What rows say that does not depend on the clock."""
    return [row._replace(seconds=0, samples_per_s=0, wait_share=0, time=0) for row in rows]


def test_what_it_leaves(whole, corpus):
    folder, outcome, losses = whole
    assert (outcome.finished, outcome.state.step, outcome.state.samples) == (True, 18, 72)
    assert list(losses) == list(range(1, 19))
    rows = read_history(str(folder / "history.csv"))
    assert tuple(rows) == outcome.rows
    assert [(row.kind, row.epoch, row.step) for row in rows] == [(EPOCH, n, 6 * n) for n in (1, 2, 3)]
    assert [row.validation_pairs for row in rows] == [18] * 3
    assert rows[1].loss == pytest.approx(np.mean([losses[step] for step in range(7, 13)]))
    assert all(0 <= row.wait_share < 1 and row.samples_per_s > 0 for row in rows)
    found = read_json(str(folder / "training.json"))
    assert found["settings"] == SETTINGS.as_json()
    assert found["corpus"] == {"uri": corpus.root, "digest": corpus.digest, "training_pairs": 40}
    page = (folder / "training.html").read_text()
    assert "validation" in page
    assert corpus.digest in page
    assert f"{100 * outcome.state.best.validation_accuracy:.1f} %" in page


def test_checkpoints_are_those_that_are_asked_for_the_best_and_the_latest(whole):
    folder, outcome, _ = whole
    best = outcome.state.best
    highest = max(row.validation_accuracy for row in outcome.rows)
    first = next(row for row in outcome.rows if row.validation_accuracy == highest)
    assert best == (first.epoch, first.samples, highest, first.validation_loss)
    # 40 pairs are seen after step 10, in the middle of an epoch
    assert Checkpoints(str(folder)).all() == sorted({40, 72, best.samples})
    assert read_json(str(folder / "latest.json"))["samples"] == 72
    assert read_json(str(folder / "best.json")) == best._asdict()


def assert_tensorboard_has(folder, rows):
    """The rows of epochs and those of the first steps."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    for tag, kind, field in (
        ("loss/training", EPOCH, "loss"),
        ("accuracy/validation", EPOCH, "validation_accuracy"),
        ("early/loss/training", EARLY, "loss"),
    ):
        expected = [(row.step, getattr(row, field)) for row in rows if row.kind == kind]
        found = [(event.step, event.value) for event in events.Scalars(tag)] if expected else []
        assert found == [(step, pytest.approx(value)) for step, value in expected]


def test_tensorboard_reads_it(whole):
    folder, outcome, _ = whole
    assert_tensorboard_has(folder, outcome.rows)


def test_its_best_checkpoint_is_what_was_validated(whole, corpus):
    folder, outcome, _ = whole
    training = open_training(str(folder))
    score = Evaluator(training, "best").score(corpus, "valid")
    best = outcome.state.best
    assert (score.samples, score.pairs) == (best.samples, 18)
    assert score.accuracy == best.validation_accuracy
    assert score.loss == pytest.approx(best.validation_loss, rel=1e-6)
    model = training.model(best.samples)
    kernel = training.checkpoints.weights(best.samples)["match/kernel"]
    assert np.array_equal(model.get_layer("match").kernel.numpy(), kernel)
    with pytest.raises(UsageError, match=r"no checkpoint 41; there is: best, latest, .*40"):
        training.checkpoints.find("41")


def test_weights_are_read_before_a_training_at_work_can_remove_them(whole, tmp_path, monkeypatch):
    """It does while the network is built."""
    from l3core.training import step

    folder = shutil.copytree(whole[0], tmp_path / "training")

    class Slow(step.Trainer):
        def __init__(self, *args):
            shutil.rmtree(folder / "checkpoints")
            super().__init__(*args)

    monkeypatch.setattr(step, "Trainer", Slow)
    assert Evaluator(open_training(str(folder)), "best").samples == whole[1].state.best.samples


KILLED = """
import sys
from l3core.avc.corpus import open_corpus
from l3core.training.loop import train
from tests.l3core.training.test_loop import SETTINGS, Losses

train(SETTINGS, open_corpus(sys.argv[1]), sys.argv[2], watcher=Losses(sys.stdout))
"""


def test_a_kill_and_a_stop_change_nothing(whole, corpus, tmp_path):
    folder, outcome, losses = whole
    command = [sys.executable, "-c", KILLED, corpus.root, str(tmp_path)]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    with killed_at_end(process):
        for line in process.stdout:
            step, loss = line.split()
            assert float.fromhex(loss) == losses[int(step)]
            if step == "9":  # in the second epoch
                process.kill()
                break
    assert int(step) == 9
    stopped, finished = Losses(last=15), Losses()
    first = train(SETTINGS, corpus, str(tmp_path), watcher=stopped)
    assert (first.finished, first.state.step) == (False, 15)
    last = train(SETTINGS, corpus, str(tmp_path), watcher=finished)
    # the killed one had left the end of the first epoch, the stopped one where it was
    assert list(stopped.found) == list(range(7, 16))
    assert list(finished.found) == [16, 17, 18]
    assert {**stopped.found, **finished.found} == {step: losses[step] for step in range(7, 19)}
    assert told(last.rows) == told(outcome.rows)
    assert last.state.best == outcome.state.best
    assert Checkpoints(str(tmp_path)).all() == Checkpoints(str(folder)).all()
    ours, theirs = Checkpoints(str(tmp_path)).load(72), Checkpoints(str(folder)).load(72)
    for mine, their in ((ours.weights, theirs.weights), (ours.optimizer, theirs.optimizer)):
        assert {name: value.tobytes() for name, value in mine.items()} == {
            name: value.tobytes() for name, value in their.items()
        }


def test_it_goes_on_for_more_epochs_and_after_its_end_does_nothing(whole, corpus):
    """In a store, too."""
    few, output = replace(SETTINGS, epochs=1), f"memory://{uuid.uuid4()}/out"
    assert train(few, corpus, output).state.step == 6
    more, losses = Losses(), whole[2]
    train(replace(SETTINGS, epochs=2), corpus, output, watcher=more)
    assert more.found == {step: losses[step] for step in range(7, 13)}
    assert read_json(f"{output}/training.json")["settings"]["epochs"] == 2
    again = Losses()
    assert train(few, corpus, output, watcher=again).finished
    assert again.found == {}
    assert read_json(f"{output}/training.json")["settings"]["epochs"] == 2


def test_another_training_is_refused(whole, corpus, tmp_path):
    folder = str(whole[0])
    with pytest.raises(UsageError, match=r"^--learning-rate 0.1: the training in .* with 0.001"):
        train(replace(SETTINGS, learning_rate=0.1), corpus, folder)
    other = make_corpus(tmp_path / "other", seed=1, splits={"train": 8, "valid": 8})
    with pytest.raises(UsageError, match="was begun with other pairs"):
        train(SETTINGS, other, folder)
    empty = make_corpus(tmp_path / "empty", splits={"train": 8})
    with pytest.raises(UsageError, match="has no pairs in its split valid"):
        train(SETTINGS, empty, str(tmp_path / "out"))


def test_a_damaged_checkpoint_is_told(corpus, tmp_path):
    train(SHORT, corpus, str(tmp_path))
    path = tmp_path / "checkpoints" / "4" / "weights.h5"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(DamagedError, match=re.escape(f"{path} is not what was written")):
        train(replace(SHORT, epochs=2), corpus, str(tmp_path))


def test_on_another_number_of_devices_it_does_not_go_on(corpus, tmp_path):
    train(SHORT, corpus, str(tmp_path))
    path = tmp_path / "training.json"
    found = json.loads(path.read_text())
    assert found["replicas"] == 1
    path.write_text(json.dumps(found | {"replicas": 4}))
    with pytest.raises(UsageError, match=r"^--devices: 1 here, .* was begun on 4,"):
        train(replace(SHORT, epochs=2), corpus, str(tmp_path))


def test_two_at_the_same_time_are_refused(corpus, tmp_path):
    """And the first one is not disturbed; if it was silent too long, it is the one that ends."""
    lock = Path(TablePaths(str(tmp_path)).lock(LOCK))

    class Second(Watcher):
        def stepped(self, step, figures):
            with pytest.raises(BusyError, match="is working"):
                train(SHORT, corpus, str(tmp_path))

    assert train(SHORT, corpus, str(tmp_path), watcher=Second()).finished
    assert not lock.exists()

    class Taken(Watcher):
        def stepped(self, step, figures):
            lock.write_text(json.dumps({"run_id": "other", "host": "elsewhere", "pid": 1}))

    before = read_json(str(tmp_path / "latest.json"))
    with pytest.raises(RunError, match=f"^run other has taken {re.escape(str(tmp_path))} over"):
        train(replace(SHORT, epochs=2), corpus, str(tmp_path), watcher=Taken())
    assert read_json(str(tmp_path / "latest.json")) == before
    assert lock.exists()  # it is the other's


@pytest.fixture(scope="module")
def begun(corpus, tmp_path_factory):
    """(an epoch, whose validation was worse than any, what a second one makes of it)."""
    folder = tmp_path_factory.mktemp("begun") / "training"
    train(SHORT, corpus, str(folder))
    state = folder / "checkpoints" / "4" / "state.json"
    found = json.loads(state.read_text())
    found["best"]["validation_accuracy"] = -1.0
    state.write_text(json.dumps(found))
    whole = shutil.copytree(folder, folder.parent / "whole")
    return folder, train(replace(SHORT, epochs=2), corpus, str(whole))


@pytest.mark.parametrize("at", ["latest.json", "best.json", ".l3flow", "training.html"])
def test_the_same_command_heals_a_kill_within_the_last_save(at, begun, corpus, tmp_path):
    """There is nothing left to train then; what comes before these is in test_checkpoints."""
    before, expected = begun
    folder = shutil.copytree(before, tmp_path / "training")
    settings = replace(SHORT, epochs=2)

    class Arming(Watcher):
        def noted(self, row, best):
            kill.armed = True

    with Kill(at, armed=False) as kill:
        train(settings, corpus, str(folder), watcher=Arming())
    assert kill.done
    outcome = train(settings, corpus, str(folder))
    assert outcome.state.best == expected.state.best
    assert told(outcome.rows) == told(expected.rows)
    assert Checkpoints(str(folder)).all() == [8]
    assert read_json(str(folder / "latest.json"))["samples"] == 8
    assert read_json(str(folder / "best.json")) == expected.state.best._asdict()
    assert_tensorboard_has(folder, outcome.rows)
    assert "2 of 2 epochs are done" in (folder / "training.html").read_text()


def test_a_validation_that_is_no_number_stops_it_and_keeps_nothing(corpus, tmp_path):
    for _ in range(2):  # the second time it is not told that something is damaged
        match = r"^step 1: the loss of the validation is no number .* may help, in another --output$"
        with pytest.raises(RunError, match=match):
            train(replace(SHORT, learning_rate=1e30), corpus, str(tmp_path))
        assert not (tmp_path / "history.csv").exists()
        assert Checkpoints(str(tmp_path)).all() == []


def test_no_number_stops_it_and_keeps_its_pairs_and_the_weights_before(corpus, tmp_path):
    settings = replace(SETTINGS, learning_rate=1e30)
    losses = Losses()
    with pytest.raises(RunError, match=r"^step 2: .*no number .*/nan"):
        train(settings, corpus, str(tmp_path), watcher=losses)
    assert list(losses.found) == [1]
    assert len(read_records(str(tmp_path / "nan" / "batch.tfrecord"))) == 4
    kept = Checkpoints(str(tmp_path / "nan")).load(4)
    assert kept.state.step == 1
    assert all(np.isfinite(value).all() for value in kept.weights.values())


class Early(Watcher):
    def __init__(self):
        self.rows, self.hits = [], []

    def last_accuracy(self, steps):
        return np.mean(self.hits[-steps:])

    def stepped(self, step, figures):
        self.hits.append(figures.correct / figures.pairs)

    def noted(self, row, best):
        self.rows.append(row)


class StopsJudging(Early):
    """Stops in the first validation."""

    judged = False

    def judging(self, done, pairs):
        self.judged = True

    def stops(self):
        return self.judged


def test_the_first_steps_have_rows_of_their_own(corpus, tmp_path, monkeypatch):
    """A stop in the validation comes between two rows of one step."""
    monkeypatch.setattr("l3core.training.history.EARLY_EVERY", 2)
    settings = replace(SETTINGS, epochs=1, validation_steps=1)
    early, rest = StopsJudging(), Early()
    assert not train(settings, corpus, str(tmp_path), watcher=early).finished
    assert train(settings, corpus, str(tmp_path), watcher=rest).finished
    rows = [*early.rows, *rest.rows]
    assert [(row.kind, row.step, row.pairs) for row in rows] == [
        *((EARLY, step, 8) for step in (2, 4, 6)),
        (EPOCH, 6, 24),
    ]
    assert read_history(str(tmp_path / "history.csv")) == rows
    assert_tensorboard_has(tmp_path, rows)


@pytest.mark.parametrize("shuffled", [False, True])
def test_it_learns_what_belongs_together_and_nothing_of_drawn_labels(shuffled, tmp_path):
    """By what it says while it trains: the moving statistics take longer to be of use."""
    pairs = make_corpus(tmp_path / "corpus", splits={"train": 160, "valid": 8})
    steps = {"steps_per_epoch": 60, "batch_size": 8, "learning_rate": 3e-3, "validation_steps": 1}
    settings = replace(SETTINGS, epochs=1, shuffle_labels=shuffled, **steps)
    watcher = Early()
    train(settings, pairs, str(tmp_path / "out"), watcher=watcher)
    if shuffled:  # of 320 guesses 95 % are within 5.5 % of a half; by heart it knows some, too
        assert 0.35 < watcher.last_accuracy(40) < 0.65
    else:
        assert watcher.last_accuracy(10) > 0.8
