"""Several MLPs trained at once on the same batches, in one compiled graph.

One model alone is many small products, and Adam is memory traffic. So the models of one learning rate
share their variables: their first layers are one wide product, their further ones a stack of products,
and each variable is updated by one fused Adam. Batch by batch runs inside the graph. `l3flow bench
crossval` compares it with one `keras.Model.fit` after another; compiled by XLA it is slower, since XLA
updates variables on one core.

The numbers are those of Keras: glorot_uniform kernels, ReLU, softmax with cross-entropy, l2 on the
kernels of all layers, Adam.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import tensorflow as tf

from l3core.classifier import HIDDEN
from l3core.crossval.hyperparameters import Hyperparameters

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7  # Keras' defaults


def initial_tensors(size: int, classes: int, generator: np.random.Generator) -> tuple[np.ndarray, ...]:
    """First kernels and biases of an MLP as Keras draws them: Glorot's uniform, zero.

    Args:
        size: numbers in an embedding.
        classes: outputs.
        generator: of the numbers.
    """
    tensors = []
    for inputs, outputs in pairwise((size, *HIDDEN, classes)):
        limit = np.sqrt(6 / (inputs + outputs))
        kernel = generator.uniform(-limit, limit, (inputs, outputs))
        tensors += [kernel.astype(np.float32), np.zeros(outputs, np.float32)]
    return tuple(tensors)


class Mlps:
    """Several MLPs of one shape, trained together.

    Args:
        tensors: kernel and bias of each layer, of each model.
        hyperparameters: of each model.
    """

    def __init__(
        self,
        tensors: Sequence[Sequence[np.ndarray]],
        hyperparameters: Sequence[Hyperparameters],
    ) -> None:
        rates = list(dict.fromkeys(each.learning_rate for each in hyperparameters))
        members = [
            [place for place, each in enumerate(hyperparameters) if each.learning_rate == rate]
            for rate in rates
        ]
        self._groups = [
            _Group(
                [tensors[place] for place in places],
                [hyperparameters[place].weight_decay for place in places],
                rate,
            )
            for rate, places in zip(rates, members)
        ]
        # place of each model in the groups' own order
        self._places = np.argsort([place for places in members for place in places])
        self._step = tf.Variable(0.0)
        # float32 means float32: Ampere and later GPUs would round products to 10 bits otherwise
        tf.config.experimental.enable_tensor_float_32_execution(False)
        size = tensors[0][0].shape[0]
        vectors = tf.TensorSpec([None, size], tf.float32)
        labels = tf.TensorSpec([None], tf.int32)
        # variables are of any number of models, so that nothing is traced again when some stop
        self._train = tf.function(
            self._train_batches, input_signature=[vectors, labels, tf.TensorSpec([], tf.int32)]
        ).get_concrete_function()
        self._predict = tf.function(
            self._all_probabilities, input_signature=[vectors]
        ).get_concrete_function()

    def train(self, vectors: np.ndarray, labels: np.ndarray, *, batch_size: int) -> None:
        """Train on some windows, batch by batch in their order; the last may be smaller.

        Args:
            vectors: float32 `(windows, d)`.
            labels: whole numbers `(windows,)`.
            batch_size: windows in a step.
        """
        self._train(
            tf.constant(vectors), tf.constant(labels, tf.int32), tf.constant(batch_size, tf.int32)
        )

    def totals(self) -> tuple[np.ndarray, np.ndarray]:
        """Sums over the windows trained on since the last call, each before its step.

        Returns:
            Cross-entropy, and windows that were recognised, float64 `(models,)` each.
        """
        sums = np.concatenate([group.totals.numpy() for group in self._groups], axis=1)[:, self._places]
        for group in self._groups:
            group.totals.assign(tf.zeros_like(group.totals))
        return sums[0], sums[1]

    def probabilities(self, vectors: np.ndarray) -> np.ndarray:
        """What each model says, float32 `(models, windows, classes)`."""
        return self._predict(tf.constant(vectors)).numpy()[self._places]

    def penalties(self) -> np.ndarray:
        """What the weight decay adds to each model's loss, float64 `(models,)`."""
        return np.concatenate([group.penalties() for group in self._groups])[self._places]

    def tensors(self, place: int) -> tuple[np.ndarray, ...]:
        """Kernel and bias of each layer of a model, copies."""
        place = int(self._places[place])
        for group in self._groups:
            if place < group.count:
                return group.tensors(place)
            place -= group.count
        raise IndexError(place)

    def keep(self, places: Sequence[int]) -> None:
        """Go on with these models only, ascending; the others cost nothing more."""
        kept = np.sort(self._places[list(places)])
        start = 0
        for group in self._groups:
            count = group.count
            group.keep(kept[(kept >= start) & (kept < start + count)] - start)
            start += count
        self._places = np.searchsorted(kept, self._places[list(places)])

    def _train_batches(self, vectors: Any, labels: Any, batch_size: Any) -> None:
        for start in tf.range(0, tf.shape(vectors)[0], batch_size):
            batch = vectors[start : start + batch_size], labels[start : start + batch_size]
            self._step.assign_add(1.0)
            for group in self._groups:
                group.train_batch(*batch, step=self._step)

    def _all_probabilities(self, vectors: Any) -> Any:
        return tf.concat([tf.nn.softmax(group.logits(vectors)[-1]) for group in self._groups], axis=0)


