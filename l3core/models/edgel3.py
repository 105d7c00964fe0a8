"""`edgel3-sea-64`: a small student of L3, with its real trained weights inside this package.

EdgeL3's specialised embedding approximation for urban sound (edgel3 0.2.1, `sea`, 64 numbers), trained
on SONYC-UST. 8 kHz, windows of one second, 399,460 parameters: good for a first table on a laptop.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from l3core.frontends import Frontend
from l3core.models.base import BundledFile, EmbeddingModel, LayerShapes, PublishedFile
from l3core.models.dense import DenseWindows
from l3core.models.stages import Stages
from l3core.models.trunk import Trunk
from l3core.windows import DENSE, GRIDS

if TYPE_CHECKING:
    import keras

    from l3core.spec import EmbeddingSpec

TRUNK = Trunk(filters=(32, 32, 64, 64, 128, 128, 64, 64), activated_output=True)
POOL = (8, 6)
FRONTEND = Frontend(
    sample_rate_hz=8_000,
    window_samples=8_000,
    n_fft=1024,
    hop_samples=160,
    n_mels=64,
    generation="as-trained",
)
WEIGHTS = BundledFile(
    path=Path(__file__).parent / "data" / "edgel3_sea_ust_audio_emb_64.h5.gz",
    sha256="d1cf0ce5640e93f07b3eef950f0694c40f3be33d8d7241deaea7f71e2f929a7f",
    licence="MIT",
    trained_on="SONYC-UST, urban sound of New York",
)


class EdgeL3Sea64(EmbeddingModel):
    """EdgeL3-SEA, 64 numbers >= 0 a second of sound."""

    name = "edgel3-sea-64"
    summary = "EdgeL3-SEA, a small L3 for urban sound, 8 kHz, 64-d, weights included"
    sample_rate_hz = 8_000
    window_samples = 8_000
    choices: Mapping[str, tuple] = {"embedding_size": (64,), "grid": (*GRIDS, DENSE)}
    windows_per_second = 300.0

    def embedding_size(self, spec: "EmbeddingSpec") -> int:
        """64."""
        return 64

    def weight_files(self) -> Mapping[str, PublishedFile | BundledFile]:
        """The one file that ships with the package."""
        return {"sea-64": WEIGHTS}

    def weight_file(self, spec: "EmbeddingSpec") -> PublishedFile | BundledFile:
        """The one file that ships with the package."""
        return WEIGHTS

    def layer_shapes(self, spec: "EmbeddingSpec") -> tuple[LayerShapes, ...]:
        """17 layers, 52 tensors."""
        return TRUNK.layer_shapes()

    def random_tensors(self, spec: "EmbeddingSpec", seed: int) -> list[np.ndarray]:
        """See `Trunk.random_tensors`."""
        return TRUNK.random_tensors(seed)

    def stages(self, spec: "EmbeddingSpec") -> Stages:
        """See `EmbeddingModel.stages`."""
        return Stages(FRONTEND, TRUNK, POOL)

    def dense_windows(self, spec: "EmbeddingSpec") -> DenseWindows:
        """6 columns a window, one every 1280 samples (0.16 s)."""
        return DenseWindows(**self.stages(spec)._asdict())

    def build_frontend(self, spec: "EmbeddingSpec") -> "keras.Model":
        """Windows `(batch, 8000)` -> maps `(batch, 64, 50, 1)`."""
        return FRONTEND.build()

    def build_network(
        self, spec: "EmbeddingSpec", tensors: Sequence[np.ndarray], *, folded: bool
    ) -> "keras.Model":
        """Maps -> embeddings: the last block's normalised and rectified output, pooled."""
        shape = (FRONTEND.frequencies, FRONTEND.frames)
        return TRUNK.build(shape, POOL, tensors, folded=folded)
