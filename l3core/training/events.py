"""The history for TensorBoard: one small file of events for what each epoch has added.

Written as bytes of the published formats (tensorflow/core/util/event.proto, in TFRecord framing), since
TensorFlow's own writer knows only the stores that it was built for.
"""

import re
from collections.abc import Sequence

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


def write_events(folder: str, rows: Sequence[Row], *, known: int) -> None:
    """Write the file of the rows that came since the one before.

    Args:
        folder: of the files.
        rows: the whole history.
        known: how many of its rows are there already.
    """
    found = rows[known:]
    if not found:
        return
    events = [tf.compat.v1.Event(wall_time=found[0].time, file_version="brain.Event:2")]
    events += [_event(row) for row in found]
    content = b"".join(frame(event.SerializeToString()) for event in events)
    storage.write_bytes(storage.join(folder, _name(len(rows))), content)


def known_rows(folder: str, number: int) -> int:
    """How many of a history's first `number` rows are there; what a kill has left beyond is removed."""
    known = 0
    for name in storage.names_below(folder, suffix=".l3flow"):
        match = _NAME.fullmatch(name)
        if match is None:
            continue
        if int(match[1]) > number:
            storage.remove(storage.join(folder, name))
        else:
            known = max(known, int(match[1]))
    return known


_NAME = re.compile(r"events\.out\.tfevents\.(\d{10})\.l3flow")


def _name(rows: int) -> str:
    """By the rows of the history until its end: several rows may be of one step."""
    return f"events.out.tfevents.{rows:010d}.l3flow"


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
