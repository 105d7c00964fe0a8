"""`soundnet`: the 8-layer SoundNet, its time steps as windows.

Aytar, Vondrick and Torralba, "SoundNet", NIPS 2016: the waveform, five to seven convolutions and three
poolings (github.com/cvondrick/soundnet, and its port github.com/eborboihuc/SoundNet-tensorflow, whose
`sound8.npy` has the weights). As in both extractors the first channel is taken, not the mean of all, and
multiplied by 256.

`--model-option layer=conv7|conv6|pool5` (1024, 512 or 256 numbers, after the ReLU): which one the paper
took is in no repository; conv7 at 44.1 kHz gives the 41 vectors of a clip of 30 s that it implies.

`--model-option rate=native|22050`: it was trained at 22.05 kHz, and both extractors feed a file at the
rate that it has. Then a step is 0.74 s of one file and 0.68 s of another, while the windows of a table
have one length; so `native` is 44.1 kHz, which is the rate of ESC-50, of DCASE 2013 and of most of
UrbanSound8K, and files at other rates are resampled to it.

The network sees where a recording begins and ends: a window's vector is what it would be if the network
ran over the whole, and a recording of any length takes the same memory (`l3core.steps`). One that is too
short for a vector, below 4574 samples, is followed by zeros up to that. The port repeats one of less
than 441,000 samples, which has steps where there is no recording: that is not done here.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from l3core.channels import Mix
from l3core.errors import WeightsError
from l3core.models.base import Beside, BundledFile, EmbeddingModel, LayerShapes, PublishedFile
from l3core.models.drawing import he_normal
from l3core.steps import Rung, Steps
from l3core.windows import STEPS

if TYPE_CHECKING:
    import keras

    from l3core.spec import EmbeddingSpec


class Layer(NamedTuple):
    """A convolution along time with normalization and ReLU, and a pooling if there is one.

    Attributes:
        filters: numbers at a time.
        convolution: its kernel, stride and zeros.
        pool: the same of the pooling.
    """

    filters: int
    convolution: Rung
    pool: Rung | None = None


# models.py of the port; the same in main_train.lua.
LAYERS: Mapping[str, Layer] = {
    "conv1": Layer(16, Rung(64, 2, 32), Rung(8, 8)),
    "conv2": Layer(32, Rung(32, 2, 16), Rung(8, 8)),
    "conv3": Layer(64, Rung(16, 2, 8)),
    "conv4": Layer(128, Rung(8, 2, 4)),
    "conv5": Layer(256, Rung(4, 2, 2), Rung(4, 4)),
    "conv6": Layer(512, Rung(4, 2, 2)),
    "conv7": Layer(1024, Rung(4, 2, 2)),
}
LAST = {"conv7": "conv7", "conv6": "conv6", "pool5": "conv5"}
RATES_HZ = {"native": 44_100, "22050": 22_050}
LEVEL = 256.0
EPSILON = 1e-5
# Of the first convolution's outputs with random weights, for recordings at an ordinary level of 0.1.
RANDOM_VARIANCE = 2 * (0.1 * LEVEL) ** 2
DATA_FORMAT = "channels_last"
NORMALIZATION = ("gamma", "beta", "mean", "var")
SOUND8 = PublishedFile(
    "sound8.npy",
    None,
    None,
    "MIT",
    "2 million unlabelled videos of Flickr",
    page="https://github.com/eborboihuc/SoundNet-tensorflow",
)


class SoundNet(EmbeddingModel):
    """SoundNet, 1024, 512 or 256 numbers >= 0 a step."""

    name = "soundnet"
    summary = "SoundNet, 8 layers, 44.1 or 22.05 kHz, 1024-d, 512-d or 256-d, its own time steps"
    sample_rate_hz = RATES_HZ["native"]
    window_samples = 32_768
    choices: Mapping[str, tuple] = {"grid": (STEPS,)}
    options: Mapping[str, tuple[str, ...]] = {"layer": tuple(LAST), "rate": tuple(RATES_HZ)}
    mix: Mix = "first"
    windows_per_second = 200.0
    weights_are = f"{SOUND8.name}, or an .h5"

    def rate_hz(self, spec: "EmbeddingSpec") -> int:
        """44,100 or 22,050."""
        return RATES_HZ[spec.model_options["rate"]]

    def embedding_size(self, spec: "EmbeddingSpec") -> int:
        """1024, 512 or 256."""
        return LAYERS[LAST[spec.model_options["layer"]]].filters

    def steps(self, spec: "EmbeddingSpec") -> Steps:
        """Of the layer that was chosen: one every 32,768, 16,384 or 8,192 samples."""
        rungs = [(layer.convolution, layer.pool) for layer in _layers(spec).values()]
        return Steps(tuple(rung for pair in rungs for rung in pair if rung))

    def weight_files(self) -> Mapping[str, PublishedFile | BundledFile]:
        """The port's file, which no program can fetch."""
        return {"sound8": SOUND8}

    def weight_file(self, spec: "EmbeddingSpec") -> PublishedFile | BundledFile:
        """The port's file."""
        return SOUND8

    def layer_shapes(self, spec: "EmbeddingSpec") -> tuple[LayerShapes, ...]:
        """Each convolution with the normalization after it, up to the layer that was chosen."""
        shapes, channels = [], 1
        for name, layer in _layers(spec).items():
            kernel = (layer.convolution.kernel, channels, layer.filters)
            shapes.append(LayerShapes(name, (kernel, (layer.filters,))))
            shapes.append(LayerShapes(f"{name}_batch_normalization", ((layer.filters,),) * 4))
            channels = layer.filters
        return tuple(shapes)

    def read_tensors(
        self, content: bytes, spec: "EmbeddingSpec", *, name: str, beside: Beside
    ) -> tuple[np.ndarray, ...]:
        """From an .h5, or from a dict of dicts of arrays in an .npy; nothing in it is executed."""
        from l3core.keras_files import finite, is_h5, read_h5
        from l3core.pickled import read_pickled

        shapes = self.layer_shapes(spec)
        if is_h5(content):
            return read_h5(content, shapes, name=name)
        found = read_pickled(content, name=name)
        tensors = []
        for layer, normalization in zip(shapes[::2], shapes[1::2]):
            kernel, bias = layer.shapes
            wanted = {"weights": (kernel[0], 1, *kernel[1:]), "biases": bias}
            wanted |= dict(zip(NORMALIZATION, normalization.shapes))
            arrays = [_array(found, layer.name, key, shape, name) for key, shape in wanted.items()]
            tensors += [arrays[0][:, 0], *arrays[1:]]
        return finite(tensors, name=name)

    def random_tensors(self, spec: "EmbeddingSpec", seed: int) -> list[np.ndarray]:
        """He-normal kernels, zero biases and idle normalizations, except the first.

        That one is set to the level of ordinary recordings, so that an untrained network computes at
        unit scale as a trained one does.
        """
        tensors = []
        for place, layer in enumerate(self.layer_shapes(spec)):
            if len(layer.shapes) == 2:
                tensors.append(he_normal(seed, place, layer.shapes[0]))
                tensors.append(np.zeros(layer.shapes[1], np.float32))
            else:
                variance = RANDOM_VARIANCE if place == 1 else 1.0
                values = (1.0, 0.0, 0.0, variance)
                tensors += [np.full(layer.shapes[0], value, np.float32) for value in values]
        return tensors

    def build_frontend(self, spec: "EmbeddingSpec") -> "keras.Model":
        """Windows with their context `(batch, reach)`, NaN outside of a recording -> three tensors.

        They are the samples `(batch, reach, 1)`, and the recording's first sample and the one behind its
        last, int32 `(batch,)`: those of the window, where the recording goes on.
        """
        import keras
        from keras import layers, ops

        steps = self.steps(spec)
        signal = layers.Input((steps.reach,), dtype="float32")
        outside = ops.isnan(signal)
        inside = ops.cast(ops.logical_not(outside), "int32")
        first = ops.cast(ops.argmax(inside, axis=1), "int32")
        stop = steps.reach - ops.cast(ops.argmax(ops.flip(inside, axis=1), axis=1), "int32")
        stop = ops.maximum(stop, first + steps.shortest)
        samples = LEVEL * ops.where(outside, ops.zeros_like(signal), signal)
        return keras.Model(signal, [ops.expand_dims(samples, -1), first, stop])

    def build_network(
        self, spec: "EmbeddingSpec", tensors: Sequence[np.ndarray], *, folded: bool
    ) -> "keras.Model":
        """What the front end gives -> embeddings.

        Of every layer only the outputs that it has over the whole recording are let through: the next
        one sees zeros around them, as in the whole recording's network.
        """
        import keras
        from keras import layers, ops

        length = self.steps(spec).reach
        samples = layers.Input((length, 1), dtype="float32")
        first, stop = (keras.Input((), dtype="int32") for _ in range(2))
        weights: dict[keras.layers.Layer, list[np.ndarray]] = {}
        rest = iter(tensors)
        x, edges = samples, (first, stop)
        for layer in _layers(spec).values():
            kernel, bias, *normalization = (next(rest) for _ in range(6))
            convolution = layers.Conv1D(
                layer.filters, layer.convolution.kernel, strides=2, data_format=DATA_FORMAT
            )
            x = convolution(x)
            if folded:
                kernel, bias = _fold(kernel, bias, normalization)
            else:
                normalize = layers.BatchNormalization(epsilon=EPSILON)
                weights[normalize] = normalization
                x = normalize(x)
            weights[convolution] = [kernel, bias]
            edges = _edges(edges, layer.convolution)
            x = _within(layers.ReLU()(x), edges)
            if layer.pool:
                x = layers.MaxPooling1D(layer.pool.kernel, data_format=DATA_FORMAT)(x)
                edges = _edges(edges, layer.pool)
                x = _within(x, edges)
        model = keras.Model([samples, first, stop], ops.squeeze(x, 1))
        for each, values in weights.items():
            each.set_weights(values)
        return model


