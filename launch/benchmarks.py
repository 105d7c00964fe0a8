"""What `l3flow bench` measures: each stage alone, the bare model, and the whole command."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile

from l3core.audio import ArraySource, Recording
from l3core.embedding import Embedder
from l3core.resampling import Resampling
from l3core.spec import EmbeddingSpec
from l3core.speed import windows_per_second
from l3core.table.windows_file import writing_windows
from l3core.windows import hop_in_samples
from launch import identity

SOURCE_HZ = 44_100
CLIP_S = 4
L3_GFLOP = {"mel256": 20.43, "mel128": 10.2, "linear": 20.3}  # of the eight convolutions, a window


class Figure(NamedTuple):
    """One measured number.

    Attributes:
        name: what was measured.
        value: the number.
        unit: of the number.
        note: how, or against what.
    """

    name: str
    value: float
    unit: str
    note: str = ""


def make_recording(
    path: Path, seconds: float, *, seed: int = 0, sample_rate_hz: int = SOURCE_HZ
) -> None:
    """A mono 16-bit WAV of noise, written a minute at a time."""
    generator = np.random.default_rng(seed)
    with soundfile.SoundFile(path, "w", sample_rate_hz, 1, "PCM_16") as file:
        left = round(seconds * sample_rate_hz)
        while left > 0:
            count = min(left, 60 * sample_rate_hz)
            file.write(generator.uniform(-0.3, 0.3, count).astype(np.float32))
            left -= count


def make_corpora(folder: Path, minutes: float) -> tuple[Path, Path]:
    """The same length of audio as one recording, and as clips of four seconds."""
    long, short = folder / "long", folder / "short"
    long.mkdir()
    short.mkdir()
    make_recording(long / "recording.wav", 60 * minutes)
    for number in range(round(60 * minutes / CLIP_S)):
        make_recording(short / f"{number:06d}.wav", CLIP_S, seed=number)
    return long, short


def bare_model(spec: EmbeddingSpec, seconds: float) -> Iterator[Figure]:
    """The compiled model alone, and for `l3` its share of what a matrix product manages here."""
    speed = windows_per_second(Embedder(spec), seconds=seconds)
    yield Figure("bare model", speed, "windows/s", f"{spec.model}, {spec.size} numbers")
    if spec.model != "l3":
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
    best = min(_timed(lambda: tf.linalg.matmul(a, a).numpy()) for _ in range(5))
    return 2 * size**3 / best / 1e9


def stages(spec: EmbeddingSpec, recording: Path, folder: Path) -> Iterator[Figure]:
    """Decoding, resampling, cutting and writing, each alone on one core."""
    with open(recording, "rb") as file, Recording(file) as opened:
        info = opened.info
        block = 10 * info.sample_rate_hz
        places = range(0, info.frames, block)
        seconds = _timed(lambda: [opened.read(place, place + block) for place in places])
        yield Figure("decode", info.duration_s / seconds, "x real time", info.codec)
    rates = Resampling(info.sample_rate_hz, spec.network.sample_rate_hz, spec.resampler)
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, 6 * rates.block_source).astype(np.float32)
    source = ArraySource(noise, info.sample_rate_hz)
    seconds = _timed(lambda: [rates.block(index, source.read, len(noise)) for index in range(6)])
    speed = len(noise) / info.sample_rate_hz / seconds
    yield Figure("resample", speed, "x real time", f"{rates.source_hz} to {rates.target_hz} Hz")
    vectors = np.random.default_rng(0).standard_normal((4_000, spec.size)).astype(np.float32)
    seconds = _timed(lambda: _write(folder / "written.parquet", vectors))
    yield Figure("write", len(vectors) / seconds, "windows/s", f"{spec.size} numbers, Parquet, zstd")


def _write(path: Path, vectors: np.ndarray) -> None:
    with writing_windows(str(path), vectors.shape[1]) as writer:
        for first in range(0, len(vectors), 16):
            part = vectors[first : first + 16]
            times, silent = np.arange(len(part), dtype=np.float64), np.zeros(len(part), bool)
            writer.append("clip", first_window=first, start_s=times, silent=silent, vectors=part)


def plumbing(long: Path, short: Path, folder: Path) -> Iterator[Figure]:
    """The whole run with a model that costs nothing, by seconds of CPU; Beam is loaded before."""
    import_module("pipelines.embed")
    for size in (512, 6144):
        record, cpu = _plumb(long, folder / f"plumbing-{size}", size, 0.1)
        yield Figure(
            "plumbing", record["windows"] / cpu, "windows/s a core", f"{size} numbers, hop 0.1 s"
        )
    record, cpu = _plumb(short, folder / "plumbing-short", 512, 1.0)
    files = sum(record["clips"].values())
    yield Figure("plumbing", files / cpu, "files/s a core", f"clips of {CLIP_S} s, hop 1 s")


def _plumb(corpus: Path, table: Path, size: int, hop_s: float) -> tuple[dict[str, Any], float]:
    from launch.main import main

    identity.register()
    command = ["embed", "--input", str(corpus), "--output", str(table), "--quiet"]
    command += ["--model", "identity", "--engine", "identity", "--weights", "random:0"]
    command += ["--embedding-size", str(size), "--hop", str(hop_s)]
    start = time.process_time()
    code = main(command)
    cpu = time.process_time() - start
    if code:
        raise RuntimeError(f"the plumbing run ended with code {code}")
    (record,) = (table / "runs").glob("*.json")
    return json.loads(record.read_bytes()), cpu


class Whole(NamedTuple):
    """A run of the command as a process of its own."""

    windows: int
    wall_s: float
    run_s: float
    peak_mb: float


def whole_command(flags: Sequence[str], corpus: Path, table: Path) -> Whole:
    """`l3flow embed` as people run it: wall seconds with and without start-up, and peak memory."""
    command = [sys.executable, "-m", "launch.main", "embed", "--input", str(corpus)]
    command += ["--output", str(table), "--json", *flags]
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        out, err = process.communicate()
    wall_s = time.perf_counter() - start
    if process.returncode:
        raise RuntimeError(err.decode(errors="replace").strip())
    record = json.loads(out)
    peak_kb = record["peak_rss_kb"]
    return Whole(record["windows"], wall_s, record["wall_s"], peak_kb / 1000)


def whole_runs(
    spec: EmbeddingSpec, flags: Sequence[str], corpora: tuple[Path, Path], folder: Path
) -> Iterator[Figure]:
    """The whole command on a long recording and on clips, against the bare model in the same minutes."""
    embedder = Embedder(spec)
    before = windows_per_second(embedder, seconds=8)
    runs = {
        name: whole_command(flags, corpus, folder / f"whole-{name}")
        for name, corpus in zip(("recording", "clips"), corpora)
    }
    after = windows_per_second(embedder, seconds=8)
    bare = (before + after) / 2
    for name, run in runs.items():
        speed = run.windows / run.wall_s
        yield Figure(f"whole command, {name}", speed, "windows/s", f"{run.windows} windows")
        yield Figure(f"whole command / bare model, {name}", speed / bare, "", "start-up included")
        running = run.windows / run.run_s / bare
        yield Figure(f"run / bare model, {name}", running, "", "from plan to commit")
        yield Figure(f"peak memory, {name}", run.peak_mb, "MB")
    hop_samples = hop_in_samples(spec.hop_s or 0.1, spec.network.sample_rate_hz)
    hour = 3600 * spec.network.sample_rate_hz / hop_samples
    yield Figure("audio", 3600 / (hour / bare), "hours/hour", f"at hop {spec.hop_s} s")


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
