"""What a worker process loads once and all of its threads share: models, or the features of a dataset.

Beam tears idle DoFns down and makes new ones; a model that takes seconds to load and compile is kept
for as long as the process lives. On a machine with several GPUs each that is needed has one.
"""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

from l3core.crossval.plan import CrossvalPlan, OutputPaths, content_of
from l3core.downloads import limit_downloads
from l3core.durations import limit_durations
from l3core.embedding import Embedder
from l3core.engines import devices_of, limit_memory
from l3core.errors import RunError
from l3core.features import load_features
from l3core.machine import usable_cores
from l3core.rounding import RoundingMeter
from l3core.spec import EmbeddingSpec
from l3core.storage import read_bytes
from l3core.storage_options import configure_as
from l3core.table.counters import ModelLoad
from l3core.table.journal import published_state
from l3core.table.layout import TablePaths
from l3core.table.ledger import read_ledger
from l3core.table.read import ClipVectors
from l3core.table.reference import Conformance, check_conformance
from l3core.table.shard import CORES_A_DECODER
from l3core.weights import read_weights
from pipelines.ending import end_with_run
from pipelines.job import CrossvalJob, EmbedJob
from pipelines.telling import tell_model

T = TypeVar("T")

_choosing = threading.Lock()  # held for a moment only
_loading = threading.Lock()  # one loads at a time
_loaded: dict[str, Any] = {}
# By run and device: each run looks at what its table says.
_checked: dict[tuple[str, str], dict[str | None, "Checked"]] = {}
_in_use: Counter[str | None] = Counter()  # threads that compute on a device, or wait for its model


def table_of(job: EmbedJob) -> TablePaths:
    """The paths of a job's table; from here on this process asks stores with the job's options."""
    configure_as(job.storage_options)
    limit_downloads(job.max_download)
    limit_durations(job.max_duration)
    end_with_run(job)
    return TablePaths(job.table)


def output_of(job: CrossvalJob) -> OutputPaths:
    """The paths of a job's output; from here on this process asks stores with the job's options."""
    configure_as(job.storage_options)
    return OutputPaths(job.output)


class Checked(NamedTuple):
    """What a run knows of a device's model.

    Attributes:
        conformance: to the table's reference.
        rounding: what mixed precision costs; None: the spec is float32.
    """

    conformance: Conformance
    rounding: RoundingMeter | None


class Loaded(NamedTuple):
    """A model that is loaded and was checked.

    Attributes:
        embedder: of the job's spec.
        checked: for the run.
        decoders: recordings that may be decoded for it at the same time, its share of the cores.
        load: what loading took, told to the caller that loaded it; None to all others.
    """

    embedder: Embedder
    checked: Checked
    decoders: int
    load: ModelLoad | None


@contextmanager
def using_model(job: EmbedJob) -> Iterator[Loaded]:
    """The model of a job, on the device that fewest threads compute on.

    The first caller on a device loads and checks it; callers on others do not wait for that.

    Raises:
        RunError: the table's copy of the weights is not what the job was planned with, or this machine
            computes other numbers than the reference.
    """
    with _choosing:
        devices = _devices(job)
        device = min(devices, key=_in_use.__getitem__)
        _in_use[device] += 1
    try:
        embedder, checked, load = _ready(device, job) or _load_on(device, job)
        decoders = max(1, usable_cores() // (CORES_A_DECODER * len(devices) * job.processes))
        yield Loaded(embedder, checked, decoders, load)
    finally:
        with _choosing:
            _in_use[device] -= 1


def _devices(job: EmbedJob) -> list[str | None]:
    """Those of this machine; processes that have but one thread begin at different ones."""
    engine = EmbeddingSpec(**job.spec).engine
    if job.gpu_memory_mb:
        limit_memory(engine, job.gpu_memory_mb)
    found = devices_of(engine)
    first = os.getpid() % len(found)
    return found[first:] + found[:first]


def _ready(device: str | None, job: EmbedJob) -> tuple[Embedder, Checked, None] | None:
    """The model of a device, if it is loaded and was checked for the run."""
    embedder = _loaded.get(job.fingerprint, {}).get(device)
    checked = _checked.get((job.table, job.run_id), {}).get(device)
    return (embedder, checked, None) if embedder and checked else None


def _load_on(device: str | None, job: EmbedJob) -> tuple[Embedder, Checked, ModelLoad | None]:
    with _loading:
        if found := _ready(device, job):  # by now
            return found
        embedders: dict[str | None, Embedder] = _once(job.fingerprint, dict)
        load = None
        if device not in embedders:
            embedders[device], load = _load(job, device)
        run = job.table, job.run_id
        if run not in _checked:
            _checked.clear()
            _checked[run] = {}
        conformance = check_conformance(TablePaths(job.table), embedders[device])
        embedder = embedders[device]
        mixed = embedder.spec.precision != "float32"
        rounding = RoundingMeter(embedder.spec, embedder.weights) if mixed else None
        _checked[run][device] = Checked(conformance, rounding)
        if load:
            _tell(job, embedder, conformance, load)
        return embedder, _checked[run][device], load


def _tell(job: EmbedJob, embedder: Embedder, conformance: Conformance, load: ModelLoad) -> None:
    engine = embedder.engine
    facts = {
        "seconds": load.seconds,
        "bytes": load.bytes,
        "device": engine.device,
        "batch_size": engine.batch_size,
        "gpu_memory_bytes": engine.gpu_memory_bytes(),
        "deviation": conformance.deviation._asdict(),
    }
    tell_model(job, facts)


def features_for(plan: CrossvalPlan) -> ClipVectors:
    """The windows of a plan's clips; the first caller in a process reads them.

    Raises:
        UsageError: from `l3core.features.load_features`.
        RunError: the table has other windows of the clips than it had when the plan was made.
    """
    with _loading:
        return _once(f"{plan.table} {plan.digest}", lambda: _read_features(plan))


def _read_features(plan: CrossvalPlan) -> ClipVectors:
    features = load_features(plan.table, plan.fingerprint, plan.clip_ids)
    paths = TablePaths(plan.table)
    ledger = read_ledger(paths, published_state(paths).ledger(plan.fingerprint))
    if content_of(ledger, plan.clip_ids) != plan.content:
        raise RunError(f"{plan.table} was changed after the training was planned: start it again")
    return features


def _once(name: str, load: Callable[[], T]) -> T:
    """What was loaded under a name, or is now; the caller has `_loading`."""
    if name not in _loaded:
        _loaded.clear()  # a process serves one of them at a time
        _loaded[name] = load()
    return _loaded[name]


def _load(job: EmbedJob, device: str | None) -> tuple[Embedder, ModelLoad]:
    start = time.perf_counter()
    spec = EmbeddingSpec(**job.spec)
    weights = read_weights(read_bytes(job.weights), spec, name=job.weights)
    embedder = Embedder(spec, weights=weights, device=device)
    if embedder.fingerprint != job.fingerprint:
        raise RunError(
            f"this worker computes {embedder.fingerprint}, the job was planned as {job.fingerprint}: "
            "weights or library versions differ between launcher and worker"
        )
    return embedder, ModelLoad(time.perf_counter() - start, weights.byte_size)
