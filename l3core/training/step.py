"""One step of the training: loss, gradients, Adam; and the same network asked without learning.

The numbers are those of Keras' own `fit`: mean cross-entropy of the pairs and the l2 losses of the
kernels. Each device normalises its part of a batch by that part's statistics (l3embedding trained with
four GPUs, so with those of 16 pairs); the moving statistics are the mean over the devices. So how many
devices there are is part of what a training is.

A step is two functions. The first computes and changes nothing but moving statistics, so that what is no
number can be held back from the weights.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from l3core.errors import OutOfMemoryError, UsageError
from l3core.training.feed import Batch
from l3core.training.settings import TrainingSettings


class Figures(NamedTuple):
    """What a network says of a batch.

    Attributes:
        loss: mean over the pairs, with the l2 losses.
        correct: pairs that it tells right.
        pairs: of the batch.
    """

    loss: float
    correct: int
    pairs: int


class Trainer:
    """A network and its optimizer.

    Args:
        settings: of the training.
        strategy: of `l3core.training.devices.strategy_of`.

    Attributes:
        model: the network.
    """

    def __init__(self, settings: TrainingSettings, strategy: Any) -> None:
        _check_backend()
        # float32 means float32: Ampere and later GPUs would round products to 10 bits otherwise
        tf.config.experimental.enable_tensor_float_32_execution(False)
        self._strategy = strategy
        self._replicas = strategy.num_replicas_in_sync
        self._skips = settings.precision == "mixed_float16"  # steps that overflow, and tries others
        with strategy.scope(), _policy(settings.precision):
            self.model = settings.network.build(seed=settings.seed, l2=settings.l2)
            self._optimizer = keras.optimizers.Adam(_rate(settings))
            if self._skips:
                # an automatic name counts the trainers of a process, and is part of its variables' paths
                wrapped = keras.optimizers.LossScaleOptimizer(self._optimizer, name="loss_scale")
                self._optimizer = wrapped
            self._optimizer.build(self.model.trainable_variables)
        self._learn_from = tf.function(self._learning)
        self._apply = tf.function(self._applying)
        self._put_back = tf.function(self._putting_back)
        self._judge = tf.function(self._judging)

    def train(self, batch: Batch) -> tuple[Figures, bool]:
        """A step; whether all that it computed were numbers.

        If they were not, the weights are as they were before. That float16 has no number for a gradient
        is no such case: the step is left out, and the next one is scaled less, as long as that can help.

        Raises:
            OutOfMemoryError: the batch is too large for the device.
        """
        try:
            sums, gradients, before = self._learn_from(self._shared(batch))
            loss, correct, finite = (float(each) for each in sums.numpy())
            if finite == self._replicas:
                self._apply(gradients)
            else:
                self._put_back(before)
        except tf.errors.ResourceExhaustedError as error:
            raise _too_large(batch) from error
        return Figures(loss, int(correct), len(batch.labels)), finite == self._replicas

    def judge(self, batch: Batch) -> Figures:
        """What the network says of a batch, as it would to a user.

        Raises:
            OutOfMemoryError: the batch is too large for the device.
        """
        try:
            loss, correct, pairs = (float(each) for each in self._judge(self._shared(batch)).numpy())
        except tf.errors.ResourceExhaustedError as error:
            raise _too_large(batch) from error
        return Figures(loss / pairs, int(correct), int(pairs))

    def weights(self) -> dict[str, np.ndarray]:
        """All of the network's variables by their names."""
        return {variable.path: variable.numpy() for variable in self.model.variables}

    def optimizer(self) -> dict[str, np.ndarray]:
        """The optimizer's variables by their numbers and names."""
        return {name: variable.numpy() for name, variable in self._numbered().items()}

    def _numbered(self) -> dict[str, Any]:
        variables = enumerate(self._optimizer.variables)
        return {f"{number:04d}/{variable.path}": variable for number, variable in variables}

    def restore(
        self,
        weights: Mapping[str, np.ndarray],
        optimizer: Mapping[str, np.ndarray] | None,
        *,
        where: str,
    ) -> None:
        """Go back to what `weights` and `optimizer` gave; without the latter only to be asked.

        Raises:
            UsageError: they are of another network.
        """
        assign_named(self.model.variables, weights, where=where)
        if optimizer is not None:
            _assign(self._numbered(), optimizer, where)

    def _shared(self, batch: Batch) -> Any:
        """A batch as the devices get it, each a part."""
        if self._replicas == 1:
            return batch
        size = len(batch.labels) // self._replicas

        def part(context: Any) -> Batch:
            start = context.replica_id_in_sync_group * size
            return Batch(*(each[start : start + size] for each in batch))

        return self._strategy.experimental_distribute_values_from_function(part)

    def _learning(self, batch: Any) -> tuple[Any, Any, Any]:
        sums, gradients, before = self._strategy.run(self._learn, args=(batch,))
        return self._summed(sums), gradients, before

    def _applying(self, gradients: Any) -> None:
        self._strategy.run(self._update, args=(gradients,))

    def _putting_back(self, before: Any) -> None:
        self._strategy.run(self._set_statistics, args=(before,))

    def _judging(self, batch: Any) -> Any:
        return self._summed(self._strategy.run(self._ask, args=(batch,)))

    def _summed(self, sums: Any) -> Any:
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, sums, axis=None)

    # what follows is done by each device

    def _learn(self, batch: Batch) -> tuple[Any, list[Any], list[Any]]:
        variables = [variable.value for variable in self.model.trainable_variables]
        before = [tf.identity(each) for each in self._statistics()]
        with tf.GradientTape() as tape:
            said = self.model(_inputs(batch), training=True)
            loss = tf.reduce_mean(_losses(said, batch.labels)) + self._penalty()
            loss /= self._replicas  # what the devices give is added up
            scaled = self._optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, variables)
        finite = tf.math.is_finite(loss)
        if self._skips:
            # scaled so little, what is no number is no overflow
            finite &= self._optimizer.dynamic_scale.value >= 1.0
            gradients = self._agreed(gradients)
        else:
            finite &= tf.math.is_finite(tf.linalg.global_norm(gradients))
        if self._replicas > 1:
            everywhere = tf.distribute.get_replica_context().all_reduce
            self._set_statistics(everywhere(tf.distribute.ReduceOp.MEAN, self._statistics()))
        hits = tf.reduce_sum(tf.cast(_right(said, batch.labels), tf.float64))
        return (
            tf.stack([tf.cast(loss, tf.float64), hits, tf.cast(finite, tf.float64)]),
            gradients,
            before,
        )

    def _agreed(self, gradients: list[Any]) -> list[Any]:
        """No numbers for all devices where one has none: Keras asks only the first whether to skip."""
        if self._replicas == 1:
            return gradients
        fine = tf.reduce_all([tf.reduce_all(tf.math.is_finite(each)) for each in gradients])
        everywhere = tf.distribute.get_replica_context().all_reduce
        devices = everywhere(tf.distribute.ReduceOp.SUM, tf.cast(fine, tf.float32))
        nothing = tf.constant(math.nan, tf.float32)
        return [tf.where(devices == self._replicas, each, nothing) for each in gradients]

    def _update(self, gradients: Sequence[Any]) -> None:
        self._optimizer.apply(gradients, self.model.trainable_variables)

    def _statistics(self) -> list[Any]:
        """The moving statistics."""
        return [variable.value for variable in self.model.non_trainable_variables]

    def _set_statistics(self, values: Sequence[Any]) -> None:
        for variable, value in zip(self._statistics(), values):
            variable.assign(value)

    def _ask(self, batch: Batch) -> Any:
        said = self.model(_inputs(batch), training=False)
        losses = (_losses(said, batch.labels) + self._penalty()) * batch.weights
        hits = tf.cast(_right(said, batch.labels), tf.float32) * batch.weights
        return tf.stack([tf.reduce_sum(tf.cast(x, tf.float64)) for x in (losses, hits, batch.weights)])

    def _penalty(self) -> Any:
        return tf.add_n([tf.cast(loss, tf.float32) for loss in self.model.losses])


