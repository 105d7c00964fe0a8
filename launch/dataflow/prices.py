"""What a job on Dataflow would cost: list prices, and the time that it takes by what is known here.

Google's page shows its prices by script; these are as Apache Beam 2.77 quotes that page for us-central1
(`apache_beam/testing/load_tests/dataflow_cost_consts.py`), and PerfKitBenchmarker of 2026-08-20 but for
GPUs. Other regions and the H100 have none there. Discounts, taxes, stores, networks and logs are left
out; of the shuffle, names of shards are all that goes through it.
"""

import math
from dataclasses import dataclass

from l3core.machine import usable_cores
from launch.dataflow.machines import GPU_DISK_GB, GPUS, Machine, machine_of
from launch.dataflow.workers import Workers
from launch.runners import Cost
from launch.words import duration

SOURCE = "https://cloud.google.com/dataflow/pricing"
AS_OF = "August 2026"
# Assumed, not measured: from the first second that is paid for until the first window. The machine
# boots, gets its driver, pulls an image of some gigabytes, loads the model.
START_MIN = 10.0
# Assumed, too: the part of its float32 peak that a GPU reaches.
GPU_SHARE = 0.5
DISK_GB = 25  # Dataflow's for batch with its shuffle service: dataflow/docs/guides/configure-worker-vm


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Of batch workers in a region, USD an hour.

    Attributes:
        core: a vCPU.
        memory_gb: a GB of memory.
        disk_gb: a GB of standard persistent disk.
        gpu: name in `GPUS` -> one.
    """

    core: float
    memory_gb: float
    disk_gb: float
    gpu: dict[str, float]


RATES = {
    "us-central1": Rates(
        core=0.056, memory_gb=0.003557, disk_gb=0.000054, gpu={"t4": 0.42, "l4": 0.672, "a100": 3.72}
    )
}


def machine_hour(rates: Rates, machine: Machine, *, disk_gb: int, gpu: str | None, gpus: int) -> float:
    """USD for an hour of a machine."""
    found = machine.cores * rates.core + machine.memory_gb * rates.memory_gb + disk_gb * rates.disk_gb
    return found + (gpus * rates.gpu[gpu] if gpu else 0.0)


def machine_hours(windows: int, *, speed: float, machines: int) -> float:
    """Hours that machines are paid for, of all together.

    Args:
        windows: to embed.
        speed: windows a second of one machine.
        machines: each of which has to start.
    """
    return windows / speed / 3600 + machines * START_MIN / 60


def unknown_price(workers: Workers, region: str) -> str | None:
    """Why there is no price; None if there is one."""
    if region not in RATES:
        return f"no list price of {region} (of {', '.join(RATES)} only)"
    if workers.gpu and workers.gpu not in RATES[region].gpu:
        return f"no list price of {workers.gpu}"
    if machine_of(workers.machine) is None:
        return f"cores and memory of {workers.machine}"
    return None


def cost_of(workers: Workers, region: str, windows: int, shards: int, speed_here: float) -> Cost:
    """What embedding would cost.

    Args:
        workers: the machines.
        region: that they are in.
        windows: to embed.
        shards: pieces of work, each a machine's.
        speed_here: windows a second of the bare model on this machine.
    """
    if missing := unknown_price(workers, region):
        return Cost(
            {"usd": None, "missing": missing, "source": SOURCE}, f"not known: {missing}; see {SOURCE}"
        )
    machine = machine_of(workers.machine)
    assert machine is not None
    rates = RATES[region]
    gpus = workers.gpus if workers.gpu else 0
    disk_gb = workers.disk_gb or (GPU_DISK_GB if gpus else DISK_GB)
    hour = machine_hour(rates, machine, disk_gb=disk_gb, gpu=workers.gpu, gpus=gpus)
    if workers.gpu:
        speed = gpus * gpu_speed(speed_here, product_gflops_here(), GPUS[workers.gpu].tflops)
        how = f"the speed of the {workers.gpu} is assumed"
    else:
        speed = speed_here * machine.cores / usable_cores()
        how = "a core there taken to be as fast as here"
    machines = max(1, min(workers.most, shards))
    hours = machine_hours(windows, speed=speed, machines=machines)
    usd = math.ceil(100 * hours * hour) / 100
    facts = {
        "usd": usd,
        "usd_per_machine_hour": round(hour, 6),
        "machine_hours": round(hours, 6),
        "machines": machines,
        "windows_per_second_a_machine": speed,
        "start_minutes_a_machine": START_MIN,
        "assumed": [how, f"{START_MIN:g} minutes for a machine to start"],
        "as_of": AS_OF,
        "source": SOURCE,
    }
    took = duration(3600 * hours / machines)
    words = (
        f"about {usd:.2f} USD: {machines} {workers.machine} at {hour:.2f} USD an hour for {took}, "
        f"of which {START_MIN:g} min to start are assumed; {how}, {speed:.0f} windows/s a machine "
        f"(list prices of {region}, {AS_OF})"
    )
    return Cost(facts, words)


def gpu_speed(speed_here: float, gflops_here: float, tflops: float) -> float:
    """Windows a second of a GPU: as many times more as its peak's share is more than a product here."""
    return speed_here * GPU_SHARE * 1000 * tflops / gflops_here


def product_gflops_here() -> float:
    """What a matrix product reaches on this machine, about as much as the model does."""
    from launch.benchmarks.model import matrix_product_gflops

    return matrix_product_gflops()
