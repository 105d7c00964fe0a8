"""Planner and commit of a run that no machine here could do: ten million objects, a thousand workers."""

import heapq
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from l3core.table.layout import TablePaths
from l3core.table.planned import ShardPlan, load_plan
from launch.benchmarks.alone import in_process
from launch.benchmarks.costs import NAMES, STEPS, Costs
from launch.benchmarks.figures import Figure
from launch.benchmarks.simulated import RUN

OBJECTS = 10_000_000
WORKERS = 1_000
SMALLER = 10  # times, of the run whose memory is compared
MODULE = "launch.benchmarks.simulated"


def scale(
    folder: Path, costs: Costs, *, factor: float = 1.0, say: Callable[[str], None] = lambda doing: None
) -> Iterator[Figure]:
    """Simulate two runs, one of them ten times as large, each step in a process of its own.

    Args:
        folder: for their tables; the large one leaves 7 GB there for a while, and names take 3 GB of
            the folder for temporary files.
        costs: what the fits of small runs say, to compare.
        factor: of the number of objects, to try it out.
        say: told which step begins.
    """
    large = round(OBJECTS * factor)
    peaks: list[dict[str, float]] = []
    for objects in (large // SMALLER, large):
        note = f"{objects:,} objects, {WORKERS:,} workers"
        table = folder / f"scale-{objects}"
        table.mkdir()
        peaks.append({})
        for verb in ("plan", "work", "plan_merges", "merge", "commit", "plan_again"):
            say(f"{verb} of {objects:,} objects")
            found = in_process(MODULE, verb, objects, table, WORKERS)
            if verb in ("work", "merge"):  # what workers would have done
                continue
            name = NAMES.get(verb, "plan, unchanged")
            peaks[-1][name] = found["peak_mb"]
            yield Figure(f"scale, {name}", found["seconds"], "s", note)
            yield Figure(f"scale, {name}, CPU", found["cpu_s"], "s", note)
            yield Figure(f"scale, {name}, peak memory", found["peak_mb"], "MB", note)
            if verb == "plan":
                shards = load_plan(TablePaths(str(table)), RUN).shards
                yield Figure("scale, shards", len(shards), "", note)
                even = 100 * evenness(shards, WORKERS)
                yield Figure("scale, workers busy", even, "%", f"{note}, until the last is done")
            if verb in STEPS and objects == large:
                said = getattr(costs, verb)(objects=objects, shards=len(shards))
                yield Figure(f"scale, {name}, fit / measured", said / found["seconds"], "", note)
        shutil.rmtree(table)
    for name, peak in peaks[1].items():
        note = f"{SMALLER} times as many"
        yield Figure(f"scale, {name}, peak memory, ratio", peak / peaks[0][name], "", note)


def evenness(shards: tuple[ShardPlan, ...], workers: int) -> float:
    """Share of the time that workers are busy, if each takes the longest shard that is left."""
    ends = [0] * workers
    for estimate in sorted((shard.estimate for shard in shards), reverse=True):
        heapq.heapreplace(ends, ends[0] + estimate)
    return sum(ends) / (workers * max(ends))
