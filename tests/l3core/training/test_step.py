"""A step does what Keras does; several devices do what their parts of a batch say.

What is compared is computed in float64: in float32, rounding decides which of two nearly equal values a
pooling takes, and gradients differ by a thousandth. That the gradients are those of the paper's layers
is in tests/l3core/models/test_avc.py.
"""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from l3core.errors import UsageError
from l3core.training.devices import strategy_of
from l3core.training.feed import Batch, Source
from l3core.training.settings import TrainingSettings
from l3core.training.step import Trainer, _policy
from tests.pairs import make_corpus

REPOSITORY = Path(__file__).parents[3]
SETTINGS = TrainingSettings(model="l3-narrow", input_repr="linear", batch_size=4, learning_rate=1e-3)
# The softmax and the l2 losses are taken in float32 on the way to a gradient.
GRADIENT = 1e-5


def precise(settings=SETTINGS):
    """The same in float64, which nobody is offered."""
    found = replace(settings)
    object.__setattr__(found, "precision", "float64")
    return found


def build(settings):
    """The network in the precision of its settings."""
    with _policy(settings.precision):
        return settings.network.build(seed=settings.seed, l2=settings.l2)


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
    """(trainer, what it said of a step, Keras' model after its forward pass, gradients and figures)."""
    trainer, model, batch = (
        Trainer(precise(), tf.distribute.get_strategy()),
        build(precise()),
        batches[0],
    )

    @tf.function  # a graph's spectrogram is rounded otherwise
    def step(images, sound):
        with tf.GradientTape() as tape:
            inputs = [
                2.0 * tf.cast(images, "float32") / 255.0 - 1.0,
                tf.cast(sound, "float32") / 32768.0,
            ]
            said = model(inputs, training=True)
            loss = keras.losses.SparseCategoricalCrossentropy(dtype="float64")(batch.labels, said)
            loss += sum(model.losses)
        return said, loss, tape.gradient(loss, [each.value for each in model.trainable_variables])

    said, loss, slopes = step(batch.images, batch.audio)
    hits = (said.numpy().argmax(axis=1) == batch.labels.numpy()).sum()
    return trainer, trainer.train(batch), model, [each.numpy() for each in slopes], (float(loss), hits)


def distance(ours, theirs):
    return np.linalg.norm(ours - theirs) / max(np.linalg.norm(theirs), 1e-12)


def moments_of(trainer):
    """Adam's variables by the names that it gives them."""
    return {name.split("/")[-1]: value for name, value in trainer.optimizer().items()}


def test_a_step_is_that_of_keras(stepped):
    trainer, (figures, finite), model, slopes, (loss, hits) = stepped
    assert finite
    assert figures.loss == pytest.approx(loss, rel=1e-6)
    assert (figures.correct, figures.pairs) == (hits, 4)
    moments = moments_of(trainer)
    kernels = 0
    for variable, slope in zip(model.trainable_variables, slopes, strict=True):
        if variable.path.endswith("kernel"):  # a bias before a normalization moves nothing
            first = moments[variable.path.replace("/", "_") + "_momentum"]
            assert first.dtype == np.float64
            assert distance(first, 0.1 * slope) < GRADIENT, variable.path
            kernels += 1
    assert kernels == 18
    for variable in model.non_trainable_variables:
        here = trainer.weights()[variable.path]
        assert np.allclose(here, variable.numpy(), rtol=1e-6, atol=1e-9), variable.path


def test_the_update_is_adams(stepped):
    """Kingma and Ba 2015, algorithm 1, with Keras' epsilon hat of 1e-7."""
    trainer = stepped[0]
    before = {variable.path: variable.numpy() for variable in build(precise()).trainable_variables}
    after = trainer.weights()
    moments = moments_of(trainer)
    assert len(before) > 60
    for name, weight in before.items():
        first, second = (moments[name.replace("/", "_") + end] for end in ("_momentum", "_velocity"))
        np.testing.assert_allclose(second, 0.001 * (first / 0.1) ** 2, rtol=1e-6)
        step = 1e-3 * np.sqrt(1 - 0.999) / (1 - 0.9) * first / (np.sqrt(second) + 1e-7)
        # Keras has 0.999 in float32: 3e-5 of the rest to 1, half of it in the root, of a step of 1e-3
        np.testing.assert_allclose(after[name], weight - step, rtol=0, atol=1.5e-8)


