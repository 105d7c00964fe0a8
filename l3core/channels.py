"""How the channels of a recording become one."""

from typing import Literal

import numpy as np

Mix = Literal["mean", "first"]


def to_mono(frames: np.ndarray, mix: Mix) -> np.ndarray:
    """Frames `(samples,)` or `(samples, channels)` -> `(samples,)`, of the same type.

    Args:
        frames: floating point.
        mix: the mean of all channels, or the first one as it is.
    """
    if frames.ndim == 1:
        return frames
    if mix == "first" or frames.shape[1] == 1:
        return frames[:, 0].copy()
    return frames.mean(axis=1)
