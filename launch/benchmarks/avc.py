"""Training L3 itself: pairs a second and memory of a step, what feeds it, days of the paper's run."""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from l3core.training.settings import PRESETS, TrainingSettings
from launch.benchmarks.alone import answer, in_process
from launch.benchmarks.figures import Figure, timed

if TYPE_CHECKING:
    from l3core.training.feed import Source

# Pairs of a step: what each of the paper's four GPUs had, and the toy's.
STEPS = {"l3": 16, "l3-narrow": PRESETS["toy"].batch_size}
SHORTEST_S = 5.0
DAY_S = 24 * 3600
VIDEOS, VIDEO_S, PER_VIDEO = 24, 6.0, 16


def avc(folder: Path, *, seconds: float, scale: float = 1.0) -> Iterator[Figure]:
    """Steps of the whole network and of the narrow one, each in a process; then what feeds them.

    Args:
        folder: for videos and pairs.
        seconds: to time the steps of each.
        scale: of the number of videos, to try it out.
    """
    speeds = {}
    for model, size in STEPS.items():
        told = in_process("launch.benchmarks.avc", model, size, folder, round(1000 * seconds))
        speeds[model] = told["pairs_per_s"]
        note = f"{model}, mel256, batches of {size}, float32"
        yield Figure("training step", told["pairs_per_s"], "pairs/s", note)
        yield Figure("training step, peak memory", told["peak_mb"], "MB", note)
    samples = PRESETS["paper"].samples
    days = samples / speeds["l3"] / DAY_S
    yield Figure("the paper's training", days, "days", f"{samples / 1e6:.1f} M pairs at this rate")
    yield from _feeding(folder, max(2, round(VIDEOS * scale)), speeds["l3"])


def _feeding(folder: Path, videos: int, step_speed: float) -> Iterator[Figure]:
    """Pairs a second that are sampled from videos, and that are read and decoded for a step."""
    from l3core.avc.corpus import open_corpus
    from l3core.avc.toy import ToySettings, make_toy_corpus
    from l3core.training.feed import Source
    from launch.main import main

    make_toy_corpus(str(folder / "toy"), ToySettings(videos=videos, seconds=VIDEO_S))
    corpus = folder / "pairs"
    command = ["avc", "sample", "--input", str(folder / "toy" / "videos"), "--output", str(corpus)]
    took = timed(lambda: main([*command, "--per-video", str(PER_VIDEO), "--quiet"]))
    found = open_corpus(str(corpus))
    pairs = sum(file.pairs for file in found.files)
    size = sum(file.size_bytes for file in found.files)
    note = f"videos of {VIDEO_S:g} s, 256 x 256"
    yield Figure("sampling", pairs / took, "pairs/s", f"{note}, {PER_VIDEO} of each, start-up included")
    yield Figure("records", size / pairs / 1000, "kB a pair", note)
    speed = _read(Source(found, "train", batch_size=STEPS["l3"], seed=0))
    yield Figure("feeding", speed, "pairs/s", "read and decoded, nothing else at work")
    yield Figure("feeding / training step", speed / step_speed, "", "l3")


def _read(source: "Source") -> float:
    """Pairs a second of batches that nobody uses."""
    feed = source.batches()
    next(feed)
    begin, pairs = time.perf_counter(), 0
    while time.perf_counter() - begin < SHORTEST_S:
        pairs += len(next(feed).labels)
    return pairs / (time.perf_counter() - begin)


def step(model: str, size: int, seconds: float) -> dict[str, float]:
    """Pairs a second of training steps on noise, in this process."""
    from l3core.training.devices import strategy_of
    from l3core.training.feed import Batch
    from l3core.training.step import Trainer

    settings = replace(TrainingSettings(), model=model, batch_size=size)
    trainer = Trainer(settings, strategy_of((), batch_size=size))
    generator = np.random.default_rng(0)
    batch = Batch(
        generator.integers(0, 256, (size, 224, 224, 3), np.uint8),
        generator.integers(-3000, 3000, (size, 48_000), np.int16),
        generator.integers(0, 2, size),
        np.ones(size, np.float32),
    )
    trainer.train(batch)
    begin, steps = time.perf_counter(), 0
    while not steps or time.perf_counter() - begin < seconds:
        trainer.train(batch)
        steps += 1
    return {"pairs_per_s": size * steps / (time.perf_counter() - begin)}


if __name__ == "__main__":

    def _verb(model: str) -> Callable[[int, Path, int], dict[str, float]]:
        return lambda size, folder, ms: step(model, size, ms / 1000)

    answer({model: _verb(model) for model in STEPS}, *sys.argv[1:])
