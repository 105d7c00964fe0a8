"""The whole run with a model that costs nothing: what reading, decoding, packing and writing cost."""

import json
import resource
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from l3core.decoder import decoders
from l3core.errors import RunError
from launch.benchmarks import identity
from launch.benchmarks.corpora import CLIP_S
from launch.benchmarks.figures import Figure

COSTS_SHOWN = 3


def plumbing(long: Path, short: Path, folder: Path) -> Iterator[Figure]:
    """Windows and files by seconds of CPU; Beam is loaded before."""
    import_module("pipelines.embed")
    for size in (512, 6144):
        record, cpu = _run(long, folder / f"plumbing-{size}", size, 0.1)
        yield Figure(
            "plumbing", record["windows"] / cpu, "windows/s a core", f"{size} numbers, hop 0.1 s"
        )
    record, cpu = _run(short, folder / "plumbing-short", 512, 1.0)
    files = sum(record["clips"].values())
    yield Figure("plumbing", files / cpu, "files/s a core", f"clips of {CLIP_S} s, hop 1 s")


def profile(long: Path, short: Path, folder: Path) -> Iterator[Figure]:
    """The functions that the plumbing spends most CPU time in, all threads together."""
    yappi = import_module("yappi")
    import_module("pipelines.embed")
    for name, corpus, hop_s in (("recording", long, 0.1), ("clips", short, 1.0)):
        yappi.clear_stats()
        yappi.set_clock_type("cpu")
        yappi.start(builtins=False)
        try:
            _run(corpus, folder / f"profile-{name}", 512, hop_s)
        finally:
            yappi.stop()
        costs = list(yappi.get_func_stats().sort("tsub"))
        whole = sum(cost.tsub for cost in costs)
        for cost in costs[:COSTS_SHOWN]:
            where = f"{Path(cost.module).parent.name}/{Path(cost.module).name}"
            share = 100 * cost.tsub / whole
            yield Figure(f"largest costs, {name}", share, "% of the CPU time", f"{cost.name} in {where}")


def _run(corpus: Path, table: Path, size: int, hop_s: float) -> tuple[dict[str, Any], float]:
    """The run record, and the seconds of CPU that this process and its decoders spent."""
    from launch.main import main

    identity.register()
    command = ["embed", "--input", str(corpus), "--output", str(table), "--quiet"]
    command += ["--model", "identity", "--engine", "identity", "--weights", "random:0"]
    command += ["--embedding-size", str(size), "--hop", str(hop_s)]
    start = _cpu_s()
    code = main(command)
    decoders.close()  # only what has ended is counted
    cpu = _cpu_s() - start
    if code:
        raise RunError(f"the plumbing run ended with code {code}")
    (record,) = (table / "runs").glob("*.json")
    return json.loads(record.read_bytes()), cpu


def _cpu_s() -> float:
    """Seconds of CPU of this process, and of those that it has started and that have ended."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
