"""The network as an OpenVINO graph, in float or in 8-bit integers.

It is drawn from the model's parts, not converted from Keras: so a worker loads no TensorFlow, and no
graph is read from a file.
"""

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from l3core.frontends import AMPLITUDE_FLOOR, DYNAMIC_RANGE_DB, SILENCE_DB, Frontend
from l3core.machine import usable_cores
from l3core.models.dense import DenseWindows
from l3core.models.stages import Stages
from l3core.models.trunk import Convolution, Trunk
from l3core.quantisation import Quantisation, equalised, in_bytes
from l3core.spectra import mel_bands
from l3core.weights import Weights

# Loading openvino tells Google Analytics so, unless its user has said no. It works without the package
# that does (openvino/tools/ovc/telemetry_utils.py of 2026.4.1); None lets it find none.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino as ov  # noqa: E402
from openvino import opset13 as ops  # noqa: E402

LEVELS = 256


class Graph(NamedTuple):
    """A network that is drawn, not compiled.

    Attributes:
        given: its inputs; the first one is spectra of `l3core.spectra.PowerSpectra`.
        results: embeddings `(windows, d)`; or the columns of a map `(columns, rows, channels)`, and the
            loudest value of each of its frames, dB `(frames,)`.
        means: by convolution, what comes out, on average over its map `(windows, channels)`.
        peaks: by convolution, the largest value after its ReLU `(windows, channels)`.
    """

    given: list[Any]
    results: list[Any]
    means: list[Any]
    peaks: list[Any]

    def compile(self, outputs: Sequence[Any], *, precision: str = "f32") -> ov.CompiledModel:
        """Compile what leads to some outputs, for all cores of this process.

        Args:
            outputs: of this graph.
            precision: f32, or bf16 where the processor has it.
        """
        return ov.Core().compile_model(
            ov.Model([output.output(0) for output in outputs], self.given),
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": precision,  # else it is bf16 wherever there is bf16
                "INFERENCE_NUM_THREADS": usable_cores(),
                "NUM_STREAMS": 1,
                "ENABLE_CPU_PINNING": False,  # processes side by side would all take the first cores
            },
        )


def draw(stages: Stages, weights: Weights, *, quantised: Quantisation | None = None) -> Graph:
    """Draw a network that embeds windows.

    Args:
        stages: of its model.
        weights: of its model.
        quantised: compute in 8 bits, all but the first convolution and the last result.
    """
    given = _spectra(stages.frontend, frames=stages.frontend.frames)
    decibels = _levels(given, stages.frontend)
    decibels = ops.subtract(decibels, ops.reduce_max(decibels, _axes(1, 2), True))
    last, means, peaks = _last_map(_floored(decibels), stages.trunk, weights, quantised)
    pooled = ops.transpose(_pooled(last, stages.pool, "same_upper"), _axes(0, 2, 3, 1))
    return Graph([given], [ops.reshape(pooled, _axes(0, -1), True)], means, peaks)


def draw_columns(
    dense: DenseWindows, weights: Weights, *, quantised: Quantisation | None = None
) -> Graph:
    """Draw what makes columns of frames, see `l3core.dense`; arguments as of `draw`.

    Its inputs are the spectra of frames that follow one another `(1, frames, frequencies)`, and those
    frames that make the map, int32 `(kept,)`. A front end in Keras that does the same, with reasons, is
    `l3core.frontends.Frontend.build_dense`.
    """
    given, kept = _spectra(dense.frontend, frames=-1), ops.parameter([-1], np.int32)
    decibels = _levels(given, dense.frontend)
    loudest = ops.unsqueeze(ops.reduce_max(decibels, _axes(1), True), _axes(1))
    near = (1, 2 * dense.reference_frames + 1)
    reference = ops.squeeze(_pooled(loudest, near, "same_upper", strides=(1, 1)), _axes(1))
    silence = ops.less_equal(reference, _number(SILENCE_DB))
    decibels = ops.select(silence, _number(-DYNAMIC_RANGE_DB), ops.subtract(decibels, reference))
    decibels = _floored(ops.gather(decibels, kept, ops.constant(np.int64(2))))
    last, means, peaks = _last_map(decibels, dense.trunk, weights, quantised)
    pooled = ops.transpose(_pooled(last, (dense.pool[0], 1), "valid"), _axes(0, 3, 2, 1))
    results = [ops.squeeze(pooled, _axes(0)), ops.reduce_max(decibels, _axes(0, 1))]
    return Graph([given, kept], results, means, peaks)


