"""`torch_dataset`: the cases of torch_cases.py, in a process that has PyTorch."""

import re
import subprocess
import sys
from pathlib import Path

from tests.pytorch import REPO, with_torch

CASES = Path(__file__).with_name("torch_cases.py")


def test_the_cases(tmp_path):
    # PyTorch of 1.13 with NumPy 2; what we do works without its bridge to NumPy
    old = "ignore:Failed to initialize NumPy:UserWarning"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", old, str(CASES)],
        cwd=REPO,
        env=with_torch(tmp_path),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    cases = len(re.findall(r"^def test_", CASES.read_text(encoding="utf-8"), re.MULTILINE))
    assert int(re.search(r"(\d+) passed in", done.stdout)[1]) >= cases
