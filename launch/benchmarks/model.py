"""The bare compiled model, and each stage around it alone."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from l3core.audio import ArraySource, Recording
from l3core.embedding import Embedder
from l3core.resampling import Resampling
from l3core.spec import EmbeddingSpec
from l3core.speed import windows_per_second
from l3core.table.windows_file import writing_windows
from launch.benchmarks.figures import Figure, timed

L3_GFLOP = {"mel256": 20.43, "mel128": 10.2, "linear": 20.3}  # of the eight convolutions, a window


def bare_model(spec: EmbeddingSpec, seconds: float) -> Iterator[Figure]:
    """The compiled model alone, and for `l3` its share of what a matrix product manages here."""
    speed = windows_per_second(Embedder(spec), seconds=seconds)
    yield Figure("bare model", speed, "windows/s", f"{spec.model}, {spec.size} numbers")
    if spec.model != "l3" or spec.dense:  # dense windows share their convolutions
        return
    product = matrix_product_gflops()
    gflops = speed * L3_GFLOP[str(spec.input_repr)]
    yield Figure("matrix product", product, "GFLOP/s", "4096 x 4096, float32")
    yield Figure("bare model", gflops, "GFLOP/s", "convolutions only")
    yield Figure("bare model / matrix product", gflops / product, "")


def matrix_product_gflops() -> float:
    """GFLOP/s of a 4096 x 4096 float32 product, the best of five."""
    import tensorflow as tf

    size = 4096
    a = tf.random.uniform([size, size])
    best = min(timed(lambda: tf.linalg.matmul(a, a).numpy()) for _ in range(5))
    return 2 * size**3 / best / 1e9


def stages(spec: EmbeddingSpec, recording: Path, folder: Path) -> Iterator[Figure]:
    """Decoding, resampling, cutting and writing, each alone on one core."""
    with open(recording, "rb") as file, Recording(file) as opened:
        info = opened.info
        block = 10 * info.sample_rate_hz
        places = range(0, info.frames, block)
        seconds = timed(lambda: [opened.read(place, place + block) for place in places])
        yield Figure("decode", info.duration_s / seconds, "x real time", info.codec)
    rates = Resampling(info.sample_rate_hz, spec.sample_rate_hz, spec.resampler)
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, 6 * rates.block_source).astype(np.float32)
    source = ArraySource(noise, info.sample_rate_hz)
    seconds = timed(lambda: [rates.block(index, source.read, len(noise)) for index in range(6)])
    speed = len(noise) / info.sample_rate_hz / seconds
    yield Figure("resample", speed, "x real time", f"{rates.source_hz} to {rates.target_hz} Hz")
    vectors = np.random.default_rng(0).standard_normal((4_000, spec.size)).astype(np.float32)
    seconds = timed(lambda: _write(folder / "written.parquet", vectors))
    yield Figure("write", len(vectors) / seconds, "windows/s", f"{spec.size} numbers, Parquet, zstd")


def _write(path: Path, vectors: np.ndarray) -> None:
    with writing_windows(str(path), vectors.shape[1]) as writer:
        for first in range(0, len(vectors), 16):
            part = vectors[first : first + 16]
            times, silent = np.arange(len(part), dtype=np.float64), np.zeros(len(part), bool)
            writer.append("clip", first_window=first, start_s=times, silent=silent, vectors=part)
