"""Post-training quantisation: what values go through a network when it hears real windows."""

from typing import Any

import numpy as np

from l3core.engines.openvino import BATCH_SIZE, Network, stages_of
from l3core.engines.openvino_graph import Graph, draw
from l3core.errors import UsageError
from l3core.models.stages import Stages
from l3core.quantisation import Quantisation, calibrated_fields, equalised
from l3core.spec import EmbeddingSpec
from l3core.spectra import PowerSpectra
from l3core.weights import Weights

# How far faint channels are raised: 0 not at all, 1 to the level of the loudest. By experiment, for
# edgel3-sea-64 and l3: docs/performance.md.
EQUALISED = 0.4
FAINTEST = 1e-3  # of the loudest channel; a fainter one is raised as this is
LEAST_HIGH = 1e-6  # of a layer that never says anything


def calibrate(spec: EmbeddingSpec, weights: Weights, windows: np.ndarray) -> Quantisation:
    """Find what int8 needs to know.

    Args:
        spec: of the model.
        weights: in float32.
        windows: some hundred of what it will hear, float32 `(windows, samples)`; silent ones do not
            count.

    Raises:
        UsageError: all of them are silent.
    """
    windows = windows[windows.any(axis=1)]
    if not len(windows):
        raise UsageError("there is nothing but silence to calibrate on")
    stages = stages_of(spec)
    plain = draw(stages, weights)
    count = len(plain.means)
    found = _outputs(plain, stages, [*plain.means, *plain.peaks], windows)
    means = [values.mean(axis=0) for values in found[:count]]
    peaks = [values.max(axis=0) for values in found[count:]]
    gains = [*map(_gain, peaks[:-1]), np.ones_like(peaks[-1])]
    highs = [max((peak / gain).max(), LEAST_HIGH) for peak, gain in zip(peaks[:-1], gains)]
    divided = equalised(stages.trunk.folded(weights.tensors).convolutions, gains)
    biases = [convolution.bias for convolution in divided]
    for index in range(1, count):  # each hears what those before it make of the windows in 8 bits
        quantisation = Quantisation(
            tuple(gains), tuple(biases), np.array(highs, np.float32), calibrated_fields(spec)
        )
        graph = draw(stages, weights, quantised=quantisation)
        (rounded,) = _outputs(graph, stages, [graph.means[index]], windows)
        biases[index] = biases[index] + means[index] / gains[index] - rounded.mean(axis=0)
    return quantisation._replace(biases=tuple(biases))


def _gain(peak: np.ndarray) -> np.ndarray:
    loudest = peak.max()
    if loudest <= 0:
        return np.ones_like(peak)
    return np.maximum(peak / loudest, np.float32(FAINTEST)) ** np.float32(EQUALISED)


def _outputs(graph: Graph, stages: Stages, outputs: list[Any], windows: np.ndarray) -> list[np.ndarray]:
    """Outputs of a graph for all windows, batch by batch."""
    network, spectra = Network(graph.compile(outputs)), PowerSpectra(stages.frontend)
    firsts = range(0, len(windows), BATCH_SIZE)
    parts = [network(spectra(windows[first : first + BATCH_SIZE])) for first in firsts]
    return [np.concatenate(values) for values in zip(*parts)]
