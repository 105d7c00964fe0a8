"""The TensorFlow engine on several devices, and on one that processes share."""

import subprocess
import sys

import tensorflow as tf

from l3core.engines import devices_of, limit_memory
from l3core.engines import tensorflow as engine

# What TensorFlow does with the settings of a GPU is its own; that it takes ours can be seen without one:
# it keeps them until it starts.
TAKES_BOTH = """
import json
import os
import tensorflow as tf
from tensorflow.python.eager import context

here = context.context()
here._initialize_physical_devices()
gpu = tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")
here._physical_devices.append(gpu)
here._physical_device_to_index = {gpu: 0}
here._visible_device_list.append(gpu)
here._memory_growth_map[gpu] = None

from l3core.engines import limit_memory
from l3core.engines.tensorflow import GROWS, _growing_gpus

limit_memory("tensorflow", 2457)
limit_memory("tensorflow", 2457)
assert _growing_gpus() == [gpu]
options = here._compute_gpu_options().experimental.virtual_devices
print(json.dumps([list(each.memory_limit_mb) for each in options]), os.environ[GROWS])
"""


def test_a_gpu_that_processes_share_is_limited_and_grows():
    done = subprocess.run(
        [sys.executable, "-c", TAKES_BOTH], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[[2457.0]] true\n"


def test_one_device_is_not_named():
    assert len(tf.config.list_logical_devices("CPU")) == 1
    assert engine.devices() == ["CPU 0"]
    assert devices_of("tensorflow") == [None]


def test_an_engine_may_know_nothing_of_devices():
    assert devices_of("fake") == [None]
    limit_memory("fake", 1000)
