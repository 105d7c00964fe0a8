"""The untrained weights of the goldens of VGGish and SoundNet, drawn again by the script beside them."""

import importlib.util
from functools import cache
from types import ModuleType

import numpy as np

from tests.golden import golden_file


@cache
def script() -> ModuleType:
    """The script."""
    spec = importlib.util.spec_from_file_location("seeded_weights", golden_file("seeded_weights.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def vggish() -> dict[str, np.ndarray]:
    """TensorFlow's names of VGGish's variables, and their values; drawn once in a session."""
    return script().vggish_weights()


def pca(scale: float) -> dict[str, np.ndarray]:
    """What upstream's .npz of principal components holds."""
    return script().vggish_pca(scale)


@cache
def soundnet() -> dict[str, dict[str, np.ndarray]]:
    """What sound8.npy holds."""
    return script().soundnet_weights()
