"""The cross-validation pipeline: names of folds in, the tables and the report of all out.

Only names travel between the stages. Each worker reads the features once and keeps them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from l3core.crossval.finish import finish
from l3core.crossval.folds import train_fold
from l3core.crossval.plan import CrossvalPlan, Fold, OutputPaths
from l3core.crossval.progress import FoldNotes
from l3core.crossval.results import is_finished, write_fold
from l3core.table.json_objects import read_json
from pipelines.job import CrossvalJob
from pipelines.workers import features_for, output_of


class _TrainFold(beam.DoFn):
    """Trains and tests one fold per element."""

    def __init__(self, job: CrossvalJob) -> None:
        self._job = job

    def process(self, element: str) -> Iterable[str]:
        """A fold's name -> the same name, when its results are in place."""
        train_fold_once(self._job, element)
        yield element


def train_fold_once(job: CrossvalJob, name: str) -> None:
    """Train and test a fold and leave its results, unless they are there: a runner may try again."""
    paths = output_of(job)
    plan = read_plan(paths, job.digest)
    if is_finished(paths, plan.digest, name):
        return
    features = features_for(plan)
    notes = FoldNotes(paths, plan.digest, name)
    result = train_fold(plan, features, Fold.from_name(name), on_epoch=notes.note)
    write_fold(paths, plan, result, features.clips)


@dataclass
class TrainFolds(beam.PTransform):
    """Names of folds -> names of trained ones.

    Attributes:
        job: the planned cross-validation.
    """

    job: CrossvalJob

    def expand(self, pcoll: beam.PCollection) -> beam.PCollection:
        """One element, one fold; Reshuffle lets a runner spread them."""
        return pcoll | "Spread" >> beam.Reshuffle() | "TrainFold" >> beam.ParDo(_TrainFold(self.job))


@dataclass
class Finish(beam.PTransform):
    """Names of trained folds -> the digest of the finished cross-validation, one element.

    Attributes:
        job: the planned cross-validation.
        folds: names of all that the results are of, also of those that were trained before.
    """

    job: CrossvalJob
    folds: Sequence[str]

    def expand(self, pcoll: beam.PCollection) -> beam.PCollection:
        """Waits for all that are trained."""
        return (
            pcoll
            | "Count" >> beam.combiners.Count.Globally()
            | "Merge" >> beam.Map(_finish, self.job, list(self.folds))
        )


def _finish(trained: int, job: CrossvalJob, folds: list[str]) -> str:
    paths = output_of(job)
    finish(paths, read_plan(paths, job.digest), folds)
    return job.digest


def read_plan(paths: OutputPaths, digest: str) -> CrossvalPlan:
    """The plan of a job."""
    return CrossvalPlan.from_json(read_json(paths.plan(digest)))


def build_pipeline(
    pipeline: beam.Pipeline, job: CrossvalJob, *, folds: Sequence[str], todo: Sequence[str]
) -> None:
    """Add the whole job to a pipeline.

    Args:
        pipeline: to add to.
        job: the planned cross-validation.
        folds: names of all that the results are of.
        todo: names of those that are not trained yet.
    """
    _ = (
        pipeline
        | "Folds" >> beam.Create(list(todo))
        | "Train" >> TrainFolds(job)
        | "Finish" >> Finish(job, folds)
    )


def run_local(
    job: CrossvalJob,
    *,
    folds: Sequence[str],
    todo: Sequence[str],
    beam_options: Iterable[str] = (),
) -> None:
    """Run the job in this process, fold by fold: one training uses all cores.

    Args:
        job: the planned cross-validation.
        folds: names of all that the results are of.
        todo: names of those that are not trained yet.
        beam_options: further options of Beam, as on a command line.
    """
    # FnApiRunner by name: Beam's default tries to download another runner on every run
    options = PipelineOptions(list(beam_options), runner="FnApiRunner")
    with beam.Pipeline(options=options) as pipeline:
        build_pipeline(pipeline, job, folds=folds, todo=todo)
