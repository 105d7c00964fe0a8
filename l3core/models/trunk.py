"""The convolutional trunk that L3's audio network and its students share, in Keras 3.

Four blocks of two 3x3 convolutions, each followed by BatchNormalization and ReLU, with 2x2 pooling
between the blocks (Cramer et al. 2019, section 3; facts of the published `openl3_audio_*` files). It
runs on any Keras backend: nothing here is TensorFlow's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from l3core.models.base import LayerShapes
from l3core.models.drawing import he_normal

if TYPE_CHECKING:
    import keras

BATCH_NORM_EPSILON = 1e-3
# Stated wherever it counts, not taken from the user's keras.json.
DATA_FORMAT = "channels_last"
POOLED_AFTER = (1, 3, 5)  # the convolutions that a pooling follows


class Convolution(NamedTuple):
    """A 3x3 convolution that does its BatchNormalization's work, too.

    Attributes:
        kernel: float32 `(3, 3, in, out)`.
        bias: float32 `(out,)`.
        rectified: whether a ReLU follows.
        pooled: whether a 2x2 pooling follows that.
    """

    kernel: np.ndarray
    bias: np.ndarray
    rectified: bool
    pooled: bool


class FoldedTrunk(NamedTuple):
    """What a trunk computes, without any framework.

    Attributes:
        scale, offset: of the map in dB, before all else.
        convolutions: one after the other.
    """

    scale: float
    offset: float
    convolutions: tuple[Convolution, ...]


@dataclass(frozen=True)
class Trunk:
    """An audio trunk.

    Attributes:
        filters: of the eight convolutions.
        activated_output: whether BatchNormalization and ReLU also follow the last convolution
            (EdgeL3-SEA) or the embedding is its linear output (L3).
    """

    filters: tuple[int, ...]
    activated_output: bool

    def layer_shapes(self) -> tuple[LayerShapes, ...]:
        """BatchNormalization of the input, then each convolution with the normalization after it."""
        layers = [_batch_norm_shapes(1, 0)]
        channels = 1
        for index, filters in enumerate(self.filters):
            last = index == len(self.filters) - 1
            name = "audio_embedding_layer" if last else _numbered("conv2d", index)
            layers.append(LayerShapes(name, ((3, 3, channels, filters), (filters,))))
            if not last or self.activated_output:
                layers.append(_batch_norm_shapes(filters, index + 1))
            channels = filters
        return tuple(layers)

    def build(
        self,
        input_shape: tuple[int, int],
        pool: tuple[int, int],
        tensors: Sequence[np.ndarray],
        *,
        folded: bool,
    ) -> "keras.Model":
        """Maps in dB `(batch, frequencies, frames, 1)` -> embeddings `(batch, size)`.

        Args:
            input_shape: (frequencies, frames) of a map.
            pool: of the last pooling, whose result is the embedding (row, column, channel order).
            tensors: weights in the order of `layer_shapes`.
            folded: see `EmbeddingModel.build_network`.
        """
        import keras
        from keras import layers

        maps = layers.Input((*input_shape, 1), dtype="float32")
        x, weights = self._last_map(maps, tensors, folded=folded)
        x = layers.MaxPooling2D(pool, padding="same", data_format=DATA_FORMAT)(x)
        model = keras.Model(maps, layers.Flatten(data_format=DATA_FORMAT)(x))
        for layer, values in weights.items():
            layer.set_weights(values)
        return model

    def build_columns(
        self, frequencies: int, rows: int, tensors: Sequence[np.ndarray], *, folded: bool
    ) -> "keras.Model":
        """Maps in dB `(1, frequencies, frames, 1)` of any length -> columns of the last map.

        Args:
            frequencies: of a map.
            rows: of the last map that are pooled to one.
            tensors: weights in the order of `layer_shapes`.
            folded: see `EmbeddingModel.build_network`.

        Returns:
            A model whose output is `(1, frames // frames_a_column, rows pooled, channels)`. A column's
            numbers are those of a map without ends where there are `reach_columns` on both its sides.
        """
        import keras
        from keras import layers

        maps = layers.Input((frequencies, None, 1), dtype="float32")
        x, weights = self._last_map(maps, tensors, folded=folded)
        x = layers.MaxPooling2D((rows, 1), data_format=DATA_FORMAT)(x)
        model = keras.Model(maps, layers.Permute((2, 1, 3))(x))
        for layer, values in weights.items():
            layer.set_weights(values)
        return model

    @property
    def frames_a_column(self) -> int:
        """Frames from one column of the last map to the next."""
        return 2 ** len(POOLED_AFTER)

    @property
    def reach_columns(self) -> int:
        """Columns before and after a column that hold every frame which it depends on."""
        frames = 0
        for index in reversed(range(len(self.filters))):
            frames = 1 + (2 * frames if index in POOLED_AFTER else frames)
        return -(-frames // self.frames_a_column)

    def _last_map(
        self, x: "keras.KerasTensor", tensors: Sequence[np.ndarray], *, folded: bool
    ) -> tuple["keras.KerasTensor", dict["keras.layers.Layer", list[np.ndarray]]]:
        """All but the last pooling of maps: its result, and the weights of its layers."""
        from keras import layers

        weights: dict[keras.layers.Layer, list[np.ndarray]] = {}
        groups = _grouped(tensors, self.layer_shapes())
        if folded:
            scale, offset = _affine(groups.pop(0))
            x = layers.Rescaling(float(scale[0]), float(offset[0]))(x)
        else:
            x = _apply(layers.BatchNormalization(epsilon=BATCH_NORM_EPSILON), x, weights, groups)
        for index, filters in enumerate(self.filters):
            normalised = index < len(self.filters) - 1 or self.activated_output
            convolution = layers.Conv2D(filters, 3, padding="same", data_format=DATA_FORMAT)
            if folded and normalised:
                kernel, bias = _fold(groups.pop(0), groups.pop(0))
                x = _apply(convolution, x, weights, [[kernel, bias]])
            else:
                x = _apply(convolution, x, weights, groups)
                if normalised:
                    batch_norm = layers.BatchNormalization(epsilon=BATCH_NORM_EPSILON)
                    x = _apply(batch_norm, x, weights, groups)
            if normalised:
                x = layers.ReLU()(x)
            if index in POOLED_AFTER:
                x = layers.MaxPooling2D(2, data_format=DATA_FORMAT)(x)
        return x, weights

    def folded(self, tensors: Sequence[np.ndarray]) -> FoldedTrunk:
        """The trunk for engines that do not run Keras.

        Args:
            tensors: weights in the order of `layer_shapes`.
        """
        groups = _grouped(tensors, self.layer_shapes())
        scale, offset = _affine(groups.pop(0))
        convolutions = []
        for index in range(len(self.filters)):
            rectified = index < len(self.filters) - 1 or self.activated_output
            group = groups.pop(0)
            kernel, bias = _fold(group, groups.pop(0)) if rectified else group
            convolutions.append(Convolution(kernel, bias, rectified, index in POOLED_AFTER))
        return FoldedTrunk(float(scale[0]), float(offset[0]), tuple(convolutions))

    def random_tensors(self, seed: int) -> list[np.ndarray]:
        """He-normal kernels, zero biases and idle normalizations, except that of the input.

        That one is set to the typical level and spread of a map in dB, so that an untrained network
        sees its input at unit scale as a trained one does.
        """
        tensors: list[np.ndarray] = []
        for index, layer in enumerate(self.layer_shapes()):
            if len(layer.shapes) == 2:
                kernel, bias = layer.shapes
                tensors.append(he_normal(seed, index, kernel))
                tensors.append(np.zeros(bias, np.float32))
            else:
                mean, variance = (-40.0, 400.0) if index == 0 else (0.0, 1.0)
                for value in (1.0, 0.0, mean, variance):
                    tensors.append(np.full(layer.shapes[0], value, np.float32))
        return tensors


def _numbered(name: str, index: int) -> str:
    return f"{name}_{index}" if index else name


def _batch_norm_shapes(channels: int, index: int) -> LayerShapes:
    return LayerShapes(_numbered("batch_normalization", index), ((channels,),) * 4)


def _grouped(tensors: Sequence[np.ndarray], layers: Sequence[LayerShapes]) -> list[list[np.ndarray]]:
    rest = iter(tensors)
    return [[next(rest) for _ in layer.shapes] for layer in layers]


def _apply(
    layer: "keras.layers.Layer",
    x: "keras.KerasTensor",
    weights: dict["keras.layers.Layer", list[np.ndarray]],
    groups: list[list[np.ndarray]],
) -> "keras.KerasTensor":
    """Call a layer and note the next group of tensors as its weights."""
    weights[layer] = groups.pop(0)
    return layer(x)


def _affine(batch_norm: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """BatchNormalization at inference as `x * scale + offset`, float64."""
    gamma, beta, mean, variance = (tensor.astype(np.float64) for tensor in batch_norm)
    scale = gamma / np.sqrt(variance + BATCH_NORM_EPSILON)
    return scale, beta - mean * scale


def _fold(
    convolution: Sequence[np.ndarray], batch_norm: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """A convolution that does its BatchNormalization's work too: (kernel, bias), float32."""
    kernel, bias = (tensor.astype(np.float64) for tensor in convolution)
    scale, offset = _affine(batch_norm)
    return (kernel * scale).astype(np.float32), (bias * scale + offset).astype(np.float32)
