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
from pipelines.workers import features_for


class _TrainFold(beam.DoFn):
    """Trains and tests one fold per element."""

    def __init__(self, output: str, digest: str) -> None:
        self._output = output
        self._digest = digest

    def process(self, element: str) -> Iterable[str]:
        """A fold's name -> the same name, when its results are in place."""
        paths = OutputPaths(self._output)
        plan = _read_plan(paths, self._digest)
        if is_finished(paths, plan.digest, element):  # a runner may try an element again
            yield element
            return
        features = features_for(plan)
        notes = FoldNotes(paths, plan.digest, element)
        result = train_fold(plan, features, Fold.from_name(element), on_epoch=notes.note)
        write_fold(paths, plan, result, features.clips)
        yield element


@dataclass
class TrainFolds(beam.PTransform):
    """Names of folds -> names of trained ones.

    Attributes:
        output: URI of the output, which holds the plan.
        digest: names the plan.
    """

    output: str
    digest: str

    def expand(self, pcoll: beam.PCollection) -> beam.PCollection:
        """One element, one fold; Reshuffle lets a runner spread them."""
        return (
            pcoll
            | "Spread" >> beam.Reshuffle()
            | "TrainFold" >> beam.ParDo(_TrainFold(self.output, self.digest))
        )


@dataclass
class Finish(beam.PTransform):
    """Names of trained folds -> the digest of the finished cross-validation, one element.

    Attributes:
        output: URI of the output, which holds the plan.
        digest: names the plan.
        folds: names of all that the results are of, also of those that were trained before.
    """

    output: str
    digest: str
    folds: Sequence[str]

    def expand(self, pcoll: beam.PCollection) -> beam.PCollection:
        """Waits for all that are trained."""
        return (
            pcoll
            | "Count" >> beam.combiners.Count.Globally()
            | "Merge" >> beam.Map(_finish, self.output, self.digest, list(self.folds))
        )


def _finish(trained: int, output: str, digest: str, folds: list[str]) -> str:
    paths = OutputPaths(output)
    finish(paths, _read_plan(paths, digest), folds)
    return digest


def _read_plan(paths: OutputPaths, digest: str) -> CrossvalPlan:
    return CrossvalPlan.from_json(read_json(paths.plan(digest)))


def build_pipeline(
    pipeline: beam.Pipeline, output: str, digest: str, *, folds: Sequence[str], todo: Sequence[str]
) -> None:
    """Add the whole job to a pipeline.

    Args:
        pipeline: to add to.
        output: URI of the output, which holds the plan.
        digest: names the plan.
        folds: names of all that the results are of.
        todo: names of those that are not trained yet.
    """
    _ = (
        pipeline
        | "Folds" >> beam.Create(list(todo))
        | "Train" >> TrainFolds(output, digest)
        | "Finish" >> Finish(output, digest, folds)
    )


def run_local(
    output: str,
    digest: str,
    *,
    folds: Sequence[str],
    todo: Sequence[str],
    beam_options: Iterable[str] = (),
) -> None:
    """Run the job in this process, fold by fold: one training uses all cores.

    Args:
        output: URI of the output, which holds the plan.
        digest: names the plan.
        folds: names of all that the results are of.
        todo: names of those that are not trained yet.
        beam_options: further options of Beam, as on a command line.
    """
    # FnApiRunner by name: Beam's default tries to download another runner on every run
    options = PipelineOptions(list(beam_options), runner="FnApiRunner")
    with beam.Pipeline(options=options) as pipeline:
        build_pipeline(pipeline, output, digest, folds=folds, todo=todo)
