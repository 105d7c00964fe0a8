"""The embedding pipeline: shard names in, one commit out.

Only names of shards and of finished shards travel between the stages. Reading, decoding, the model and
the writing are one step, `l3core.table.shard.embed_shard`.
"""

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from l3core.engines import devices_of, gpus_of
from l3core.machine import may_have_gpu, usable_cores
from l3core.spec import EmbeddingSpec
from l3core.table.commit import commit_run
from l3core.table.lock import keep_renewed
from l3core.table.rewrite import plan_rewrites, rewrite_files
from l3core.table.shard import CORES_A_DECODER, embed_shard
from pipelines.job import EmbedJob
from pipelines.telling import count, tell_commit, tell_shard, telling_of
from pipelines.workers import table_of, using_model

THREADS_A_GPU = 2  # one shard is decoded while another one's is written


class _EmbedShard(beam.DoFn):
    """Loads the model in its first bundle and embeds one shard per element."""

    def __init__(self, job: EmbedJob) -> None:
        self._job = job

    def process(self, element: str) -> Iterable[str]:
        """A shard's name -> the same name, when its manifest is in place."""
        with telling_of(self._job, element):
            manifest = _embed(self._job, element)
        count(manifest)
        yield element


def _embed(job: EmbedJob, shard: str) -> dict[str, Any]:
    paths = table_of(job)
    with using_model(job) as loaded:
        start = time.monotonic()
        manifest = embed_shard(
            paths,
            job.run_id,
            shard,
            loaded.embedder,
            conformance=loaded.checked.conformance,
            load=loaded.load,
            rounding=loaded.checked.rounding,
            decoders=job.decoders or loaded.decoders,
            io_concurrency=job.io_concurrency,
            max_storage_errors=job.max_storage_errors,
            compact=job.compact,
        )
    tell_shard(manifest, seconds=time.monotonic() - start)
    keep_renewed(paths, job.fingerprint, job.run_id)
    return manifest


@dataclass
class EmbedShards(beam.PTransform):
    """Names of planned shards -> names of finished ones.

    Attributes:
        job: the planned run.
    """

    job: EmbedJob

    def expand(self, pcoll: beam.PCollection) -> beam.PCollection:
        """One element, one shard; Reshuffle lets a runner spread them."""
        return pcoll | "Spread" >> beam.Reshuffle() | "EmbedShard" >> beam.ParDo(_EmbedShard(self.job))


@dataclass
class RewriteFiles(beam.PTransform):
    """Names of finished shards -> names of finished rewrites of windows files.

    Attributes:
        job: the planned run.
    """

    job: EmbedJob

    def expand(self, pcoll: beam.PCollection) -> beam.PCollection:
        """Waits for all shards: only then it is known which clips were replaced."""
        return (
            pcoll
            | "AllShards" >> beam.combiners.Count.Globally()
            | "PlanRewrites" >> beam.FlatMap(_plan_rewrites, job=self.job)
            | "Spread" >> beam.Reshuffle()
            | "Rewrite" >> beam.Map(_rewrite, job=self.job)
        )


@dataclass
class CommitRun(beam.PTransform):
    """Names of finished shards or rewrites -> the id of the committed run, one element.

    Attributes:
        job: the planned run.
    """

    job: EmbedJob

    def expand(self, pcoll: beam.PCollection) -> beam.PCollection:
        """Waits for all: the commit is the last step, so no launcher has to wait for it."""
        return (
            pcoll
            | "AllRewrites" >> beam.combiners.Count.Globally()
            | "Commit" >> beam.Map(_commit, job=self.job)
        )


def _plan_rewrites(shards: int, *, job: EmbedJob) -> list[str]:
    return plan_rewrites(table_of(job), job.run_id)


def _rewrite(name: str, *, job: EmbedJob) -> str:
    paths = table_of(job)
    rewrite_files(paths, job.run_id, name)
    keep_renewed(paths, job.fingerprint, job.run_id)
    return name


def _commit(done: int, *, job: EmbedJob) -> str:
    if not job.spread_rewrites:
        for name in _plan_rewrites(done, job=job):
            _rewrite(name, job=job)
    tell_commit(job, commit_run(table_of(job), job.run_id, info=job.info))
    return job.run_id


def build_pipeline(pipeline: beam.Pipeline, job: EmbedJob, shards: Iterable[str]) -> None:
    """Add the whole job to a pipeline.

    Args:
        pipeline: to add to.
        job: the planned run.
        shards: names of the shards to embed, longest first.
    """
    done = pipeline | "Shards" >> beam.Create(list(shards)) | "Embed" >> EmbedShards(job)
    if job.spread_rewrites:
        done |= "RewriteFiles" >> RewriteFiles(job)
    _ = done | "CommitRun" >> CommitRun(job)


def run_local(
    job: EmbedJob, shards: Iterable[str], beam_options: Iterable[str] = (), *, workers: int = 1
) -> None:
    """Run the job on this machine, and return when it has committed.

    Args:
        job: the planned run.
        shards: names of the shards to embed.
        beam_options: further options of Beam, as on a command line.
        workers: processes that embed; a single one is this process. A GPU has one model, however many
            were asked for: where there are GPUs, they are two threads of this process for each.
    """
    shards = list(shards)
    side_by_side: dict[str, Any] = {}
    cores = max(1, usable_cores() // workers)
    threads = _threads(job, workers) if shards else 1
    if threads > 1:
        side_by_side = {"direct_num_workers": threads, "direct_running_mode": "multi_threading"}
    elif workers > 1:
        side_by_side = {"direct_num_workers": workers, "direct_running_mode": "multi_processing"}
        job = replace(job, decoders=max(1, cores // CORES_A_DECODER))
    # FnApiRunner by name: Beam's default tries to download another runner on every run
    options = PipelineOptions(list(beam_options), runner="FnApiRunner", **side_by_side)
    with (
        model_threads(cores if workers > 1 and threads == 1 else None),
        beam.Pipeline(options=options) as pipeline,
    ):
        build_pipeline(pipeline, job, shards)


def _threads(job: EmbedJob, workers: int) -> int:
    """Threads of this process that embed side by side; 1: it has no GPUs to share among some."""
    if workers > 1 and not may_have_gpu():
        return 1
    engine = EmbeddingSpec(**job.spec).engine
    devices = len(devices_of(engine))
    return THREADS_A_GPU * devices if devices > 1 or (workers > 1 and gpus_of(engine)) else 1


@contextmanager
def model_threads(count: int | None) -> Iterator[None]:
    """Let the processes that are started meanwhile use `count` threads for a model, unless told already.

    Each would start as many as there are cores.
    """
    name = "TF_NUM_INTRAOP_THREADS"
    if count is None or name in os.environ:
        yield
        return
    os.environ[name] = str(count)
    try:
        yield
    finally:
        del os.environ[name]