def _rate(settings: TrainingSettings) -> Any:
    """The learning rate, by the steps that the optimizer has done."""
    if settings.learning_rate_decay == 1:
        return settings.learning_rate
    return keras.optimizers.schedules.ExponentialDecay(
        settings.learning_rate,
        decay_steps=settings.steps_per_epoch,
        decay_rate=settings.learning_rate_decay,
        staircase=True,
    )


def _inputs(batch: Batch) -> list[Any]:
    """Pictures and sound in [-1, 1] (l3embedding's trainer)."""
    images = 2.0 * tf.cast(batch.images, tf.float32) / 255.0 - 1.0
    return [images, tf.cast(batch.audio, tf.float32) / 32768.0]


def _losses(said: Any, labels: Any) -> Any:
    return keras.losses.sparse_categorical_crossentropy(labels, tf.cast(said, tf.float32))


def _right(said: Any, labels: Any) -> Any:
    return tf.equal(tf.argmax(said, axis=1), labels)


def assign_named(variables: Sequence[Any], found: Mapping[str, np.ndarray], *, where: str) -> None:
    """Give variables the values that have their names.

    Raises:
        UsageError: a value is missing, or of another shape.
    """
    _assign({variable.path: variable for variable in variables}, found, where)


def _assign(variables: Mapping[str, Any], found: Mapping[str, np.ndarray], where: str) -> None:
    for name, variable in variables.items():
        needed = tuple(variable.shape)
        if name not in found or found[name].shape != needed:
            there = found[name].shape if name in found else "nothing"
            raise UsageError(f"{where} is of another network: {name} needs {needed}, has {there}")
        variable.assign(found[name])


def _too_large(batch: Batch) -> OutOfMemoryError:
    return OutOfMemoryError(
        f"the device has no memory for a step of {len(batch.labels)} pairs: a smaller --batch-size, or "
        "more --devices, needs less"
    )


@contextmanager
def _policy(precision: str) -> Iterator[None]:
    """Within the block, layers are made that compute in a precision."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _check_backend() -> None:
    if (backend := keras.backend.backend()) != "tensorflow":
        raise UsageError(
            f"training needs Keras with TensorFlow, and it has {backend} here: unset KERAS_BACKEND "
            "(or set it to tensorflow)"
        )
