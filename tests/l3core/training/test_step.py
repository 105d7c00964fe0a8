"""A step does what Keras does; several devices do what their parts of a batch say."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from l3core.errors import UsageError
from l3core.training.devices import strategy_of
from l3core.training.feed import Batch, Source
from l3core.training.settings import TrainingSettings
from l3core.training.step import Trainer
from tests.pairs import make_corpus

REPOSITORY = Path(__file__).parents[3]
SETTINGS = TrainingSettings(model="l3-narrow", input_repr="linear", batch_size=4, learning_rate=1e-3)

# Of float32: rounding decides which of two equal values of these pictures a pooling takes.
GRADIENT = 2e-3


@pytest.fixture(scope="module")
def batches(tmp_path_factory):
    """Two batches of training, and one of validation of which half counts."""
    corpus = make_corpus(tmp_path_factory.mktemp("corpus"), splits={"train": 8, "valid": 2})
    feed = Source(corpus, "train", batch_size=4, seed=0).batches()
    return next(feed), next(feed), next(Source(corpus, "valid", batch_size=4, seed=0, limit=9).batches())


def inputs_of(batch):
    images = np.float32(2) * batch.images.numpy().astype(np.float32) / np.float32(255) - np.float32(1)
    return [images, batch.audio.numpy().astype(np.float32) / np.float32(32768)]


@pytest.fixture(scope="module")
def stepped(batches):
    """(trainer, what it said of a step, the same model trained by Keras, what that said)."""
    trainer = Trainer(SETTINGS, tf.distribute.get_strategy())
    model = SETTINGS.network.build(seed=SETTINGS.seed, l2=SETTINGS.l2)
    adam = keras.optimizers.Adam(SETTINGS.learning_rate)
    model.compile(adam, "categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    batch = batches[0]
    theirs = model.train_on_batch(inputs_of(batch), np.eye(2)[batch.labels])
    return trainer, trainer.train(batch), model, theirs


def distance(ours, theirs):
    return np.linalg.norm(ours - theirs) / max(np.linalg.norm(theirs), 1e-12)


def test_a_step_is_that_of_keras(stepped):
    trainer, (figures, finite), model, (loss, accuracy) = stepped
    assert finite
    assert figures.loss == pytest.approx(loss, rel=1e-5)
    assert figures.correct / figures.pairs == accuracy
    theirs = model.optimizer.variables
    ours = list(trainer.optimizer().values())
    assert len(ours) == len(theirs) > 100
    # after one step the first moments are a tenth of the gradients
    for variable, value in zip(theirs, ours):
        if variable.path.endswith("kernel_momentum"):
            assert distance(value, variable.numpy()) < GRADIENT, variable.path
    statistics = [variable for variable in model.non_trainable_variables if "moving" in variable.path]
    for variable in statistics:  # a hundredth of them is this batch's; means are near 0
        here = trainer.weights()[variable.path]
        assert np.allclose(here, variable.numpy(), rtol=1e-3, atol=1e-5), variable.path


def test_what_fills_a_batch_up_does_not_count(stepped, batches):
    trainer, _, _, _ = stepped
    batch = batches[2]
    figures = trainer.judge(batch)
    said = trainer.model.predict(inputs_of(batch), verbose=0)[:2]
    assert figures.pairs == 2
    assert figures.correct == (said.argmax(axis=1) == batch.labels.numpy()[:2]).sum()
    entropy = -np.log(said[np.arange(2), batch.labels.numpy()[:2]]).mean()
    assert figures.loss == pytest.approx(entropy + sum(map(float, trainer.model.losses)), rel=1e-5)


def test_what_is_no_number_changes_nothing(batches):
    trainer = Trainer(SETTINGS, tf.distribute.get_strategy())
    weight = trainer.model.get_layer("match").kernel
    weight.assign(np.full(weight.shape, np.nan))
    before, optimizer = trainer.weights(), trainer.optimizer()
    figures, finite = trainer.train(batches[0])
    assert (finite, np.isfinite(figures.loss)) == (False, False)
    for name, value in trainer.weights().items():
        assert np.array_equal(value, before[name], equal_nan=True), name
    for name, value in trainer.optimizer().items():
        assert np.array_equal(value, optimizer[name]), name


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_is_near(precision, batches):
    few = Batch(*(each[:2] for each in batches[0]))  # a CPU is slow at it
    whole = SETTINGS.network.build(seed=SETTINGS.seed, l2=SETTINGS.l2)
    said = whole(inputs_of(few), training=True).numpy()
    entropy = -np.log(said[np.arange(2), few.labels.numpy()]).mean()
    settings = TrainingSettings(**SETTINGS.as_json() | {"precision": precision})
    trainer = Trainer(settings, tf.distribute.get_strategy())
    figures, finite = trainer.train(few)
    assert finite
    assert figures.loss == pytest.approx(entropy + sum(map(float, whole.losses)), rel=0.05)
    assert all(
        value.dtype == np.float32 for name, value in trainer.weights().items() if "kernel" in name
    )


def test_another_networks_weights_are_refused(stepped):
    trainer = stepped[0]
    weights = trainer.weights()
    name = next(iter(weights))
    with pytest.raises(UsageError, match=f"^here is of another network: {name} needs .* has nothing"):
        trainer.restore({key: weights[key] for key in list(weights)[1:]}, None, where="here")
    with pytest.raises(UsageError, match=r"has \(7,\)"):
        trainer.restore(weights | {name: np.zeros(7)}, None, where="here")


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (["gpu:0"], "--devices gpu:0: this machine has no GPU"),
        (["tpu:0"], "--devices needs names as gpu:0 or cpu:0, got 'tpu:0'"),
        (["cpu:0", "cpu:0"], "twice"),
        (["cpu:0", "cpu:1", "cpu:2"], "--batch-size 4 cannot be shared equally by 3 devices"),
        (["cpu:0", "cpu:7"], "in use by this process as fewer devices"),
    ],
)
def test_devices_that_cannot_be_are_refused(names, match):
    tf.config.list_logical_devices()  # from here on the process has those that it has
    with pytest.raises(UsageError, match=match):
        strategy_of(names, batch_size=4)


TWO_DEVICES = """
import sys
import numpy as np, tensorflow as tf
from l3core.avc.corpus import open_corpus
from l3core.training.devices import strategy_of
from l3core.training.feed import Batch, Source
from l3core.training.step import Trainer, _inputs, _losses
from tests.l3core.training.test_step import GRADIENT, SETTINGS, distance

