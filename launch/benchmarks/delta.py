"""A second run: of generated ledgers, of real files, and of thirty nights."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from l3core.errors import RunError
from launch.benchmarks import identity
from launch.benchmarks.corpora import make_clips, make_recording
from launch.benchmarks.figures import Figure, timed
from launch.benchmarks.ledgers import known_names
from launch.benchmarks.whole import Whole, run_whole

CLIPS = 10_000
CLIP_S, OTHER_S = 1.0, 1.5
CLIP_HZ = 16_000
CHANGED_EVERY = 1_000
IDENTITY = ("--model", "identity", "--engine", "identity", "--weights", "random:0")
IDENTITY_FLAGS = (*IDENTITY, "--embedding-size", "512", "--hop", "1")
NIGHT_FLAGS = (*IDENTITY, "--embedding-size", "512", "--hop", "0.1", "--prune", "--allow-shrink")
REAL_FLAGS = ("--model", "edgel3-sea-64", "--hop", "1")

# The command as a process runs it: as it is, with the identity model, and failing if it loads what
# only a model needs.
COMMAND = ("-m", "launch.main")
WITH_IDENTITY = (
    "-c",
    "from launch.benchmarks import identity; identity.register(); from launch.main import run; run()",
)
WITHOUT_TENSORFLOW = (
    "-c",
    "import sys; from launch.main import main; sys.exit(main() or "
    "('TensorFlow was loaded' if 'tensorflow' in sys.modules else 0))",
)

NIGHTS, LOOKED_AT = 30, (5, 30)
NEW, REPLACED, REMOVED = 20, 5, 2
READS = 20


def delta(folder: Path, *, scale: float = 1.0) -> Iterator[Figure]:
    """What a second run costs.

    Args:
        folder: for corpora and tables.
        scale: of the numbers of names, rows and files, to try it out.
    """
    yield from known_names(folder, scale=scale)
    corpus = folder / "delta-corpus"
    count = round(CLIPS * scale)
    make_clips(corpus, count, CLIP_S, sample_rate_hz=CLIP_HZ)
    yield from reruns("no model", corpus, folder / "delta-identity", IDENTITY_FLAGS, WITH_IDENTITY)
    yield from reruns("edgel3-sea-64", corpus, folder / "delta-real", REAL_FLAGS, COMMAND)
    yield from nights(folder)


def reruns(
    model: str, corpus: Path, table: Path, flags: Sequence[str], program: Sequence[str]
) -> Iterator[Figure]:
    """The whole command three times: all new, all unchanged, and 1 in 1,000 files replaced.

    Args:
        model: its name.
        corpus: folder of numbered clips.
        table: where to embed them.
        flags: of the model.
        program: how Python is told to run the command.
    """
    clips = sorted(corpus.iterdir())
    replaced = clips[::CHANGED_EVERY]
    first = _checked(run_whole(flags, corpus, table, program=program), new=len(clips))
    unneeded = WITHOUT_TENSORFLOW if program == COMMAND else program
    second = _checked(run_whole(flags, corpus, table, program=unneeded), unchanged=len(clips))
    for number, path in enumerate(replaced):
        _replace(path, seed=len(clips) + number)
    third = _checked(
        run_whole(flags, corpus, table, program=program),
        changed=len(replaced),
        unchanged=len(clips) - len(replaced),
    )
    for name, run in (("first run", first), ("unchanged run", second), ("delta run", third)):
        yield Figure(name, run.wall_s, "s", f"{model}, {len(clips):,} files of {CLIP_S:g} s")
        yield Figure(f"{name}, peak memory", run.peak_mb, "MB", model)
        if run is not first:
            yield Figure(f"{name} / first run", run.wall_s / first.wall_s, "", model)


def _checked(run: Whole, **matched: int) -> Whole:
    if run.matched != matched:
        raise RunError(f"the run matched {run.matched} instead of {matched}")
    return run


def _replace(path: Path, *, seed: int) -> None:
    """Other noise, of another length."""
    make_recording(path, OTHER_S, seed=seed, sample_rate_hz=CLIP_HZ)


class Looked(NamedTuple):
    """A partition as a plain reader finds it.

    Attributes:
        files: windows files.
        rows: in them.
        seconds: to read them all, at best.
    """

    files: int
    rows: int
    seconds: float


def nights(folder: Path) -> Iterator[Figure]:
    """Thirty small runs into one table: how many files there are, and what reading them costs.

    Args:
        folder: for corpus and table.
    """
    corpus, table = folder / "nights-corpus", folder / "nights-table"
    corpus.mkdir()
    identity.register()
    looked = {}
    for night in range(1, NIGHTS + 1):
        _change(corpus, night)
        embed_clips(corpus, table)
        if night in LOOKED_AT:
            looked[night] = look(table, clips=len(list(corpus.iterdir())))
    for night, found in looked.items():
        note = f"after {night} nights, {found.rows:,} rows"
        yield Figure("windows files", found.files, "", note)
        yield Figure("read the partition", found.seconds * 1e3, "ms", note)
    early, late = (looked[night] for night in LOOKED_AT)
    note = f"after {LOOKED_AT[1]} nights / after {LOOKED_AT[0]}"
    yield Figure("windows files, ratio", late.files / early.files, "", note)
    per_row = (late.seconds / late.rows) / (early.seconds / early.rows)
    yield Figure("read time a row, ratio", per_row, "", note)


def _change(corpus: Path, night: int) -> None:
    """New files, and of those that were there some replaced and some removed."""
    there = sorted(corpus.iterdir())
    chosen = Random(night).sample(there, REPLACED + REMOVED) if there else []
    for number in range(NEW):
        path = corpus / f"{night:02d}-{number:02d}.wav"
        make_recording(path, CLIP_S, seed=1_000 * night + number, sample_rate_hz=CLIP_HZ)
    for path in chosen[:REPLACED]:
        _replace(path, seed=1_000 * night + NEW)
    for path in chosen[REPLACED:]:
        path.unlink()


def embed_clips(corpus: Path, table: Path) -> None:
    """Embed what is there tonight, in this process."""
    from launch.main import main

    command = ["embed", "--input", str(corpus), "--output", str(table), "--quiet", *NIGHT_FLAGS]
    if code := main(command):
        raise RunError(f"a night's run ended with code {code}")


def look(table: Path, *, clips: int) -> Looked:
    """Read all that plain readers see."""
    rows = _read(table)
    if (found := pc.count_distinct(rows["clip_id"]).as_py()) != clips:
        raise RunError(f"the table has windows of {found} of {clips} clips")
    files = len(list(table.glob("windows/*/*.parquet")))
    return Looked(files, len(rows), min(timed(partial(_read, table)) for _ in range(READS)))


def _read(table: Path) -> pa.Table:
    return ds.dataset(table / "windows").to_table()
