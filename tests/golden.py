"""Files kept outside the repository: values that upstream computed, and a real corpus."""

import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest


def golden_file(name: str) -> Path:
    """A golden file; see `shared_file`."""
    return shared_file(f"golden/{name}")


def shared_file(name: str) -> Path:
    """A file of the shared folder; without it the test is skipped, or fails where CI is set.

    The folder is $L3FLOW_SHARED, by default `shared` beside the repository.
    """
    beside = Path(__file__).resolve().parents[2] / "shared"
    path = Path(os.environ.get("L3FLOW_SHARED") or beside) / name
    if not path.is_file():
        reason = f"no file {path}; L3FLOW_SHARED names the folder that has {name}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


def golden_arrays(name: str) -> dict[str, np.ndarray]:
    """All arrays of a golden .npz."""
    return _load(golden_file(name))


@cache
def _load(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as arrays:
        return dict(arrays)
