"""Work in a process of its own: the seconds that it takes, and the most memory that it needs."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from l3core.errors import RunError
from launch.memory import peak_rss_bytes

# What a module can be asked to do, with a count, a folder and perhaps more numbers. It may return
# figures of its own.
Verbs = Mapping[str, Callable[..., dict[str, float] | None]]


def in_process(module: str, verb: str, count: int, folder: Path, *more: int) -> dict[str, float]:
    """Let a module that ends in `answer` do something; `seconds`, `cpu_s`, `peak_mb` and its own."""
    command = [sys.executable, "-m", module, verb, str(count), str(folder), *map(str, more)]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        problem = done.stderr.decode(errors="replace").strip()
        raise RunError(f"{verb} of {count} names failed: {problem}")
    return json.loads(done.stdout)


def answer(verbs: Verbs, verb: str, count: str, folder: str, *more: str) -> None:
    """Do what `in_process` asks for and print what it took, as JSON."""
    start = time.perf_counter()
    found = verbs[verb](int(count), Path(folder), *map(int, more)) or {}
    seconds = time.perf_counter() - start
    took = {"seconds": seconds, "cpu_s": time.process_time(), "peak_mb": peak_rss_bytes() / 1e6}
    print(json.dumps(took | found))
