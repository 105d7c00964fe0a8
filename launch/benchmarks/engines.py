"""Every engine that is installed, in every precision that it has, by turns."""

from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from statistics import median

import numpy as np

from l3core.embedding import Embedder
from l3core.engines import ENGINES
from l3core.spec import EmbeddingSpec
from l3core.speed import windows_per_second
from l3core.weights import Weights, load_weights
from launch.benchmarks.figures import Figure

TURNS = 3
# On processors float16 is slower than anything that is worth the waiting.
PRECISIONS = ("float32", "mixed_bfloat16", "int8")
DEFAULT = ("tensorflow", "float32")


def engines(spec: EmbeddingSpec, seconds: float) -> Iterator[Figure]:
    """Windows a second of each, and beside the default in the same turn.

    Args:
        spec: of the model; its engine and precision are of no matter.
        seconds: for each engine, all turns together.
    """
    spec = replace(spec, engine="tensorflow", precision="float32")
    weights = load_weights(spec)
    loaded = {kind: _load(spec, weights, *kind) for kind in _kinds(spec)}
    speeds: dict[tuple[str, str], list[float]] = {kind: [] for kind in loaded}
    for _ in range(TURNS):
        for kind, embedder in loaded.items():
            speeds[kind].append(windows_per_second(embedder, seconds=seconds / TURNS))
    note = f"{spec.model}, {spec.size} numbers"
    for kind, found in speeds.items():
        name = " ".join(kind)
        yield Figure(name, median(found), "windows/s", note)
        if kind != DEFAULT:
            ratios = [ours / theirs for ours, theirs in zip(found, speeds[DEFAULT])]
            yield Figure(f"{name} / default", median(ratios), "", f"{note}, {TURNS} turns")


def _kinds(spec: EmbeddingSpec) -> Iterator[tuple[str, str]]:
    for name, info in ENGINES.items():
        if info.needs_stages and spec.network.stages(spec) is None:
            continue
        if name == spec.engine or (info.extra and find_spec(info.extra)):
            yield from ((name, precision) for precision in PRECISIONS if precision in info.precisions)


def _load(spec: EmbeddingSpec, weights: Weights, engine: str, precision: str) -> Embedder:
    if precision != "int8":
        return Embedder(replace(spec, engine=engine, precision=precision), weights=weights)
    from l3core.engines.openvino_calibration import calibrate

    # what it is calibrated on changes its numbers, not its speed
    shape = (8, spec.network.window_samples)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, shape).astype(np.float32)
    spec = replace(spec, engine=engine, precision=precision, weights="quantised here")
    return Embedder(spec, weights=weights._replace(quantisation=calibrate(spec, weights, noise)))
