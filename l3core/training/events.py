"""The history for TensorBoard: one small file of events for what each epoch has added.

Written as bytes of the published formats (tensorflow/core/util/event.proto, in TFRecord framing), since
TensorFlow's own writer knows only the stores that it was built for.
"""

from collections.abc import Iterable

import tensorflow as tf

from l3core import storage
from l3core.avc.examples import frame
from l3core.training.history import EPOCH, Row

_TAGS = {
    "loss": "loss/training",
    "accuracy": "accuracy/training",
    "validation_loss": "loss/validation",
    "validation_accuracy": "accuracy/validation",
    "samples_per_s": "speed/samples_per_s",
    "wait_share": "speed/wait_share",
}


def write_events(folder: str, rows: Iterable[Row]) -> None:
    """Write the file of the rows that came since the one before."""
    found = list(rows)
    if not found:
        return
    events = [tf.compat.v1.Event(wall_time=found[0].time, file_version="brain.Event:2")]
    events += [_event(row) for row in found]
    content = b"".join(frame(event.SerializeToString()) for event in events)
    storage.write_bytes(storage.join(folder, _name(found[-1].step)), content)


def remove_events_after(folder: str, step: int) -> None:
    """Remove what a killed run has told of steps that are done again."""
    for name in storage.names_below(folder, suffix=".l3flow"):
        if name > _name(step):
            storage.remove(storage.join(folder, name))


def _name(step: int) -> str:
    return f"events.out.tfevents.{step:010d}.l3flow"


def _event(row: Row) -> "tf.compat.v1.Event":
    values = []
    for field, tag in _TAGS.items():
        value = getattr(row, field)
        if value is not None:
            name = tag if row.kind == EPOCH else f"early/{tag}"
            values.append(tf.compat.v1.Summary.Value(tag=name, simple_value=value))
    return tf.compat.v1.Event(
        wall_time=row.time, step=row.step, summary=tf.compat.v1.Summary(value=values)
    )
