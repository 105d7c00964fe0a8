"""Work in a process of its own: the seconds that it takes, and the most memory that it needs."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from l3core.errors import RunError
from launch.memory import peak_rss_bytes

# What a module can be asked to do, with a count and a folder.
Verbs = Mapping[str, Callable[[int, Path], None]]


def in_process(module: str, verb: str, count: int, folder: Path) -> dict[str, float]:
    """Let a module that ends in `answer` do something; its `seconds` and `peak_mb`."""
    command = [sys.executable, "-m", module, verb, str(count), str(folder)]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        problem = done.stderr.decode(errors="replace").strip()
        raise RunError(f"{verb} of {count} names failed: {problem}")
    return json.loads(done.stdout)


def answer(verbs: Verbs, verb: str, count: str, folder: str) -> None:
    """Do what `in_process` asks for and print what it took, as JSON."""
    start = time.perf_counter()
    verbs[verb](int(count), Path(folder))
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "peak_mb": peak_rss_bytes() / 1e6}))
