"""What is counted of a run: the names of Beam's counters, which receipt, dashboard and docs share.

All of it is read off the manifests of shards, so that a runner's counters and the receipt add up the
same numbers. The receipt counts each shard once; a runner counts what its workers attempted.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from l3core.table.layout import STATUSES
from l3core.table.stopwatch import KINDS

NAMESPACE = "l3flow"


class Metric(NamedTuple):
    """Something that is counted.

    Attributes:
        kind: a counter is a sum; a distribution has a value for each shard, or each load.
        unit: of it, as UCUM has it.
        what: it is, for people.
    """

    kind: Literal["counter", "distribution"]
    unit: str
    what: str


class ModelLoad(NamedTuple):
    """That a worker has loaded its model.

    Attributes:
        seconds: that it took, compilation included.
        bytes: of the weights.
    """

    seconds: float
    bytes: int


_BUSY = {
    "read": "waiting for the store",
    "decode": "decoding",
    "resample": "resampling and cutting",
    "model": "in the model",
    "write": "encoding and writing Parquet",
    "wait_for_audio": "the model waited for audio",
    "wait_for_turn": "readers waited for a core to decode on",
    "wait_for_model": "readers waited because the model was behind",
}


def clips_metric(status: str) -> str:
    """The counter of files with a status."""
    return f"clips_{status}"


def busy_metric(kind: str) -> str:
    """The counter of the time of a kind in `KINDS`."""
    return f"{kind}_milli_secs"


# Where Beam's RunInference has a name for it, it is that one (apache_beam/ml/inference/base.py).
METRICS: dict[str, Metric] = {
    "shards": Metric("counter", "1", "shards that were finished"),
    "windows": Metric("counter", "1", "windows that were written"),
    "num_inferences": Metric("counter", "1", "windows that went through the model"),
    "batches_halved": Metric("counter", "1", "times that the device had no memory for a batch"),
    "bytes_read": Metric("counter", "By", "bytes that came from the store"),
    **{
        clips_metric(status): Metric("counter", "1", f"files that are {status}")
        for status in STATUSES
        if status != "gone"  # no shard meets these
    },
    **{
        busy_metric(kind): Metric("counter", "ms", f"time, all threads together: {_BUSY[kind]}")
        for kind in KINDS
    },
    "inference_request_batch_size": Metric("distribution", "1", "windows in a batch: a shard's mean"),
    "batch_size": Metric("distribution", "1", "windows that the device takes at once, after a shard"),
    "inference_batch_latency_micro_secs": Metric("distribution", "us", "of a batch: a shard's mean"),
    "load_model_latency_milli_secs": Metric("distribution", "ms", "loading and compiling a model"),
    "model_byte_size": Metric("distribution", "By", "the weights of a model that was loaded"),
    "gpu_memory_peak_bytes": Metric("distribution", "By", "most memory of the GPU in use so far"),
}


def counted(manifest: Mapping[str, Any]) -> dict[str, int]:
    """What the manifest of a shard adds to each counter; zeros are left out.

    A recording that is cut in pieces counts as its first one does.
    """
    found = {
        "shards": 1 if manifest["pieces"] else 0,
        "windows": sum(clip["windows_written"] for clip in manifest["clips"]),
        "num_inferences": (manifest.get("inferences") or {}).get("windows", 0),
        "batches_halved": (manifest.get("inferences") or {}).get("halved", 0),
        "bytes_read": manifest.get("bytes_read", 0),
    }
    for clip, key in zip(manifest["clips"], manifest["pieces"]):
        if key[3] == 0:
            name = clips_metric(clip["status"])
            found[name] = found.get(name, 0) + 1
    for kind, seconds in manifest.get("busy_s", {}).items():
        found[busy_metric(kind)] = round(1000 * seconds)
    return {name: count for name, count in found.items() if count}


def measured(manifest: Mapping[str, Any]) -> dict[str, int]:
    """The manifest's value of each distribution that it has one of."""
    found = {}
    if (inferences := manifest.get("inferences")) and inferences["batches"]:
        batches = inferences["batches"]
        found["inference_request_batch_size"] = round(inferences["windows"] / batches)
        found["inference_batch_latency_micro_secs"] = round(1e6 * inferences["seconds"] / batches)
        found["batch_size"] = manifest.get("batch_size", 0)
    if load := manifest.get("load"):
        found["load_model_latency_milli_secs"] = round(1000 * load["seconds"])
        found["model_byte_size"] = load["bytes"]
    if peak := manifest.get("gpu_memory_bytes"):
        found["gpu_memory_peak_bytes"] = peak
    return found


class Totals:
    """The metrics of many manifests, each of which is added once."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._values: dict[str, dict[str, int]] = {}

    def add(self, manifest: Mapping[str, Any]) -> None:
        """Add those of a shard."""
        for name, count in counted(manifest).items():
            self._counts[name] = self._counts.get(name, 0) + count
        for name, value in measured(manifest).items():
            so_far = self._values.get(name, {"count": 0, "sum": 0, "min": value, "max": value})
            self._values[name] = {
                "count": so_far["count"] + 1,
                "sum": so_far["sum"] + value,
                "min": min(so_far["min"], value),
                "max": max(so_far["max"], value),
            }

    def to_json(self) -> dict[str, Any]:
        """Name -> sum of a counter; count, sum, min and max of a distribution; in the table's order."""
        return dict(self._items())

    def _items(self) -> Iterator[tuple[str, Any]]:
        for name in METRICS:
            if found := self._counts.get(name) or self._values.get(name):
                yield name, found
