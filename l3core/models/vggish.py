"""`vggish`: Google's VGGish, 128 numbers of 0.975 s of sound.

Hershey et al., "CNN Architectures for Large-Scale Audio Classification", ICASSP 2017; front end, network
and post-processing of github.com/tensorflow/models, `research/audioset/vggish`. 16 kHz. A window is an
*example* of upstream's: 96 frames of a spectrogram, 10 ms apart, whose last one ends 15 ms later.

What a vector is, `--model-option variant=`:

    raw              the last layer as it is: upstream since August 2020
    relu             its positive part: upstream before
    pca              `relu` by the published principal components, whitened
    quantised        `pca` between -2 and 2 in 256 steps, as 0 to 255: the paper's VGGish
    raw-pca          the same two of `raw`, which is what upstream's post-processing takes today
    raw-quantised

The paper's hop is 0.1 s, and its clips shorter than an example stand in the middle of zeros: the grid
`paper`, which is the default here. Upstream has no vector for them.
"""

import io
import math
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from l3core.errors import WeightsError
from l3core.models.base import Beside, BundledFile, EmbeddingModel, LayerShapes, PublishedFile
from l3core.models.drawing import he_normal, normal
from l3core.npy import read_header

if TYPE_CHECKING:
    import keras

    from l3core.spec import EmbeddingSpec

VARIANTS = ("raw", "relu", "pca", "quantised", "raw-pca", "raw-quantised")
SIZE = 128
# mel_features.py and vggish_params.py, in samples at 16 kHz and in Hz.
SAMPLE_RATE_HZ = 16_000
FRAME_SAMPLES, HOP_SAMPLES, N_FFT = 400, 160, 512
FRAMES, BANDS = 96, 64
LOWEST_HZ, HIGHEST_HZ = 125.0, 7_500.0
LOG_OFFSET = 0.01
PCA_RANGE = 2.0
# vggish_slim.py: name of a layer's variables below "vggish/", shape of its kernel. A pooling follows the
# convolutions of `POOLED_AFTER`, and a ReLU all but the last layer.
LAYERS: Mapping[str, tuple[int, ...]] = {
    "conv1": (3, 3, 1, 64),
    "conv2": (3, 3, 64, 128),
    "conv3/conv3_1": (3, 3, 128, 256),
    "conv3/conv3_2": (3, 3, 256, 256),
    "conv4/conv4_1": (3, 3, 256, 512),
    "conv4/conv4_2": (3, 3, 512, 512),
    "fc1/fc1_1": (6 * 4 * 512, 4096),
    "fc1/fc1_2": (4096, 4096),
    "fc2": (4096, SIZE),
}
POOLED_AFTER = ("conv1", "conv2", "conv3/conv3_2", "conv4/conv4_2")
DATA_FORMAT = "channels_last"
PCA_LAYER = LayerShapes("pca", ((SIZE, SIZE), (SIZE,)))  # its eigenvectors, a row each, and its means
MAX_PCA_BYTES = 1 << 20
BASE_URL = "https://storage.googleapis.com/audioset/"
LICENCE = "Apache-2.0"
TRAINED_ON = "YouTube, what became YouTube-8M"
CHECKPOINT = PublishedFile("vggish_model.ckpt", BASE_URL, None, LICENCE, TRAINED_ON)
PCA = PublishedFile(
    "vggish_pca_params.npz",
    BASE_URL,
    None,
    LICENCE,
    TRAINED_ON,
    md5="c80cae691033abe7c7ecd11ea39fc834",  # of two public copies, 73,020 bytes
)


