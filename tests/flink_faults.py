"""Faults of Python workers on Flink, as a Beam plugin: `--beam_plugin=tests.flink_faults`.

A worker that has imported this computes with TensorFlow as always, but slower, and fails as the folder
says that `L3FLOW_TEST_FAULTS` names: each file in it is a fault that happens once, but for
`always-fails`.
"""

import os
import resource
import time
from pathlib import Path

from l3core.engines import ENGINES, tensorflow
from tests.flink import ALWAYS_FAILS, FAILS_ONCE, OUT_OF_MEMORY, SLOW, VARIABLE

ENGINES["tensorflow"] = ENGINES["tensorflow"]._replace(module="tests.flink_faults")


class FaultyEngine:
    def __init__(self, engine):
        self._engine = engine
        self.batch_size = engine.batch_size
        self.device = engine.device

    def __call__(self, signal, starts):
        faults = Path(os.environ[VARIABLE])
        if (faults / SLOW).exists():
            time.sleep(float((faults / SLOW).read_text()))
        if (faults / ALWAYS_FAILS).exists():
            raise ValueError("the model is broken for good")
        if taken(faults / FAILS_ONCE):
            raise ValueError("the model fails once")
        if taken(faults / OUT_OF_MEMORY):
            use_up_memory()
        return self._engine(signal, starts)

    def gpu_memory_bytes(self):
        return self._engine.gpu_memory_bytes()


def taken(fault):
    """Whether a fault is there and nobody else has it; from now on it is gone."""
    try:
        fault.rename(fault.with_suffix(".done"))
    except FileNotFoundError:
        return False
    return True


def use_up_memory():
    """Ask for more than the system gives."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + 2**24, hard))
    try:
        bytearray(2**30)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def load(spec, weights, *, batch_size):
    return FaultyEngine(tensorflow.load(spec, weights, batch_size=batch_size))


load_reference = tensorflow.load_reference
