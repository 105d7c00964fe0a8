"""`l3`: the audio network of L3-Net as OpenL3 publishes it.

Cramer, Wu, Salamon and Bello, "Look, Listen and Learn More", ICASSP 2019; weights and pooling of
openl3 0.4.2. 48 kHz, windows of one second, three spectrograms, two sizes, two sets of weights.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from l3core.frontends import FRONTENDS, Frontend
from l3core.models.base import BundledFile, EmbeddingModel, LayerShapes, PublishedFile
from l3core.models.dense import DenseWindows
from l3core.models.stages import Stages
from l3core.models.trunk import Trunk
from l3core.windows import DENSE, GRIDS

if TYPE_CHECKING:
    import keras

    from l3core.spec import EmbeddingSpec

TRUNK = Trunk(filters=(64, 64, 128, 128, 256, 256, 512, 512), activated_output=False)
# The last pooling, (frequency, time), that makes an embedding of that size of 512 channels
# (openl3/models.py).
POOLS = {
    ("linear", 6144): (8, 8),
    ("linear", 512): (32, 24),
    ("mel128", 6144): (4, 8),
    ("mel128", 512): (16, 24),
    ("mel256", 6144): (8, 8),
    ("mel256", 512): (32, 24),
}
# (n_fft, mel bands) of each representation.
SPECTROGRAMS = {"linear": (512, None), "mel128": (2048, 128), "mel256": (2048, 256)}
BASE_URL = "https://github.com/marl/openl3/raw/models/"
# Git's names of the files on branch `models` of github.com/marl/openl3 (c2321e8).
BLOBS = {
    ("linear", "env"): "7837407f033f3564c7e8d53fc4a4241fe160478b",
    ("linear", "music"): "4e2e61beb17865481c8b8791c72eac8307e2753a",
    ("mel128", "env"): "8c3dfee140f7776373841e5938a3e76c54f28942",
    ("mel128", "music"): "73ff29de441865318c4b3a3f98c40763c4773e7c",
    ("mel256", "env"): "34dbd7a91cdd2de6a3d6d036ac0a24d27d78e3cc",
    ("mel256", "music"): "15e483646fa3d4091a463f0affbb706e6bbbb098",
}
TRAINED_ON = {
    "music": "AudioSet, videos of music (296,000)",
    "env": "AudioSet, videos of environmental sound (195,000)",
}


class L3(EmbeddingModel):
    """The L3 audio embedding, 6144 or 512 numbers a second of sound."""

    name = "l3"
    summary = "L3-Net / OpenL3, 48 kHz, 6144-d or 512-d"
    sample_rate_hz = 48_000
    window_samples = 48_000
    choices: Mapping[str, tuple] = {
        "input_repr": ("mel256", "mel128", "linear"),
        "content": ("music", "env"),
        "embedding_size": (6144, 512),
        "grid": (*GRIDS, DENSE),
        "frontend": FRONTENDS,
    }
    windows_per_second = 15.0
    trunk = TRUNK

    def embedding_size(self, spec: "EmbeddingSpec") -> int:
        """One of its choices."""
        assert spec.embedding_size is not None
        return spec.embedding_size

    def weight_files(self) -> Mapping[str, PublishedFile | BundledFile]:
        """The six audio files of openl3, generation v0_4_0."""
        return {f"{repr_}-{content}": _file(repr_, content) for repr_, content in sorted(BLOBS)}

    def weight_file(self, spec: "EmbeddingSpec") -> PublishedFile | BundledFile:
        """The file of this representation and content."""
        return _file(str(spec.input_repr), str(spec.content))

    def layer_shapes(self, spec: "EmbeddingSpec") -> tuple[LayerShapes, ...]:
        """16 layers, 48 tensors, the same for all three representations."""
        return self.trunk.layer_shapes()

    def random_tensors(self, spec: "EmbeddingSpec", seed: int) -> list[np.ndarray]:
        """See `Trunk.random_tensors`."""
        return self.trunk.random_tensors(seed)

    def frontend(self, spec: "EmbeddingSpec") -> Frontend:
        """The spectrogram of this spec."""
        n_fft, n_mels = SPECTROGRAMS[str(spec.input_repr)]
        return Frontend(
            sample_rate_hz=self.sample_rate_hz,
            window_samples=self.window_samples,
            n_fft=n_fft,
            hop_samples=242,
            n_mels=n_mels,
            generation=str(spec.frontend),
        )

    def pool(self, spec: "EmbeddingSpec") -> tuple[int, int]:
        """(frequency, time) of the last pooling."""
        of_512_channels = self.embedding_size(spec) * 512 // self.trunk.filters[-1]
        return POOLS[str(spec.input_repr), of_512_channels]

    def stages(self, spec: "EmbeddingSpec") -> Stages:
        """See `EmbeddingModel.stages`."""
        return Stages(self.frontend(spec), self.trunk, self.pool(spec))

    def dense_windows(self, spec: "EmbeddingSpec") -> DenseWindows:
        """24 columns a window, one every 1936 samples (40.3 ms)."""
        return DenseWindows(**self.stages(spec)._asdict())

    def build_frontend(self, spec: "EmbeddingSpec") -> "keras.Model":
        """Windows `(batch, 48000)` -> maps `(batch, 257|128|256, 197|199|199, 1)`."""
        return self.frontend(spec).build()

    def build_network(
        self, spec: "EmbeddingSpec", tensors: Sequence[np.ndarray], *, folded: bool
    ) -> "keras.Model":
        """Maps -> embeddings: the last convolution's linear output, pooled."""
        frontend = self.frontend(spec)
        shape = (frontend.frequencies, frontend.frames)
        return self.trunk.build(shape, self.pool(spec), tensors, folded=folded)


def _file(input_repr: str, content: str) -> PublishedFile:
    return PublishedFile(
        name=f"openl3_audio_{input_repr}_{content}-v0_4_0.h5.gz",
        base_url=BASE_URL,
        git_blob_sha1=BLOBS[input_repr, content],
        licence="CC BY 4.0",
        trained_on=TRAINED_ON[content],
    )
