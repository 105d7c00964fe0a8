"""Listing and planning of corpora too large to hold: seconds, and the memory of a process of its own."""

import sys
from collections.abc import Iterator
from pathlib import Path

from l3core.errors import RunError
from l3core.listing import list_inputs, parse_input
from l3core.spec import EmbeddingSpec
from l3core.storage import StoredObject
from l3core.table.layout import TablePaths
from l3core.table.plan import make_plan
from l3core.table.state import load_state
from launch.benchmarks.alone import answer, in_process
from launch.benchmarks.figures import Figure

NAMES = (100_000, 1_000_000)
FILES = (10_000, 100_000)
FILES_IN_FOLDER = 1_000


def planning(folder: Path, *, scale: float = 1.0) -> Iterator[Figure]:
    """Plan generated names, and list empty files, in two sizes each.

    Args:
        folder: for tables and files.
        scale: of all numbers, to try it out.
    """
    for verb, unit, sizes in (("plan", "names", NAMES), ("list", "files", FILES)):
        seconds, peaks = [], []
        for count in (round(size * scale) for size in sizes):
            place = folder / f"{verb}-{count}"
            place.mkdir()
            if verb == "list":
                make_files(place, count)
            found = in_process("launch.benchmarks.planning", verb, count, place)
            seconds.append(found["seconds"])
            peaks.append(found["peak_mb"])
            yield Figure(verb, found["seconds"], "s", f"{count:,} {unit}")
            yield Figure(f"{verb}, peak memory", found["peak_mb"], "MB", f"{count:,} {unit}")
        growth = sizes[1] / sizes[0]
        note = f"{growth:g} times as many"
        yield Figure(f"{verb}, time a name, ratio", seconds[1] / seconds[0] / growth, "", note)
        yield Figure(f"{verb}, peak memory, ratio", peaks[1] / peaks[0], "", note)


def make_files(folder: Path, count: int) -> None:
    """Empty files, a thousand in a folder."""
    for number in range(count):
        place = folder / f"{number // FILES_IN_FOLDER:06d}"
        if number % FILES_IN_FOLDER == 0:
            place.mkdir()
        (place / f"{number:08d}.wav").touch()


def plan(count: int, folder: Path) -> None:
    """Plan a run over names that no store has."""
    paths = TablePaths(str(folder / "table"))
    names = (f"/corpus/{n // FILES_IN_FOLDER:06d}/{n:08d}.wav" for n in range(count))
    listing = (StoredObject(name, 352_844, "1") for name in names)
    planned = make_plan(
        paths,
        load_state(paths),
        listing,
        spec=EmbeddingSpec(weights="random:0"),
        weights_digest="0" * 64,
        root="/corpus",
        run_id="run",
        started_at="2019-05-12T00:00:00+00:00",
    )
    if planned.matched != count:
        raise RunError(f"planned {planned.matched} of {count} names")


def list_files(count: int, folder: Path) -> None:
    """List the files of a folder."""
    found = sum(1 for _ in list_inputs([parse_input(str(folder))]))
    if found != count:
        raise RunError(f"listed {found} of {count} files")


if __name__ == "__main__":
    answer({"plan": plan, "list": list_files}, *sys.argv[1:])
