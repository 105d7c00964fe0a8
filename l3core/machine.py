"""What there is of this machine for us: cores and memory."""

import os
import re
from pathlib import Path

# Limits of a container, of cgroups version 2 and 1; "max" or a number near 2**63 means none.
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")

# Of NVIDIA's driver, on Linux and in Windows' subsystem for it: without either there is no GPU.
_DRIVERS = (Path("/proc/driver/nvidia/version"), Path("/dev/dxg"))


def may_have_gpu() -> bool:
    """Whether it is worth loading a library to ask for GPUs."""
    return any(driver.exists() for driver in _DRIVERS)


def usable_cores() -> int:
    """Cores that this process may run on: a container or `taskset` may have left it only some."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def usable_memory() -> int:
    """Bytes that this process can have: what the system has free, or a container's limit if less."""
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if found := re.search(r"^MemAvailable:\s*(\d+) kB", _read("/proc/meminfo"), re.MULTILINE):
        free = 1024 * int(found[1])
    limits = [int(text) for text in map(_read, _LIMITS) if text.strip().isdecimal()]
    return min([free, *limits])


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
