"""The two subnetworks of L3-Net as they are trained: eight convolutions in four blocks, in Keras 3.

3x3 convolutions, 'same', He-normal, with bias, each with BatchNormalization and ReLU, and 2x2 pooling
between the blocks (Cramer et al. 2019, section 3; l3embedding's `audio_model.py` and `vision_model.py`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from l3core.models.base import LayerShapes
from l3core.models.drawing import he_normal
from l3core.models.trunk import BATCH_NORM_EPSILON, DATA_FORMAT, POOLED_AFTER

if TYPE_CHECKING:
    import keras

BATCH_NORM_MOMENTUM = 0.99


@dataclass(frozen=True, kw_only=True)
class Subnetwork:
    """What sees one of the two media.

    Attributes:
        medium: "audio" or "vision", before the names of its layers.
        channels: of its input.
        filters: of its eight convolutions.
        rectified_first: those of them whose ReLU comes before their BatchNormalization.
        padding: of the poolings between the blocks.
    """

    medium: str
    channels: int
    filters: tuple[int, ...]
    rectified_first: tuple[int, ...] = ()
    padding: str = "valid"

    def layer_shapes(self, *, whole: bool) -> tuple[LayerShapes, ...]:
        """BatchNormalization of the input, then each convolution with the normalization after it.

        Args:
            whole: as it is trained; else up to the last convolution, whose output is the embedding.
        """
        layers = [LayerShapes(self._norm(0), ((self.channels,),) * 4)]
        channels = self.channels
        for index, filters in enumerate(self.filters):
            layers.append(LayerShapes(self._conv(index), ((3, 3, channels, filters), (filters,))))
            layers.append(LayerShapes(self._norm(index + 1), ((filters,),) * 4))
            channels = filters
        return tuple(layers if whole else layers[:-1])

    def build(self, x: "keras.KerasTensor", *, l2: float, whole: bool) -> "keras.KerasTensor":
        """Maps or images `(batch, rows, columns, channels)` -> the last map, an eighth of the size.

        Args:
            x: what it sees.
            l2: weight of the sum of a kernel's squares in the loss.
            whole: see `layer_shapes`.
        """
        import keras
        from keras import layers

        # A map's decibels need more digits than a half-precision number has.
        exact = keras.config.dtype_policy().variable_dtype
        x = self._normalise(x, 0, dtype=exact)
        for index, filters in enumerate(self.filters):
            x = layers.Conv2D(
                filters,
                3,
                padding="same",
                data_format=DATA_FORMAT,
                kernel_initializer="he_normal",
                kernel_regularizer=keras.regularizers.L2(l2),
                name=self._conv(index),
            )(x)
            if index < len(self.filters) - 1 or whole:
                if index in self.rectified_first:
                    x = self._normalise(layers.ReLU()(x), index + 1)
                else:
                    x = layers.ReLU()(self._normalise(x, index + 1))
            if index in POOLED_AFTER:
                x = layers.MaxPooling2D(2, padding=self.padding, data_format=DATA_FORMAT)(x)
        return x

    def _normalise(
        self, x: "keras.KerasTensor", index: int, dtype: str | None = None
    ) -> "keras.KerasTensor":
        from keras import layers

        return layers.BatchNormalization(
            momentum=BATCH_NORM_MOMENTUM,
            epsilon=BATCH_NORM_EPSILON,
            name=self._norm(index),
            dtype=dtype,
        )(x)

    def random_tensors(self, seed: int, *, whole: bool) -> list[np.ndarray]:
        """He-normal kernels, zero biases and idle normalizations, in the order of `layer_shapes`.

        The kernels of audio are those of the embedding model's `random:SEED`. Its normalization of the
        input starts idle, too, unlike there: training divides by the statistics of each batch, whatever
        the moving ones are, and those forget their first value at 0.99 a step.
        """
        tensors: list[np.ndarray] = []
        for index, layer in enumerate(self.layer_shapes(whole=whole)):
            if len(layer.shapes) == 2:
                kernel, bias = layer.shapes
                place = index if self.medium == "audio" else f"{self.medium}/{index}"
                tensors += [he_normal(seed, place, kernel), np.zeros(bias, np.float32)]
            else:
                tensors += [np.full(layer.shapes[0], value, np.float32) for value in (1, 0, 0, 1)]
        return tensors

    def set_tensors(self, model: "keras.Model", tensors: Iterable[np.ndarray], *, whole: bool) -> None:
        """Give a model's layers of this subnetwork their weights, in the order of `layer_shapes`."""
        rest = iter(tensors)
        for layer in self.layer_shapes(whole=whole):
            model.get_layer(layer.name).set_weights([next(rest) for _ in layer.shapes])

    def tensors_of(self, model: "keras.Model", *, whole: bool) -> list[np.ndarray]:
        """The weights of a model's layers of this subnetwork, float32, ordered as `layer_shapes`."""
        return [
            np.asarray(tensor, np.float32)
            for layer in self.layer_shapes(whole=whole)
            for tensor in model.get_layer(layer.name).get_weights()
        ]

    def _conv(self, index: int) -> str:
        last = index == len(self.filters) - 1
        return f"{self.medium}_embedding_layer" if last else f"{self.medium}_conv2d_{index + 1}"

    def _norm(self, index: int) -> str:
        return f"{self.medium}_batch_normalization_{index}"


def vision(filters: tuple[int, ...]) -> Subnetwork:
    """What sees frames.

    The second convolution's ReLU comes before its normalization: so it is in the code that trained the
    published weights, and in openl3's, so it stays.
    """
    return Subnetwork(medium="vision", channels=3, filters=filters, rectified_first=(1,), padding="same")
