"""How far a spec that rounds on purpose is from float32, on windows of the recordings themselves.

Conformance says that a worker computes what was asked for; this says what that costs.
"""

import threading
from collections.abc import Iterable
from typing import Any

import numpy as np

from l3core.engines import Engine, load_reference
from l3core.engines.halving import compute
from l3core.errors import RunError
from l3core.packing import Batch
from l3core.spec import EmbeddingSpec
from l3core.weights import Weights

WINDOWS = 16  # of a worker; the reference takes a tenth of a second for one of `l3`


class RoundingMeter:
    """Compares the first windows that a worker computes with the reference: one of a clip in each batch.

    Windows of zeros say nothing and are left out.

    Args:
        spec: in mixed precision.
        weights: of its model.
        windows: to compare in all.
    """

    def __init__(self, spec: EmbeddingSpec, weights: Weights, *, windows: int = WINDOWS) -> None:
        self._spec, self._weights = spec, weights
        self._left = windows
        self._looking = threading.Lock()  # threads that share a model share its meter
        self._engine: Engine | None = None
        self._errors: list[tuple[float, float]] = []

    def look(self, batch: Batch[Any], vectors: np.ndarray) -> None:
        """Compare some windows of a batch with their vectors `(windows, d)`.

        Raises:
            RunError: a number of any window is too large for the precision.
        """
        if not np.isfinite(vectors).all():
            raise RunError(
                f"{self._spec.precision} is too small for the numbers of these recordings: "
                "use --precision mixed_bfloat16 or float32"
            )
        with self._looking:
            self._compare(batch, vectors)

    def _compare(self, batch: Batch[Any], vectors: np.ndarray) -> None:
        if self._left <= 0:
            return
        chosen = _one_of_each(batch)[: self._left]
        if not chosen:
            return
        self._left -= len(chosen)
        self._engine = self._engine or load_reference(self._spec, self._weights)
        expected = compute(self._engine, batch.signal, batch.starts[chosen])
        self._errors += _errors(vectors[chosen], expected)
        if self._left <= 0:
            self._engine = None  # it is not needed any more

    def take(self) -> dict[str, float] | None:
        """What was found since it was last taken, as JSON has it; None: nothing."""
        with self._looking:
            errors, self._errors = self._errors, []
        if not errors:
            return None
        distances, cosines = zip(*errors)
        return {
            "windows": len(errors),
            "relative_l2": float(max(distances)),
            "cosine": float(min(cosines)),
        }


def worst(found: Iterable[dict[str, float] | None]) -> dict[str, float] | None:
    """What several workers have found, as one: the largest distance, the least cosine."""
    there = [each for each in found if each]
    if not there:
        return None
    return {
        "windows": sum(each["windows"] for each in there),
        "relative_l2": max(each["relative_l2"] for each in there),
        "cosine": min(each["cosine"] for each in there),
    }


def _one_of_each(batch: Batch[Any]) -> list[int]:
    """The first window of each part that is not silent."""
    chosen, first = [], 0
    for _, silent in batch.parts:
        sounding = np.flatnonzero(~silent)
        if len(sounding):
            chosen.append(first + int(sounding[0]))
        first += len(silent)
    return chosen


def _errors(found: np.ndarray, expected: np.ndarray) -> list[tuple[float, float]]:
    """(relative L2, cosine) of each window; zeros are like zeros, and unlike all else."""
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    lengths, others = (np.linalg.norm(vectors, axis=1) for vectors in (expected, found))
    distances = np.linalg.norm(found - expected, axis=1)
    products = (found * expected).sum(axis=1)
    return [
        (
            distance / (length or 1.0),
            product / (length * other) if length * other else float(length == other),
        )
        for distance, product, length, other in zip(distances, products, lengths, others)
    ]