class VGGish(EmbeddingModel):
    """VGGish, 128 numbers."""

    name = "vggish"
    summary = "VGGish, 16 kHz, 128-d, raw, rectified or post-processed"
    sample_rate_hz = SAMPLE_RATE_HZ
    window_samples = (FRAMES - 1) * HOP_SAMPLES + FRAME_SAMPLES
    choices: Mapping[str, tuple] = {"embedding_size": (SIZE,), "grid": ("paper", "nocenter", "center")}
    options: Mapping[str, tuple[str, ...]] = {"variant": VARIANTS}
    default_hop_s = 0.96
    windows_per_second = 60.0
    weights_are = f"{CHECKPOINT.name}, for components with {PCA.name} beside it, or an .h5"

    def embedding_size(self, spec: "EmbeddingSpec") -> int:
        """128."""
        return SIZE

    def weight_files(self) -> Mapping[str, PublishedFile | BundledFile]:
        """The checkpoint, and what the variants with principal components need besides."""
        return {"vggish": CHECKPOINT, "vggish-pca": PCA}

    def weight_file(self, spec: "EmbeddingSpec") -> PublishedFile | BundledFile:
        """The checkpoint."""
        return CHECKPOINT

    def further_files(self, spec: "EmbeddingSpec") -> Mapping[str, PublishedFile]:
        """The principal components, where they are needed."""
        return {PCA.name: PCA} if _has_pca(spec) else {}

    def read_tensors(
        self, content: bytes, spec: "EmbeddingSpec", *, name: str, beside: Beside
    ) -> tuple[np.ndarray, ...]:
        """From an .h5 that holds all, or the checkpoint with the file of the components beside it."""
        from l3core.checkpoints import read_checkpoint
        from l3core.keras_files import finite, is_h5, read_h5

        if is_h5(content):
            return read_h5(content, self.layer_shapes(spec), name=name)
        wanted = {}
        for layer, kernel in LAYERS.items():
            wanted[f"vggish/{layer}/weights"] = kernel
            wanted[f"vggish/{layer}/biases"] = kernel[-1:]
        found = read_checkpoint(content, wanted, name=name)
        tensors = [found[tensor] for tensor in wanted]
        if _has_pca(spec):
            tensors += read_pca(beside(PCA.name), name=PCA.name)
        return finite(tensors, name=name)

    def layer_shapes(self, spec: "EmbeddingSpec") -> tuple[LayerShapes, ...]:
        """9 layers, and the principal components as a tenth where they are needed."""
        layers = [
            LayerShapes(layer.rpartition("/")[2], (kernel, kernel[-1:]))
            for layer, kernel in LAYERS.items()
        ]
        return (*layers, PCA_LAYER) if _has_pca(spec) else tuple(layers)

    def random_tensors(self, spec: "EmbeddingSpec", seed: int) -> list[np.ndarray]:
        """He-normal kernels and zero biases; components that keep the scale, and zero means."""
        tensors = []
        for place, kernel in enumerate(LAYERS.values()):
            tensors += [he_normal(seed, place, kernel), np.zeros(kernel[-1], np.float32)]
        if _has_pca(spec):
            matrix = normal(seed, "pca", (SIZE, SIZE), SIZE**-0.5)
            tensors += [matrix, np.zeros(SIZE, np.float32)]
        return tensors

    def rounds(self, spec: "EmbeddingSpec") -> bool:
        """The quantised variants do."""
        return spec.model_options["variant"].endswith("quantised")

    def build_frontend(self, spec: "EmbeddingSpec") -> "keras.Model":
        """Windows `(batch, 15600)` -> logarithms of mel bands `(batch, 96, 64, 1)`.

        In float64, as upstream: what is left of a loud frame's rounding would fill its empty bands.
        """
        import keras
        from keras import layers, ops

        places = np.arange(FRAMES)[:, np.newaxis] * HOP_SAMPLES + np.arange(FRAME_SAMPLES)
        signal = layers.Input((self.window_samples,), dtype="float32")
        frames = ops.take(ops.cast(signal, "float64"), places.astype(np.int32), axis=1)
        real, imaginary = ops.rfft(frames * hann(), N_FFT)
        magnitude = ops.sqrt(ops.square(real) + ops.square(imaginary))
        levels = ops.log(ops.matmul(magnitude, mel_bands()) + np.float64(LOG_OFFSET))
        return keras.Model(signal, ops.cast(ops.expand_dims(levels, -1), "float32"))

    def build_network(
        self, spec: "EmbeddingSpec", tensors: Sequence[np.ndarray], *, folded: bool
    ) -> "keras.Model":
        """Mel bands -> embeddings. There are no normalizations to fold."""
        import keras
        from keras import layers, ops

        variant = spec.model_options["variant"]
        weights: dict[keras.layers.Layer, list[np.ndarray]] = {}
        rest = iter(tensors)
        bands = layers.Input((FRAMES, BANDS, 1), dtype="float32")
        x = bands
        for name, kernel in LAYERS.items():
            if name.startswith("conv"):
                layer = layers.Conv2D(kernel[-1], 3, padding="same", data_format=DATA_FORMAT)
            else:
                layer = layers.Dense(kernel[-1])
            weights[layer] = [next(rest), next(rest)]
            x = layer(x)
            if name != "fc2" or not variant.startswith("raw"):
                x = layers.ReLU()(x)
            if name in POOLED_AFTER:
                x = layers.MaxPooling2D(2, padding="same", data_format=DATA_FORMAT)(x)
            if name == POOLED_AFTER[-1]:
                x = layers.Flatten(data_format=DATA_FORMAT)(x)
        if _has_pca(spec):
            matrix, means = (np.float64(next(rest)), np.float64(next(rest)))
            layer = layers.Dense(SIZE, dtype="float64")
            weights[layer] = [matrix.T, -matrix @ means]
            x = layer(x)
        if self.rounds(spec):
            x = ops.clip(x, -PCA_RANGE, PCA_RANGE)
            x = ops.floor((x + PCA_RANGE) * (255.0 / (2 * PCA_RANGE)))
        model = keras.Model(bands, x)
        for layer, values in weights.items():
            layer.set_weights(values)
        return model


