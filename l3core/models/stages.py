"""What a model's network is made of, as data: for engines that do not run Keras."""

from typing import NamedTuple

from l3core.frontends import Frontend
from l3core.models.trunk import Trunk


class Stages(NamedTuple):
    """From a window to its embedding.

    Attributes:
        frontend: the spectrogram.
        trunk: the convolutions.
        pool: (rows, columns) of the last pooling, whose result is the embedding.
    """

    frontend: Frontend
    trunk: Trunk
    pool: tuple[int, int]
