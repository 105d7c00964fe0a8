"""How a cluster of this machine is configured."""

import re
from collections.abc import Mapping

from l3core.errors import UsageError

# Names of shards are all that goes through Java: the memory is for Python.
CONFIGURATION = {
    "jobmanager.rpc.address": "localhost",
    "jobmanager.bind-host": "localhost",
    "rest.address": "localhost",
    "rest.bind-address": "localhost",
    "taskmanager.host": "localhost",
    "taskmanager.bind-host": "localhost",
    "taskmanager.cpu.cores": "1",
    # A TaskManager that no script starts must be told every part of its memory.
    "taskmanager.memory.framework.heap.size": "64m",
    "taskmanager.memory.task.heap.size": "192m",
    "taskmanager.memory.framework.off-heap.size": "64m",
    "taskmanager.memory.task.off-heap.size": "0m",
    "taskmanager.memory.managed.size": "64m",
    "taskmanager.memory.network.min": "64m",
    "taskmanager.memory.network.max": "64m",
    "taskmanager.memory.jvm-metaspace.size": "256m",
    "taskmanager.memory.jvm-overhead.min": "64m",
    "taskmanager.memory.jvm-overhead.max": "64m",
    # Batch jobs take it from here alone: options of a job are ignored (measured with Beam 2.70).
    # All tries together are longer than a lost TaskManager is unnoticed, and a worker pool is away.
    "restart-strategy.type": "fixed-delay",
    "restart-strategy.fixed-delay.attempts": "15",
    "restart-strategy.fixed-delay.delay": "5s",
    "heartbeat.interval": "5000",
    "heartbeat.timeout": "25000",
}


def heap_of(options: Mapping[str, str]) -> str:
    """What a TaskManager's JVM may have of it: the parts that its configuration speaks of.

    Args:
        options: of Flink, besides ours.

    Raises:
        UsageError: a part is no size.
    """
    parts = ("taskmanager.memory.framework.heap.size", "taskmanager.memory.task.heap.size")
    return f"{sum(_megabytes((CONFIGURATION | dict(options))[part]) for part in parts)}m"


def _megabytes(text: str) -> int:
    """Megabytes of a size as Flink writes it: 192m, 1g.

    Raises:
        UsageError: it is none.
    """
    found = re.fullmatch(r"(\d+) ?(m|mb|g|gb)", text.strip().lower())
    if found is None:
        raise UsageError(f"--flink-option needs a heap in megabytes or gigabytes, as 512m, got {text!r}")
    return int(found[1]) * (1024 if found[2].startswith("g") else 1)
