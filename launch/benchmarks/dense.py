"""Dense windows beside exact ones: how near they are, and how much more audio an hour takes."""

import resource
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from l3core.audio import Recording
from l3core.embedding import Embedder, Embedding
from l3core.errors import AudioError, SpecError, UsageError
from l3core.listing import list_inputs, parse_input
from l3core.pinned import open_pinned
from l3core.spec import EmbeddingSpec
from l3core.storage import StoredObject
from l3core.windows import DENSE
from launch.benchmarks.corpora import CLIP_S, make_corpora
from launch.benchmarks.figures import Figure
from launch.benchmarks.whole import run_whole, spec_flags

MOST_FILES = 100
EXACT_HOP_S = 0.1
SHARE = 8  # of the audio is for the exact windows, so that both runs take about as long
PAIRS = 2
KINDS = ("recording", "clips")


def dense(
    spec: EmbeddingSpec, patterns: Sequence[str], folder: Path, *, minutes: float
) -> Iterator[Figure]:
    """Cosines on real audio, if some is named, and the whole command by turns.

    Args:
        spec: whose dense windows are compared with the exact ones.
        patterns: of real audio, as `l3flow embed --input` takes them.
        folder: for corpora and tables.
        minutes: of generated audio.

    Raises:
        UsageError: the model has no dense windows, or the patterns match no sound.
    """
    try:
        spec = replace(spec, grid=DENSE)
    except SpecError as error:
        raise UsageError(f"--grid {error.problem}") from None
    if patterns:
        yield from likeness(spec, patterns)
    yield from speeds(spec, folder, minutes=minutes)


def likeness(spec: EmbeddingSpec, patterns: Sequence[str]) -> Iterator[Figure]:
    """Cosine of dense to exact vectors of the same windows; silent ones aside."""
    dense_ = Embedder(spec)
    exact = Embedder(replace(spec, grid="nocenter")).regrid(replace(dense_.grid, context=(0, 0)))
    cosines, silent = [], 0
    inputs = [parse_input(text) for text in patterns]
    for listed in islice(list_inputs(inputs), MOST_FILES):
        try:
            found, expected = (_embedded(listed, embedder) for embedder in (dense_, exact))
        except AudioError:  # a broken file is no reason not to compare the others
            continue
        cosines.append(_cosines(found.vectors, expected.vectors)[~found.silent])
        silent += int(found.silent.sum())
    every = np.concatenate([*cosines, np.empty(0)])
    if not len(every):
        raise UsageError(f"--input {' '.join(patterns)}: there is no audio that is not silent")
    note = f"{len(every):,} windows of {len(cosines)} files, and {silent:,} silent ones left out"
    yield Figure("cosine to exact, median", float(np.median(every)), "", note)
    yield Figure("cosine to exact, 5th percentile", float(np.percentile(every, 5)), "", note)


def _embedded(listed: StoredObject, embedder: Embedder) -> Embedding:
    with open_pinned(listed) as file, Recording(file) as recording:
        return embedder.embed_source(recording)


def _cosines(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    products = np.einsum("ij,ij->i", found, expected)
    return np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)


def speeds(spec: EmbeddingSpec, folder: Path, *, minutes: float) -> Iterator[Figure]:
    """Hours of audio an hour of the whole command, start-up included: dense and exact by turns."""
    exact = replace(spec, grid="nocenter", hop_s=EXACT_HOP_S)
    minutes, share = _of_whole_clips(minutes), _of_whole_clips(minutes / SHARE)
    corpora = zip(
        KINDS,
        make_corpora(folder / "dense", minutes),
        make_corpora(folder / "exact", share),
    )
    for name, more, less in corpora:
        took, cpu = {DENSE: 0.0, "exact": 0.0}, {DENSE: 0.0, "exact": 0.0}
        peak_mb = 0.0
        for turn in range(PAIRS):
            for kind, one, corpus in ((DENSE, spec, more), ("exact", exact, less)):
                before = _cpu_s()
                run = run_whole(spec_flags(one), corpus, folder / f"{kind}-{name}-{turn}")
                took[kind] += run.wall_s / PAIRS
                cpu[kind] += (_cpu_s() - before) / PAIRS
                peak_mb = run.peak_mb if kind == DENSE else peak_mb
        speed = {DENSE: 60 * minutes / took[DENSE], "exact": 60 * share / took["exact"]}
        for kind, one in ((DENSE, spec), ("exact", exact)):
            note = f"{kind}, hop {one.hop_s:.3g} s, {name}, mean of {PAIRS} runs by turns"
            yield Figure("audio", speed[kind], "hours/hour", note)
        yield Figure("dense / exact", speed[DENSE] / speed["exact"], "", f"audio an hour, {name}")
        ratio = minutes / share * cpu["exact"] / cpu[DENSE]
        yield Figure("dense / exact, by CPU time", ratio, "", f"{name}; others at work do not matter")
        yield Figure("peak memory", peak_mb, "MB", f"{DENSE}, {name}")


def _cpu_s() -> float:
    """Seconds of CPU of the commands that have ended, and of their processes."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _of_whole_clips(minutes: float) -> float:
    return max(1, round(60 * minutes / CLIP_S)) * CLIP_S / 60
