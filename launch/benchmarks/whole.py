"""`l3flow embed` as people run it: a process of its own, start-up included."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from l3core.embedding import Embedder
from l3core.errors import RunError
from l3core.spec import EmbeddingSpec
from l3core.speed import windows_per_second
from launch.benchmarks.corpora import make_clips, make_recording
from launch.benchmarks.figures import Figure

# What the memory of a run is measured with: a small trained model, but all of TensorFlow.
MEMORY_FLAGS = ("--model", "edgel3-sea-64", "--hop", "1")
MEMORY_HZ = 16_000
SHORT_MINUTES, LONG_MINUTES = 10, 600
FEW_FILES, MANY_FILES = 1_000, 10_000


class Whole(NamedTuple):
    """One run.

    Attributes:
        windows: embedded.
        wall_s: seconds of the process.
        run_s: seconds from plan to commit.
        peak_mb: largest resident memory of the process.
        start_s: seconds before the plan, and of loading the model.
        matched: files by what was known of them.
    """

    windows: int
    wall_s: float
    run_s: float
    peak_mb: float
    start_s: float
    matched: dict[str, int]


def run_whole(
    flags: Sequence[str],
    corpus: Path | str,
    table: Path | str,
    *,
    program: Sequence[str] = ("-m", "launch.main"),
) -> Whole:
    """Run the command on a corpus.

    Args:
        flags: of the command.
        corpus: folder of audio, or its URI.
        table: where to embed it.
        program: how Python is told to run the command.
    """
    command = [sys.executable, *program, "embed", "--input", str(corpus)]
    command += ["--output", str(table), "--json", *flags]
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        out, err = process.communicate()
    wall_s = time.perf_counter() - start
    if process.returncode:
        raise RunError(err.decode(errors="replace").strip())
    record = json.loads(out)
    peak_mb = record["peak_rss_bytes"] / 1e6
    load = record["metrics"].get("load_model_latency_milli_secs", {"sum": 0})
    start_s = wall_s - record["wall_s"] + load["sum"] / 1000
    return Whole(record["windows"], wall_s, record["wall_s"], peak_mb, start_s, record["matched"])


def whole_runs(
    spec: EmbeddingSpec, corpora: tuple[Path, Path], folder: Path, *, seconds: float
) -> Iterator[Figure]:
    """A recording and clips, each beside the bare model just before and after it.

    Args:
        spec: what to embed.
        corpora: the recording's folder, and the clips'.
        folder: for the tables.
        seconds: to time the bare model, each time.
    """
    embedder = Embedder(spec)
    before = windows_per_second(embedder, seconds=seconds)
    yield Figure("audio", before * (spec.hop_s or 0.0), "hours/hour", f"at hop {spec.hop_s} s")
    speeds = {}
    for name, corpus in zip(("recording", "clips"), corpora):
        run = run_whole(spec_flags(spec), corpus, folder / f"whole-{name}-{spec.hop_s}")
        after = windows_per_second(embedder, seconds=seconds)
        bare, before = (before + after) / 2, after
        note = f"{name}, hop {spec.hop_s} s"
        speeds[name] = run.windows / run.wall_s / bare
        yield Figure("whole command", run.windows / run.wall_s, "windows/s", f"{note}: {run.windows}")
        yield Figure("whole command / bare model", speeds[name], "", f"{note}, start-up included")
        yield Figure("start-up", run.start_s, "s", f"{note}, loading the model included")
        loaded = run.windows / (run.wall_s - run.start_s)
        yield Figure("whole command, start-up apart", loaded, "windows/s", note)
        yield Figure("run / bare model", run.windows / run.run_s / bare, "", f"{note}, plan to commit")
        yield Figure("peak memory", run.peak_mb, "MB", note)
    yield Figure("clips / recording", speeds["clips"] / speeds["recording"], "", f"hop {spec.hop_s} s")


def memory(folder: Path, *, scale: float = 1.0) -> Iterator[Figure]:
    """Peak memory over a recording and one sixty times as long, and over files and ten times as many.

    Args:
        folder: for corpora and tables.
        scale: of all lengths and numbers, to try it out.
    """
    peaks = {}
    for name, minutes in (("short", SHORT_MINUTES), ("long", LONG_MINUTES)):
        corpus = folder / f"memory-{name}"
        corpus.mkdir()
        path = corpus / "recording.wav"
        make_recording(path, 60 * minutes * scale, sample_rate_hz=MEMORY_HZ)
        peaks[name] = run_whole(MEMORY_FLAGS, corpus, folder / f"table-{name}").peak_mb
        path.unlink()
        yield Figure("peak memory", peaks[name], "MB", f"a recording of {minutes * scale:g} min")
    yield Figure("peak memory, long / short recording", peaks["long"] / peaks["short"], "")
    for name, count in (("few", FEW_FILES), ("many", MANY_FILES)):
        corpus = folder / f"memory-{name}"
        number = max(1, round(count * scale))
        make_clips(corpus, number, 1.0, sample_rate_hz=MEMORY_HZ)
        peaks[name] = run_whole(MEMORY_FLAGS, corpus, folder / f"table-{name}").peak_mb
        yield Figure("peak memory", peaks[name], "MB", f"{number} files of 1 s")
    yield Figure("peak memory, many / few files", peaks["many"] / peaks["few"], "")


def spec_flags(spec: EmbeddingSpec) -> list[str]:
    """The options of `l3flow embed` that mean this spec."""
    flags = {
        "--model": spec.model,
        "--input-repr": spec.input_repr,
        "--content": spec.content,
        "--embedding-size": spec.embedding_size,
        "--hop": spec.hop_s,
        "--grid": spec.grid,
        "--frontend": spec.frontend,
        "--weights": spec.weights,
        "--precision": spec.precision,
        "--resampler": spec.resampler,
        "--engine": spec.engine,
    }
    given = [text for flag, value in flags.items() if value is not None for text in (flag, str(value))]
    for option, chosen in spec.model_options.items():
        given += ["--model-option", f"{option}={chosen}"]
    return given
