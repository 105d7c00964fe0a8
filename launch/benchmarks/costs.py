"""What one process does while workers wait: listing, planning, commit; and merging small files.

Each is measured at several sizes, by the code of a run on generated names, and fitted by so much once,
so much an object and so much a shard. How far the fit is off says how well it is known.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from l3core.table.layout import TablePaths
from l3core.table.maintenance import compact
from launch.benchmarks.figures import Figure, timed
from launch.benchmarks.planning import list_files, make_files
from launch.benchmarks.simulated import SPEC, serial_steps
from launch.benchmarks.vectors import Part, write_table

FILES = (2_000, 10_000, 50_000)


class Case(NamedTuple):
    """A run to simulate: its objects, and the workers that it is planned for."""

    objects: int
    workers: int


# Many workers make many shards, so that what an object costs and what a shard costs can be told apart.
CASES = (
    Case(2_000, 1),
    Case(10_000, 1),
    Case(50_000, 1),
    Case(5_000, 50),
    Case(20_000, 100),
    Case(50_000, 200),
)
# Files that one merge has, and the MB of vectors in each.
MERGES = ((16, 1), (64, 1), (32, 4), (64, 4))
CLIP_WINDOWS = 40
STEPS = ("plan", "plan_merges", "commit")
NAMES = {"plan": "plan", "plan_merges": "plan of merges", "commit": "commit"}


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Seconds as a sum of so much once and so much of each of some quantities.

    Attributes:
        once: seconds.
        each: quantity -> seconds for one of it.
        off: the largest relative deviation of a measured time from it.
        sizes: how many times were measured.
    """

    once: float
    each: dict[str, float]
    off: float
    sizes: int

    def __call__(self, **quantities: float) -> float:
        """Seconds for so much of each quantity."""
        return self.once + sum(self.each[name] * value for name, value in quantities.items())


def fit(seconds: Sequence[float], **quantities: Sequence[float]) -> Fit:
    """The sum that is closest to measured times by relative deviations; nothing costs less than 0.

    Args:
        seconds: measured.
        quantities: of each measurement.
    """
    names = ["", *quantities]
    columns = np.array([np.ones(len(seconds)), *quantities.values()]).T / np.array(seconds)[:, None]
    used = list(range(len(names)))
    while True:
        found = np.linalg.lstsq(columns[:, used], np.ones(len(seconds)), rcond=None)[0]
        if found.min() >= 0 or len(used) == 1:
            break
        del used[int(found.argmin())]
    costs = dict.fromkeys(names, 0.0) | {names[n]: float(cost) for n, cost in zip(used, found)}
    off = np.abs(columns[:, used] @ found - 1).max()
    once = costs.pop("")
    return Fit(once=once, each=costs, off=float(off), sizes=len(seconds))


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What is done once for all workers, as fits; `merge` is a worker's.

    Attributes:
        list: by `objects`.
        plan, plan_merges, commit: by `objects` and `shards`.
        merge: of files into one, by `files` and `megabytes` of vectors.
    """

    list: Fit
    plan: Fit
    plan_merges: Fit
    commit: Fit
    merge: Fit


def measure_costs(folder: Path, *, scale: float = 1.0) -> Costs:
    """Measure them.

    Args:
        folder: for files and tables.
        scale: of the numbers of files and objects, to try it out.
    """
    return Costs(
        list=_listing(folder / "costs-list", scale),
        merge=_merging(folder / "costs-merge", scale),
        **_serial(folder / "costs-run", scale),
    )


def cost_figures(costs: Costs) -> Iterator[Figure]:
    """What each step costs once, an object and a shard, and how far that is from what was measured."""
    units = {"objects": "us an object", "shards": "us a shard", "files": "us a file"}
    for name, found in {
        "list": costs.list,
        **{NAMES[step]: getattr(costs, step) for step in STEPS},
        "merge": costs.merge,
    }.items():
        note = f"fit of {found.sizes} sizes"
        yield Figure(f"cost of {name}, once", 1e3 * found.once, "ms", note)
        for quantity, cost in found.each.items():
            unit = units.get(quantity, "us a MB")
            yield Figure(f"cost of {name}", 1e6 * cost, unit, note)
        yield Figure(f"cost of {name}, fit off by", 100 * found.off, "%", f"at most, of {found.sizes}")


def _listing(folder: Path, scale: float) -> Fit:
    sizes = [max(10, round(size * scale)) for size in FILES]
    seconds = []
    for number, count in enumerate(sizes):
        place = folder / str(number)
        place.mkdir(parents=True)
        make_files(place, count)
        seconds.append(timed(partial(list_files, count, place)))
    return fit(seconds, objects=sizes)


def _serial(folder: Path, scale: float) -> dict[str, Fit]:
    objects, found = [], []
    for number, case in enumerate(CASES):
        place = folder / str(number)
        place.mkdir(parents=True)
        objects.append(max(10, round(case.objects * scale)))
        found.append(serial_steps(objects[-1], place, case.workers))
        shutil.rmtree(place)
    shards = [each["shards"] for each in found]
    return {step: fit([each[step] for each in found], objects=objects, shards=shards) for step in STEPS}


def _merging(folder: Path, scale: float) -> Fit:
    """Merging files of noise by `l3flow compact`'s own function."""
    seconds, counts, volumes = [], [], []
    noise = np.random.default_rng(0).standard_normal((CLIP_WINDOWS, SPEC.size), np.float32)
    for number, (files, megabytes) in enumerate(MERGES):
        windows = max(1, round(scale * megabytes * 1e6 / (4 * SPEC.size)))
        firsts = range(0, windows, CLIP_WINDOWS)
        parts = (
            [Part(f"{file:04d}-{first:06d}.wav", noise[: windows - first]) for first in firsts]
            for file in range(files)
        )
        place = folder / str(number)
        place.mkdir(parents=True)
        fingerprint = write_table(place, SPEC, parts)
        seconds.append(timed(partial(compact, TablePaths(str(place)), fingerprint, "merged")))
        counts.append(files)
        volumes.append(files * windows * 4 * SPEC.size / 1e6)
        shutil.rmtree(place)
    return fit(seconds, files=counts, megabytes=volumes)
