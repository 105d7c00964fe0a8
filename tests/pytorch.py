"""PyTorch for the tests, in processes of their own: Debian's, where Python has none.

The registry's wheel for Linux brings CUDA along: 5.3 GB, against 0.6. Debian's 1.13 was built for an
older NumPy, so that everything which imports it warns: it is not put on the path of all tests.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

REPO = Path(__file__).parents[1]
DEBIAN = Path("/usr/lib/python3/dist-packages")


def with_torch(folder):
    """An environment in which `import torch` works; `folder` is one that may be filled."""
    path = [str(REPO)]
    if find_spec("torch") is None:
        here = "".join(map(str, sys.version_info[:2]))
        if not list(DEBIAN.glob(f"torch/_C.cpython-{here}-*.so")):
            raise FileNotFoundError(
                f"no PyTorch for Python {sys.version.split()[0]}: apt-get install python3-torch, or pip "
                "install torch"
            )
        for name in ("torch", "torchgen", "functorch"):
            (folder / name).symlink_to(DEBIAN / name)
        path.append(str(folder))
    return os.environ | {"PYTHONPATH": os.pathsep.join(path)}
