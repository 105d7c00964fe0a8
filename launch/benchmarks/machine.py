"""What a table of figures has to say of the machine and the libraries that gave them."""

import os
import platform
import re
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from l3core.machine import usable_cores

# Besides those of a run's receipt; some are extras.
LIBRARIES = ("numpy", "pyarrow", "fsspec", "duckdb", "openvino", "onnxruntime", "jax")


def machine_facts() -> dict[str, Any]:
    """This machine: CPU model, cores, memory, system."""
    return {
        "cpu": _cpu(),
        "cores": usable_cores(),
        "cores_of_machine": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "machine": platform.machine(),
        "system": platform.system(),
    }


def library_versions() -> dict[str, str]:
    """Versions of what figures depend on."""
    from launch.embed_job import versions  # after --help

    found = versions()
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _cpu() -> str:
    """The CPU's model, as Linux calls it; else what the platform knows."""
    try:
        info = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        info = ""
    found = re.search(r"^model name\s*:\s*(.+)$", info, re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()
