"""The peak memory of this process."""

import re
import resource
import sys
from pathlib import Path


def peak_rss_bytes() -> int:
    """The most resident memory that this process has had, bytes."""
    try:
        # getrusage also counts what the parent held when it started us (Linux: kept over exec)
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak
    found = re.search(r"^VmHWM:\s*(\d+) kB", status, re.MULTILINE)
    assert found is not None
    return 1024 * int(found[1])
