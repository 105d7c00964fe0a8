"""On what is trained: one device, or several that each take a part of every batch."""

import re
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from l3core.errors import UsageError

_NAME = re.compile(r"(cpu|gpu):(\d{1,3})", re.IGNORECASE)


def strategy_of(names: Sequence[str], *, batch_size: int) -> Any:
    """TensorFlow's strategy for some devices.

    Args:
        names: as `gpu:0` or `cpu:1`; none: all GPUs, or else the CPU. A CPU takes part as many times as
            it is named, with a number of its own, which is for trying out what several devices do.
        batch_size: pairs that they share.

    Raises:
        UsageError: there is no such device, or the batch cannot be shared equally.
    """
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except (RuntimeError, ValueError):  # in use by this process already, as its owner chose
            break
    places = [_place(name, len(gpus)) for name in names] or [f"/gpu:{k}" for k in range(len(gpus))]
    if len(set(places)) < len(places):
        raise UsageError(f"--devices names a device twice: {' '.join(names)}")
    if batch_size % max(1, len(places)):
        raise UsageError(f"--batch-size {batch_size} cannot be shared equally by {len(places)} devices")
    _have_cpus(places)
    if not places:
        return tf.distribute.get_strategy()
    if len(places) == 1:
        return tf.distribute.OneDeviceStrategy(places[0])
    return tf.distribute.MirroredStrategy(places)


def _place(name: str, gpus: int) -> str:
    match = _NAME.fullmatch(name)
    if match is None:
        raise UsageError(f"--devices needs names as gpu:0 or cpu:0, got {name!r}")
    kind, number = match[1].lower(), int(match[2])
    if kind == "gpu" and number >= gpus:
        there = ", ".join(f"gpu:{each}" for each in range(gpus)) or "no GPU that TensorFlow can use"
        raise UsageError(f"--devices {name}: this machine has {there}")
    return f"/{kind}:{number}"


def _have_cpus(places: Sequence[str]) -> None:
    """Divide the CPU into as many devices as are named."""
    needed = 1 + max((int(place[5:]) for place in places if place.startswith("/cpu:")), default=0)
    if needed == 1:
        return
    parts = [tf.config.LogicalDeviceConfiguration() for _ in range(needed)]
    try:
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)
    except RuntimeError:  # in use already: then it has to do
        if len(tf.config.list_logical_devices("CPU")) < needed:
            raise UsageError(
                f"--devices cpu:{needed - 1}: the CPU is in use by this process as fewer devices"
            ) from None
