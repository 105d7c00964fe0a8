"""Untrained weights, drawn by NumPy so that they are the same everywhere and for ever."""

import hashlib

import numpy as np

# How `random:SEED` draws; a new scheme gets a new number, so that old seeds keep their meaning.
RANDOM_SCHEME = "l3flow-random-v1"
_AT_ONCE = 1 << 20  # normals, which are twice as large as what is kept; the stream is the same


def he_normal(seed: int, place: int | str, shape: tuple[int, ...]) -> np.ndarray:
    """A kernel, float32, for a layer with a ReLU behind it.

    Args:
        seed: of all weights.
        place: of the layer among them: each has a stream of its own.
        shape: its last axis is the layer's outputs.
    """
    return normal(seed, place, shape, np.sqrt(2.0 / np.prod(shape[:-1])))


def normal(seed: int, place: int | str, shape: tuple[int, ...], scale: float) -> np.ndarray:
    """Normally distributed numbers of this scale, float32; arguments as of `he_normal`."""
    # RandomState is NumPy's frozen stream; a Generator's may change between versions
    name = f"{RANDOM_SCHEME}/{seed}/{place}".encode()
    state = np.random.RandomState(np.frombuffer(hashlib.sha256(name).digest(), "<u4"))
    drawn = np.empty(int(np.prod(shape)), np.float32)
    for first in range(0, len(drawn), _AT_ONCE):
        part = drawn[first : first + _AT_ONCE]
        part[:] = state.standard_normal(len(part)) * scale
    return drawn.reshape(shape)