def _has_pca(spec: "EmbeddingSpec") -> bool:
    return spec.model_options["variant"].endswith(("pca", "quantised"))


def hann() -> np.ndarray:
    """The periodic window of a frame, float64 `(400,)`."""
    return 0.5 - 0.5 * np.cos(2 * np.pi / FRAME_SAMPLES * np.arange(FRAME_SAMPLES))


def mel_bands() -> np.ndarray:
    """Weights of the bands, float64 `(257, 64)`: triangles over the mel scale, each with a peak of 1."""
    bins = _mel(np.linspace(0.0, SAMPLE_RATE_HZ / 2, N_FFT // 2 + 1))[:, np.newaxis]
    edges = np.linspace(_mel(LOWEST_HZ), _mel(HIGHEST_HZ), BANDS + 2)
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    rising = (bins - lower) / (centre - lower)
    falling = (upper - bins) / (upper - centre)
    bands = np.maximum(0.0, np.minimum(rising, falling))
    bands[0] = 0.0  # nothing of a constant
    return bands


def _mel(frequency_hz: np.ndarray | float) -> np.ndarray:
    return 1127.0 * np.log(1.0 + np.asarray(frequency_hz) / 700.0)


def read_pca(content: bytes, *, name: str) -> list[np.ndarray]:
    """Eigenvectors `(128, 128)`, a row each, and means `(128,)` of an .npz, float32.

    Raises:
        WeightsError: it does not hold them.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            vectors = _array(archive, "pca_eigen_vectors")
            means = _array(archive, "pca_means")
    except (
        ValueError,
        KeyError,
        RuntimeError,
        OSError,
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise WeightsError(f"{name} holds no principal components: {error}") from None
    if vectors.shape != (SIZE, SIZE) or means.size != SIZE:
        raise WeightsError(
            f"{name}: needs pca_eigen_vectors (128, 128) and pca_means (128,), "
            f"got {vectors.shape} and {means.shape}"
        )
    return [vectors.astype(np.float32), means.reshape(SIZE).astype(np.float32)]


def _array(archive: zipfile.ZipFile, key: str) -> np.ndarray:
    """An array of an .npz that is not larger than it may be, whatever the file claims."""
    member = archive.getinfo(f"{key}.npy")
    if member.file_size > MAX_PCA_BYTES:
        raise ValueError(f"{key} has {member.file_size} bytes")
    with archive.open(member) as packed:
        file = io.BytesIO(packed.read(MAX_PCA_BYTES + 1))
    shape, by_columns, dtype = read_header(file)
    numbers = file.read()
    if dtype.kind != "f" or len(numbers) != dtype.itemsize * math.prod(shape):
        raise ValueError(f"{key} is {dtype} {shape} in {len(numbers)} bytes")
    return np.frombuffer(numbers, dtype).reshape(shape, order="F" if by_columns else "C")
