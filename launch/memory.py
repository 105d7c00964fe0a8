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
        status = ""
    if found := re.search(r"^VmHWM:\s*(\d+) kB", status, re.MULTILINE):
        return 1024 * int(found[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # not every Linux has the line
    return peak if sys.platform == "darwin" else 1024 * peak
