"""The pipeline of `avc sample`: names of shards in, one commit of pairs out.

Only names travel between the stages. Reading, decoding, pairing and the writing are one step,
`l3core.avc.shard.sample_shard`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.options.pipeline_options import PipelineOptions

from l3core.avc.commit import commit_run
from l3core.avc.layout import LOCK, CorpusPaths
from l3core.avc.plan import read_plan
from l3core.avc.shard import counted, sample_shard
from l3core.avc.video import VideoLimits
from l3core.machine import usable_cores
from l3core.storage_options import configure_as, configured
from l3core.table.counters import NAMESPACE
from l3core.table.failures import MOST_STORAGE_ERRORS, Most
from l3core.table.lock import keep_renewed


@dataclass(frozen=True, kw_only=True)
class SampleJob:
    """A planned run, small enough to travel with each element's code.

    Attributes:
        corpus: URI of the corpus, whose staging holds the plan.
        run_id: of the run.
        limits: of each video.
        threads: videos that a worker decodes at the same time; None: its share of the cores.
        processes: workers on a machine that share its cores, as far as is known.
        most_storage_errors: videos that the store may fail to give.
        info: what the run's record shall say besides.
        storage_options: of the process that plans; a secret is only named, and read where it is used.
    """

    corpus: str
    run_id: str
    limits: VideoLimits
    threads: int | None = None
    processes: int = 1
    most_storage_errors: Most = MOST_STORAGE_ERRORS
    info: dict[str, Any] = field(default_factory=dict)
    storage_options: dict[str, str] = field(default_factory=configured)


def _corpus_of(job: SampleJob) -> CorpusPaths:
    configure_as(job.storage_options)
    return CorpusPaths(job.corpus)


@dataclass
class SampleShards(beam.PTransform):
    """Names of planned shards -> names of finished ones.

    Attributes:
        job: the planned run.
    """

    job: SampleJob

    def expand(self, pcoll: beam.PCollection) -> beam.PCollection:
        """One element, one shard; Reshuffle lets a runner spread them."""
        return pcoll | "Spread" >> beam.Reshuffle() | "SampleShard" >> beam.Map(_sample, self.job)


def _sample(name: str, job: SampleJob) -> str:
    paths = _corpus_of(job)

    def renew() -> None:
        keep_renewed(paths.locks, LOCK, job.run_id)

    threads = job.threads or max(1, usable_cores() // job.processes)
    plan = read_plan(paths)
    manifest = sample_shard(paths, plan, name, limits=job.limits, threads=threads, noted=renew)
    renew()
    for what, number in counted(manifest).items():
        Metrics.counter(NAMESPACE, what).inc(number)
    return name


@dataclass
class CommitPairs(beam.PTransform):
    """Names of finished shards -> the id of the committed run, one element.

    Attributes:
        job: the planned run.
    """

    job: SampleJob

    def expand(self, pcoll: beam.PCollection) -> beam.PCollection:
        """Waits for all: the commit is the last step, so no launcher has to wait for it."""
        return (
            pcoll
            | "AllShards" >> beam.combiners.Count.Globally()
            | "Commit" >> beam.Map(_commit, self.job)
        )


def _commit(_: int, job: SampleJob) -> str:
    commit_run(_corpus_of(job), job.run_id, info=job.info, most_storage_errors=job.most_storage_errors)
    return job.run_id


def build_pipeline(pipeline: beam.Pipeline, job: SampleJob, shards: Iterable[str]) -> None:
    """Add the whole job to a pipeline.

    Args:
        pipeline: to add to.
        job: the planned run.
        shards: names of the shards to sample.
    """
    _ = (
        pipeline
        | "Shards" >> beam.Create(list(shards))
        | "Sample" >> SampleShards(job)
        | "CommitRun" >> CommitPairs(job)
    )


def run_local(job: SampleJob, shards: Iterable[str], beam_options: Iterable[str] = ()) -> None:
    """Run the job in this process, shard by shard; each video has a process of its own.

    Args:
        job: the planned run.
        shards: names of the shards to sample.
        beam_options: further options of Beam, as on a command line.
    """
    # FnApiRunner by name: Beam's default tries to download another runner on every run
    options = PipelineOptions(list(beam_options), runner="FnApiRunner")
    with beam.Pipeline(options=options) as pipeline:
        build_pipeline(pipeline, job, shards)