class _Group:
    """Models of one learning rate, with their variables stacked.

    The first kernel is `(d, models * units)`, further ones are `(models, inputs, outputs)`; biases are
    `(models * units,)` and `(models, 1, outputs)`.
    """

    def __init__(
        self,
        tensors: Sequence[Sequence[np.ndarray]],
        weight_decays: Sequence[float],
        learning_rate: float,
    ) -> None:
        first, bias, *others = zip(*tensors)
        stacked = [np.concatenate(first, axis=1), np.concatenate(bias)]
        stacked += [
            np.stack(each) if number % 2 == 0 else np.stack(each)[:, np.newaxis]
            for number, each in enumerate(others)
        ]
        self._learning_rate = learning_rate
        self._units = first[0].shape[1]
        self._decay = _variable(np.asarray(weight_decays, np.float32))
        self._variables = [_variable(each) for each in stacked]
        self._moments = [tuple(_variable(np.zeros_like(each)) for _ in range(2)) for each in stacked]
        self.totals = _variable(np.zeros((2, len(weight_decays))))

    @property
    def count(self) -> int:
        """Models left."""
        return int(self._decay.shape[0] if self._decay.shape.rank else len(self._decay.numpy()))

    def tensors(self, place: int) -> tuple[np.ndarray, ...]:
        kernel, bias, *others = (each.numpy() for each in self._variables)
        columns = slice(place * self._units, (place + 1) * self._units)
        rest = (each[place, 0] if each.shape[1] == 1 else each[place] for each in others)
        return kernel[:, columns].copy(), bias[columns].copy(), *(each.copy() for each in rest)

    def keep(self, places: np.ndarray) -> None:
        columns = (places[:, np.newaxis] * self._units + np.arange(self._units)).ravel()
        for number, variable in enumerate(self._variables):
            for each in (variable, *self._moments[number]):
                left = (columns, -1) if number < 2 else (places, 0)
                each.assign(np.take(each.numpy(), left[0], axis=left[1]))
        self._decay.assign(self._decay.numpy()[places])
        self.totals.assign(self.totals.numpy()[:, places])

    def penalties(self) -> np.ndarray:
        kernel, _, *others = self._variables
        rows = kernel.shape[0] or kernel.numpy().shape[0]
        squares = tf.reduce_sum(tf.reshape(tf.square(kernel), [rows, -1, self._units]), [0, 2])
        for other in others[::2]:
            squares += tf.reduce_sum(tf.square(other), [1, 2])
        return (self._decay * squares).numpy().astype(np.float64)

    def logits(self, vectors: Any) -> list[Any]:
        """What each hidden layer and the output gives, `(models, windows, units)` each."""
        kernel, bias, *others = self._variables
        hidden = tf.nn.relu(tf.nn.bias_add(tf.linalg.matmul(vectors, kernel), bias))
        shape = [tf.shape(vectors)[0], -1, self._units]
        values = [tf.transpose(tf.reshape(hidden, shape), [1, 0, 2])]
        for layer in range(0, len(others), 2):
            sums = tf.linalg.matmul(values[-1], others[layer]) + others[layer + 1]
            values.append(sums if layer == len(others) - 2 else tf.nn.relu(sums))
        return values

    def train_batch(self, vectors: Any, labels: Any, *, step: Any) -> None:
        *hidden, logits = self.logits(vectors)
        windows = tf.shape(vectors)[0]
        models = tf.shape(logits)[0]
        classes = tf.shape(logits)[2]
        losses, slopes = tf.raw_ops.SparseSoftmaxCrossEntropyWithLogits(
            features=tf.reshape(logits, [-1, classes]), labels=tf.tile(labels, [models])
        )
        hits = tf.equal(tf.argmax(logits, axis=2, output_type=tf.int32), labels)
        sums = [tf.reshape(losses, [models, windows]), hits]
        self.totals.assign_add(tf.stack([tf.reduce_sum(tf.cast(x, tf.float64), 1) for x in sums]))
        slope = tf.reshape(slopes, tf.shape(logits)) / tf.cast(windows, tf.float32)
        self._update(self._gradients(vectors, hidden, slope), step)

    def _gradients(self, vectors: Any, hidden: Sequence[Any], slope: Any) -> list[Any]:
        """Of the cross-entropy, for each variable; `slope` is that of the logits."""
        gradients: list[Any] = []
        for layer in reversed(range(len(hidden))):
            gradients = [
                tf.linalg.matmul(hidden[layer], slope, transpose_a=True),
                tf.reduce_sum(slope, 1, keepdims=True),
                *gradients,
            ]
            back = tf.linalg.matmul(slope, self._variables[2 * layer + 2], transpose_b=True)
            slope = tf.raw_ops.ReluGrad(gradients=back, features=hidden[layer])
        wide = tf.reshape(tf.transpose(slope, [1, 0, 2]), [tf.shape(vectors)[0], -1])
        return [tf.linalg.matmul(vectors, wide, transpose_a=True), tf.reduce_sum(wide, 0), *gradients]

    def _update(self, gradients: Sequence[Any], step: Any) -> None:
        for number, (variable, gradient) in enumerate(zip(self._variables, gradients)):
            if number == 0:
                gradient += 2 * tf.repeat(self._decay, self._units) * variable
            elif number % 2 == 0:
                gradient += 2 * self._decay[:, tf.newaxis, tf.newaxis] * variable
            first, second = self._moments[number]
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=first.handle,
                v=second.handle,
                beta1_power=tf.pow(BETA_1, step),
                beta2_power=tf.pow(BETA_2, step),
                lr=self._learning_rate,
                beta1=BETA_1,
                beta2=BETA_2,
                epsilon=EPSILON,
                grad=gradient,
            )


def _variable(values: np.ndarray) -> tf.Variable:
    """A variable that may get another number of models."""
    return tf.Variable(values, shape=tf.TensorShape(None))
