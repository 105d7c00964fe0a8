"""How a model's windows can share its work: its trunk runs once, and each window pools its own columns.

A window of L3 is some 199 frames of a spectrogram, of which the trunk makes 24 columns. Windows that
start a whole number of columns apart would have most of theirs in common, were it not for the zeros that
convolutions see at the ends of a window, and for its decibels, which are relative to its own loudest
value. Dense windows have neither: the trunk runs on through what lies before and after a window, and a
frame's decibels are relative to the loudest value of half a second before it to half a second after it.
That is another embedding, near the exact one, at a fraction of the cost. What a window's numbers depend
on reaches a little more than half a second to both its sides, and no further.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from l3core.frontends import Frontend
from l3core.models.trunk import Trunk
from l3core.windows import MAX_HOP_S

if TYPE_CHECKING:
    import keras

REFERENCE_S = 0.5  # before and after a frame


@dataclass(frozen=True, kw_only=True)
class DenseWindows:
    """Dense windows of one front end, trunk and pooling. Frames and columns are those of `l3core.dense`.

    Attributes:
        frontend: of the windows.
        trunk: of the network.
        pool: (rows, columns) of the last pooling.
        version: raised whenever the same spec and weights give other values; part of a fingerprint.
    """

    frontend: Frontend
    trunk: Trunk
    pool: tuple[int, int]
    version: int = 1

    def __post_init__(self) -> None:
        rows = self.frontend.frequencies // self.trunk.frames_a_column
        if rows % self.pool[0] or self.columns % self.pool[1]:
            raise ValueError(f"the pooling {self.pool} leaves some of {rows} x {self.columns} over")

    @property
    def frames_a_column(self) -> int:
        """Frames from one column to the next."""
        return self.trunk.frames_a_column

    @property
    def stride_samples(self) -> int:
        """Samples from one column to the next: windows start at multiples of it."""
        return self.frames_a_column * self.frontend.hop_samples

    @property
    def columns(self) -> int:
        """Columns of a window."""
        return self.frontend.frames // self.frames_a_column

    @property
    def margin_columns(self) -> int:
        """Columns before and after those of a window that the trunk must see."""
        return self.trunk.reach_columns

    @property
    def reference_frames(self) -> int:
        """Frames before and after a frame that its decibels depend on."""
        return int(REFERENCE_S * self.frontend.sample_rate_hz) // self.frontend.hop_samples

    @property
    def lead_samples(self) -> int:
        """Samples from the beginning of a window's first frame to that of the window."""
        return self.frontend.padding[0]

    @property
    def context(self) -> tuple[int, int]:
        """Samples (before, after) a window that its numbers depend on."""
        margin = self.margin_columns * self.frames_a_column + self.reference_frames
        frames = self.columns * self.frames_a_column + margin
        last = (frames - 1) * self.frontend.hop_samples - self.lead_samples + self.frontend.n_fft
        before = margin * self.frontend.hop_samples + self.lead_samples
        return before, max(0, last - self.frontend.window_samples)

    def hop_columns(self, hop_s: float) -> int:
        """The nearest hop that there is, in columns, at least one."""
        columns_a_second = self.frontend.sample_rate_hz / self.stride_samples
        longest = int(MAX_HOP_S * columns_a_second)
        return min(max(1, int(hop_s * columns_a_second + 0.5)), longest)

    def build_frontend(self) -> "keras.Model":
        """Frames `(frames, n_fft)` and those to keep `(kept,)` -> a map `(1, frequencies, kept, 1)`."""
        return self.frontend.build_dense(self.reference_frames)

    def build_network(self, tensors: Sequence[np.ndarray], *, folded: bool) -> "keras.Model":
        """A map of any length -> `(1, columns, rows, channels)`, pooled over rows only.

        Args:
            tensors: weights in the order of `EmbeddingModel.layer_shapes`.
            folded: see `EmbeddingModel.build_network`.
        """
        return self.trunk.build_columns(self.frontend.frequencies, self.pool[0], tensors, folded=folded)