def test_what_fills_a_batch_up_does_not_count(stepped, batches):
    trainer = stepped[0]
    batch = batches[2]
    figures = trainer.judge(batch)
    said = trainer.model.predict(inputs_of(batch), verbose=0)[:2].clip(1e-7, 1 - 1e-7)  # as Keras does
    assert figures.pairs == 2
    assert figures.correct == (said.argmax(axis=1) == batch.labels.numpy()[:2]).sum()
    entropy = -np.log(said[np.arange(2), batch.labels.numpy()[:2]]).mean()
    assert figures.loss == pytest.approx(entropy + sum(map(float, trainer.model.losses)), rel=1e-5)


def assert_as_before(trainer, weights, optimizer):
    for now, before in ((trainer.weights(), weights), (trainer.optimizer(), optimizer)):
        for name, value in now.items():
            assert np.array_equal(value, before[name], equal_nan=True), name


def test_what_is_no_number_changes_nothing(stepped, batches):
    trainer = stepped[0]
    weights, optimizer = trainer.weights(), trainer.optimizer()
    kernel = weights["match/kernel"]
    broken = weights | {"match/kernel": np.full_like(kernel, np.nan)}
    trainer.restore(broken, None, where="")
    figures, finite = trainer.train(batches[0])
    assert (finite, np.isfinite(figures.loss)) == (False, False)
    assert_as_before(trainer, broken, optimizer)
    trainer.restore(weights, None, where="")


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_is_near(precision, batches):
    few = Batch(*(each[:2] for each in batches[0]))  # a CPU is slow at it
    whole = build(SETTINGS)
    said = whole(inputs_of(few), training=True).numpy()
    entropy = -np.log(said[np.arange(2), few.labels.numpy()]).mean()
    settings = replace(SETTINGS, precision=precision)
    trainer = Trainer(settings, tf.distribute.get_strategy())
    figures, finite = trainer.train(few)
    assert finite
    assert figures.loss == pytest.approx(entropy + sum(map(float, whole.losses)), rel=0.05)
    assert all(
        value.dtype == np.float32 for name, value in trainer.weights().items() if "kernel" in name
    )
    state = trainer.weights(), trainer.optimizer()
    another = Trainer(
        settings, tf.distribute.get_strategy()
    )  # in the same process, as after another run
    another.restore(*state, where="the first one")
    assert_as_before(another, *state)
    if precision == "mixed_float16":
        trainer._optimizer.dynamic_scale.assign(0.5)  # what 16 steps without a number come to
        before = trainer.weights(), trainer.optimizer()
        assert not trainer.train(few)[1]
        assert_as_before(trainer, *before)


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
from tests.l3core.training.test_step import GRADIENT, SETTINGS, build, distance, precise

strategy = strategy_of(["cpu:0", "cpu:1"], batch_size=4)
batch = next(Source(open_corpus(sys.argv[1]), "train", batch_size=4, seed=0).batches())
gradients, statistics, losses = [], [], []
for half in (slice(0, 2), slice(2, 4)):
    model = build(precise())
    part = Batch(*(each[half] for each in batch))
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(_losses(model(_inputs(part), training=True), part.labels))
        loss += sum(tf.cast(each, tf.float32) for each in model.losses)
    variables = [variable.value for variable in model.trainable_variables]
    gradients.append([each.numpy() for each in tape.gradient(loss, variables)])
    statistics.append([variable.numpy() for variable in model.non_trainable_variables])
    losses.append(float(loss))
