"""cuda.lock: the CUDA that TensorFlow is built with, file by file."""

import re
from importlib.metadata import requires

import tensorflow
from packaging.requirements import Requirement
from packaging.version import Version

from tests import image
from tests.security.test_lock import entries

TEXT = (image.REPOSITORY / "launch/docker/cuda.lock").read_text(encoding="utf-8")
LOCKED = entries(TEXT)


def asked_for():
    """Library -> the range that tensorflow[and-cuda] asks for."""
    found = map(Requirement, requires("tensorflow"))
    return {each.name: each.specifier for each in found if "and-cuda" in str(each.marker)}


def test_it_has_what_tensorflow_asks_for_at_the_lower_ends():
    lowest = {
        name: next(each.version for each in found if each.operator == ">=")
        for name, found in asked_for().items()
    }
    assert {name: version for name, (version, _) in LOCKED.items()} == lowest
    assert len(lowest) == 12


def test_that_is_what_tensorflow_is_built_with():
    built = tensorflow.sysconfig.get_build_info()
    minor = Version(built["cuda_version"]).release[:2]
    assert Version(LOCKED["nvidia-cuda-runtime-cu12"][0]).release[:2] == minor == (12, 5)
    assert Version(LOCKED["nvidia-cudnn-cu12"][0]).major == int(built["cudnn_version"]) == 9
    assert "12.5.1, cuDNN 9.3" in TEXT


def test_every_entry_has_hashes_and_none_says_where_from():
    assert [name for name, (_, hashes) in LOCKED.items() if not hashes] == []
    assert not re.search(r"://|--(extra-)?index|--find-links|--trusted-host| @ ", TEXT)
