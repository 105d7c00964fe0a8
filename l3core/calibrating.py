"""Windows of real recordings to quantise a model with, and what it is then like."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from l3core.audio import Recording
from l3core.engines import load_engine
from l3core.engines.openvino_calibration import calibrate
from l3core.errors import AudioError, UsageError
from l3core.pinned import open_pinned
from l3core.resampling import Resampling
from l3core.segments import cut_segments
from l3core.spec import EmbeddingSpec
from l3core.storage import StoredObject
from l3core.weights import Weights

WINDOWS_EACH = 4  # of a recording


class Heard(NamedTuple):
    """Windows that recordings were asked for.

    Attributes:
        recordings: of each that has some, float32 `(windows, samples)`; silent windows are left out.
        unreadable: how many cannot be read.
    """

    recordings: list[np.ndarray]
    unreadable: int


class Quantised(NamedTuple):
    """A model in int8.

    Attributes:
        weights: with what int8 needs.
        calibrated_on: (windows, recordings).
        checked_on: (windows, recordings), others.
        cosines: to float32, of each window that it was checked on.
    """

    weights: Weights
    calibrated_on: tuple[int, int]
    checked_on: tuple[int, int]
    cosines: np.ndarray


def hear(found: Iterable[StoredObject], spec: EmbeddingSpec) -> Heard:
    """Read a few windows of each recording, evenly spread over it.

    Args:
        found: objects as listed.
        spec: what they are for.
    """
    recordings, unreadable = [], 0
    for listed in found:
        try:
            windows = _windows_of(listed, spec)
        except AudioError:
            unreadable += 1
            continue
        if len(windows):
            recordings.append(windows)
    return Heard(recordings, unreadable)


def _windows_of(listed: StoredObject, spec: EmbeddingSpec) -> np.ndarray:
    grid, rate = spec.window_grid, spec.sample_rate_hz
    windows = [np.empty((0, grid.window_samples), np.float32)]
    with open_pinned(listed) as file, Recording(file) as recording:
        resampling = Resampling(recording.info.sample_rate_hz, rate, spec.resampler)
        count = grid.count(resampling.length(recording.info.frames))
        for index in sorted({round(place) for place in np.linspace(0, count - 1, WINDOWS_EACH)}):
            asked = range(index, index + 1)
            cut = cut_segments(recording, grid=grid, resampling=resampling, windows=asked)
            for part in cut:
                windows += [
                    part.signal[np.newaxis, start : start + grid.window_samples]
                    for start in part.starts[~part.silent]
                ]
    return np.concatenate(windows)


def quantise(spec: EmbeddingSpec, weights: Weights, recordings: Sequence[np.ndarray]) -> Quantised:
    """Calibrate on every other recording, and compare on the rest.

    Args:
        spec: of the model, in int8 by engine openvino.
        weights: in float32.
        recordings: windows of each, see `hear`.

    Raises:
        UsageError: there are not two windows.
    """
    if len(recordings) == 1:
        recordings = list(recordings[0][:, np.newaxis])  # its windows, one by one
    if len(recordings) < 2:
        raise UsageError("needs two windows that are not silent, at least")
    seen, other = recordings[::2], recordings[1::2]
    learnt, checked = np.concatenate(seen), np.concatenate(other)
    made = weights._replace(quantisation=calibrate(spec, weights, learnt))
    expected = _embed(replace(spec, precision="float32"), weights, checked)
    found = _embed(spec, made, checked)
    return Quantised(
        made, (len(learnt), len(seen)), (len(checked), len(other)), cosines(found, expected)
    )


def cosines(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Of each pair of vectors `(windows, d)`, float64; zeros are like zeros and unlike all else."""
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    alike = (~found.any(axis=1) & ~expected.any(axis=1)).astype(np.float64)
    products = (found * expected).sum(axis=1)
    return np.where(lengths > 0, products / np.where(lengths > 0, lengths, 1.0), alike)


def _embed(spec: EmbeddingSpec, weights: Weights, windows: np.ndarray) -> np.ndarray:
    engine = load_engine(spec, weights, batch_size=None)
    starts = np.arange(len(windows), dtype=np.int32) * windows.shape[1]
    parts = np.array_split(starts, -(-len(starts) // engine.batch_size))
    return np.concatenate([engine(windows.ravel(), part) for part in parts])