def _layers(spec: "EmbeddingSpec") -> dict[str, Layer]:
    """The layers up to the one that was chosen."""
    names = list(LAYERS)
    last = LAST[spec.model_options["layer"]]
    return {name: LAYERS[name] for name in names[: names.index(last) + 1]}


def _edges(edges: tuple[Any, Any], rung: Rung) -> tuple[Any, Any]:
    """Of a window's inputs those of the recording, `[first, stop)` -> the same of its outputs."""
    first, stop = edges
    return -((rung.padding - first) // rung.stride), (
        stop + rung.padding - rung.kernel
    ) // rung.stride + 1


def _within(x: "keras.KerasTensor", edges: tuple[Any, Any]) -> "keras.KerasTensor":
    """Zeros for what is not of the recording."""
    from keras import ops

    places = np.arange(x.shape[1], dtype=np.int32)[np.newaxis]
    first, stop = (ops.expand_dims(edge, 1) for edge in edges)
    inside = ops.logical_and(first <= places, stop > places)
    return ops.where(ops.expand_dims(inside, -1), x, ops.zeros_like(x))


def _fold(
    kernel: np.ndarray, bias: np.ndarray, normalization: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """A convolution that does its normalization's work, too: (kernel, bias), float32."""
    gamma, beta, mean, variance = (tensor.astype(np.float64) for tensor in normalization)
    scale = gamma / np.sqrt(variance + EPSILON)
    return (kernel * scale).astype(np.float32), ((bias - mean) * scale + beta).astype(np.float32)


def _array(found: Any, layer: str, key: str, shape: tuple[int, ...], name: str) -> np.ndarray:
    part = found.get(layer) if isinstance(found, dict) else None
    array = part.get(key) if isinstance(part, dict) else None
    if not isinstance(array, np.ndarray) or array.shape != shape:
        got = array.shape if isinstance(array, np.ndarray) else "none"
        raise WeightsError(f"{name}: {layer} needs an array {key} of shape {shape}, got {got}")
    return array.astype(np.float32)