def _last_map(
    decibels: Any, trunk: Trunk, weights: Weights, quantised: Quantisation | None
) -> tuple[Any, list[Any], list[Any]]:
    """Maps `(batch, frequencies, frames)` in dB -> all but the last pooling, means and peaks."""
    scale, offset, convolutions = trunk.folded(weights.tensors)
    highs: Sequence[float] = ()
    if quantised:
        highs = quantised.highs.tolist()
        convolutions = equalised(convolutions, quantised.gains)
        convolutions = tuple(
            convolution._replace(bias=bias) for convolution, bias in zip(convolutions, quantised.biases)
        )
    x = ops.unsqueeze(decibels, _axes(1))
    x = ops.add(ops.multiply(x, _number(scale)), _number(offset))
    means, peaks = [], []
    for index, convolution in enumerate(convolutions):
        x = _convolved(x, convolution, in_8_bits=bool(highs) and index > 0)
        means.append(ops.reduce_mean(x, _axes(2, 3)))
        if convolution.rectified:
            x = ops.relu(x)
        peaks.append(ops.reduce_max(x, _axes(2, 3)))
        if index < len(highs):  # before the pooling, which is of bytes then
            low, high = _number(0), _number(highs[index])
            x = ops.fake_quantize(x, low, high, low, high, LEVELS)
        if convolution.pooled:
            x = _pooled(x, (2, 2), "valid")
    return x, means, peaks


def _spectra(frontend: Frontend, *, frames: int) -> Any:
    return ops.parameter([-1, frames, frontend.n_fft // 2 + 1], np.float32)


def _levels(power: Any, frontend: Frontend) -> Any:
    """Spectra `(batch, frames, frequencies)` -> dB `(batch, frequencies, frames)`."""
    if frontend.n_mels is None:
        values = ops.transpose(ops.sqrt(power), _axes(0, 2, 1))
    elif frontend.generation == "as-trained":
        values = ops.sqrt(ops.matmul(ops.constant(mel_bands(frontend)), power, False, True))
    else:
        values = ops.matmul(ops.constant(mel_bands(frontend)), ops.sqrt(power), False, True)
    logarithm = ops.log(ops.maximum(values, _number(AMPLITUDE_FLOOR)))
    return ops.multiply(logarithm, _number(10 / np.log(10)))


def _floored(decibels: Any) -> Any:
    return ops.maximum(decibels, _number(-DYNAMIC_RANGE_DB))


def _convolved(x: Any, convolution: Convolution, *, in_8_bits: bool) -> Any:
    kernel = np.ascontiguousarray(convolution.kernel.transpose(3, 2, 0, 1))
    if in_8_bits:
        values, scale = in_bytes(kernel)
        weights = ops.multiply(ops.convert(ops.constant(values), "f32"), ops.constant(scale))
    else:
        weights = ops.constant(kernel)
    x = ops.convolution(x, weights, [1, 1], [1, 1], [1, 1], [1, 1])
    return ops.add(x, ops.constant(convolution.bias.reshape(1, -1, 1, 1)))


def _pooled(
    x: Any, size: tuple[int, int], padding: str, *, strides: tuple[int, int] | None = None
) -> Any:
    steps = list(strides or size)
    pooled = ops.max_pool(x, steps, [1, 1], [0, 0], [0, 0], list(size), auto_pad=padding)
    # it has a second result, where the values were; the next operation is given the first only
    return pooled.output(0)


def _axes(*axes: int) -> Any:
    return ops.constant(np.array(axes, np.int64))


def _number(value: float) -> Any:
    return ops.constant(np.float32(value))
