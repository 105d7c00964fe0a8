"""The goldens: values that upstream computed, kept outside the repository."""

import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest


def golden_file(name: str) -> Path:
    """A golden file; without it the test is skipped, or fails where CI is set.

    The folder is `golden` below $L3FLOW_SHARED, by default below `shared` beside the repository.
    """
    beside = Path(__file__).resolve().parents[2] / "shared"
    path = Path(os.environ.get("L3FLOW_SHARED") or beside) / "golden" / name
    if not path.is_file():
        reason = f"no golden file {path}; L3FLOW_SHARED names the folder that has golden/"
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