trainer = Trainer(precise(), strategy)
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
    assert np.allclose(variable.numpy(), (one + two) / 2, rtol=1e-6, atol=1e-9), variable.path
judged = trainer.judge(batch)
again = Trainer(precise(), tf.distribute.get_strategy())
again.restore(trainer.weights(), trainer.optimizer(), where="")
alone = again.judge(batch)
assert (judged.correct, judged.pairs) == (alone.correct, 4) and abs(judged.loss - alone.loss) < 1e-5
assert trainer.train(batch)[1]
print("as it should be")
"""

# The network is sure that all pairs belong together: those of the second half that do not have gradients
# some thousand times larger than those of the first.
HALF_OVERFLOWS = """
import sys
from dataclasses import replace
import numpy as np, tensorflow as tf
from l3core.avc.corpus import open_corpus
from l3core.training.devices import strategy_of
from l3core.training.feed import Source
from l3core.training.step import Trainer
from tests.l3core.training.test_step import SETTINGS

strategy = strategy_of(["cpu:0", "cpu:1"], batch_size=2)
batch = next(Source(open_corpus(sys.argv[1]), "train", batch_size=2, seed=0).batches())
right, half = (batch._replace(labels=tf.constant(labels, tf.int64)) for labels in ([1, 1], [1, 0]))
settings = replace(SETTINGS, batch_size=2, precision="mixed_float16", learning_rate=1e-9)
trainer = Trainer(settings, strategy)
trainer.model.get_layer("match").bias.assign([-4.0, 4.0])
scale = trainer._optimizer.dynamic_scale
for power in range(15, 127, 3):
    scale.assign(2.0**power)
    weights, optimizer = trainer.weights(), trainer.optimizer()
    assert trainer.train(half)[1]
    if float(scale.numpy()) < 2.0**power:
        break
assert float(scale.numpy()) == 2.0 ** (power - 1)
for name, value in trainer.weights().items():
    assert np.array_equal(value, weights[name]) or "moving" in name, name
for name, value in trainer.optimizer().items():
    assert np.array_equal(value, optimizer[name]) or "loss_scale" in name, name
scale.assign(2.0**power)
assert trainer.train(right)[1]
assert float(scale.numpy()) == 2.0**power  # the first half does not overflow
assert all(np.isfinite(value).all() for value in trainer.weights().values())
print("as it should be")
"""


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(TWO_DEVICES, id="each-normalises-its-part"),
        pytest.param(HALF_OVERFLOWS, id="one-overflows-and-both-skip"),
    ],
)
def test_two_devices(script, tmp_path):
    make_corpus(tmp_path, splits={"train": 8})
    said = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.stdout.splitlines()[-1:] == ["as it should be"], said.stderr[-3000:]


def test_the_rate_gets_less_after_each_epoch_and_a_resumed_training_knows(batches):
    """The same gradients change the weights by half as much in the second epoch."""
    settings = replace(SETTINGS, steps_per_epoch=1, learning_rate_decay=0.5)
    strategy = tf.distribute.get_strategy()
    constant, lessened, resumed = (Trainer(each, strategy) for each in (SETTINGS, settings, settings))
    for trainer in (constant, lessened):
        trainer.train(batches[0])
    first = constant.weights()
    for name, value in lessened.weights().items():
        np.testing.assert_array_equal(value, first[name], err_msg=name)
    resumed.restore(lessened.weights(), lessened.optimizer(), where="here")
    for trainer in (constant, lessened, resumed):
        trainer.train(batches[1])
    changed = constant.weights()["fusion/kernel"] - first["fusion/kernel"]
    less = lessened.weights()["fusion/kernel"] - first["fusion/kernel"]
    assert np.abs(changed).max() > 1e-4
    np.testing.assert_allclose(less, changed / 2, atol=1e-7)
    for name, value in resumed.weights().items():
        np.testing.assert_array_equal(value, lessened.weights()[name], err_msg=name)
