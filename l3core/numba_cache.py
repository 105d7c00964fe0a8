"""A folder for numba, which librosa (by kapre) and resampy are compiled with.

It keeps what it compiles beside a module or in the user's cache, and an import fails where it may write
to neither, as in a container without a home: "cannot cache function: no locator available".
"""

import atexit
import os
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path

VARIABLE = "NUMBA_CACHE_DIR"


def find_numba_a_cache() -> None:
    """Name a folder of this process, if numba would find none; to be called before numba is loaded."""
    if VARIABLE in os.environ or any(map(_writable, _own_places())):
        return
    # new, and of this process: what is in it is code, so nobody else may have made it
    folder, process = tempfile.mkdtemp(prefix="l3flow-numba-"), os.getpid()
    atexit.register(_remove, folder, process)
    os.environ[VARIABLE] = folder


def _own_places() -> list[Path]:
    """Where numba looks by itself."""
    installed = find_spec("librosa")
    beside = [Path(installed.origin).parent] if installed and installed.origin else []
    return [*beside, Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))]


def _writable(folder: Path) -> bool:
    """Whether it is, or could be made."""
    there = next(each for each in (folder, *folder.parents) if each.exists())
    return os.access(there, os.W_OK)


def _remove(folder: str, process: int) -> None:
    if os.getpid() == process:  # not in a process that was forked
        shutil.rmtree(folder, ignore_errors=True)