strategy = strategy_of(["cpu:0", "cpu:1"], batch_size=4)
batch = next(Source(open_corpus(sys.argv[1]), "train", batch_size=4, seed=0).batches())
gradients, statistics, losses = [], [], []
for half in (slice(0, 2), slice(2, 4)):
    model = SETTINGS.network.build(seed=SETTINGS.seed, l2=SETTINGS.l2)
    part = Batch(*(each[half] for each in batch))
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(_losses(model(_inputs(part), training=True), part.labels))
        loss += sum(model.losses)
    variables = [variable.value for variable in model.trainable_variables]
    gradients.append([each.numpy() for each in tape.gradient(loss, variables)])
    statistics.append([variable.numpy() for variable in model.non_trainable_variables])
    losses.append(float(loss))
trainer = Trainer(SETTINGS, strategy)
figures, finite = trainer.train(batch)
assert finite and abs(figures.loss - np.mean(losses)) < 1e-5, (figures, losses)
assert statistics[0][0].tolist() != statistics[1][0].tolist()
names = [variable.path for variable in trainer.model.trainable_variables]
moments = {name.split("/")[-1]: value for name, value in trainer.optimizer().items()}
worst = max(
    distance(moments[name.replace("/", "_") + "_momentum"] * 10, (one + two) / 2)
    for name, one, two in zip(names, *gradients) if name.endswith("kernel")
)
assert worst < GRADIENT, worst
for variable, one, two in zip(trainer.model.non_trainable_variables, *statistics):
    assert np.allclose(variable.numpy(), (one + two) / 2, rtol=1e-3, atol=1e-5), variable.path
judged = trainer.judge(batch)
again = Trainer(SETTINGS, tf.distribute.get_strategy())
again.restore(trainer.weights(), trainer.optimizer(), where="")
alone = again.judge(batch)
assert (judged.correct, judged.pairs) == (alone.correct, 4) and abs(judged.loss - alone.loss) < 1e-5
assert trainer.train(batch)[1]
print("as it should be")
"""


def test_two_devices_each_normalise_their_part(tmp_path):
    make_corpus(tmp_path, splits={"train": 8})
    said = subprocess.run(
        [sys.executable, "-c", TWO_DEVICES, str(tmp_path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.stdout.splitlines()[-1:] == ["as it should be"], said.stderr[-3000:]
