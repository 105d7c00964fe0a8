"""The machine: cores, memory, GPUs, free disk."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from l3core.machine import usable_cores, usable_memory
from launch.checkups.finding import Asked, Finding
from launch.words import printable, size

# A worker with TensorFlow and an L3 model takes 1.3 GB (docs/performance.md).
LEAST_MEMORY = 2 * 10**9
LEAST_DISK = 10**9
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


def look(asked: Asked) -> Iterator[Finding]:
    """What there is of it."""
    memory = usable_memory()
    yield Finding(
        "machine",
        "ok" if memory >= LEAST_MEMORY else "wrong",
        f"{usable_cores()} cores, {size(memory)} of memory free",
        f"a worker needs {size(LEAST_MEMORY)}",
    )
    yield _gpus()
    yield from _disks()


def _gpus() -> Finding:
    from l3core.engines import gpus_of

    found = gpus_of("tensorflow")
    if found:
        return Finding("GPU", "ok", ", ".join(found))
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1"):
        return Finding("GPU", "absent", "hidden by CUDA_VISIBLE_DEVICES", "unset it to use one")
    if NVIDIA_DRIVER.exists():
        remedy = "pip install 'tensorflow[and-cuda]'"
        return Finding("GPU", "wrong", "there is one, and TensorFlow cannot use it", remedy)
    return Finding("GPU", "absent", "none, the CPU computes", "with one, l3 is about 100 times faster")


def _disks() -> Iterator[Finding]:
    from l3core.published import cache_dir

    for what, folder in (("cache", cache_dir()), ("temporary files", Path(tempfile.gettempdir()))):
        there = next(each for each in (folder, *folder.parents) if each.exists())
        free = shutil.disk_usage(there).free
        yield Finding(
            "disk",
            "ok" if free >= LEAST_DISK else "wrong",
            f"{size(free)} free for {what} in {printable(str(folder))}",
            f"make room: {size(LEAST_DISK)} are needed",
        )
