"""The pipeline of a study: its cross-validations side by side, each with all of its folds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from l3core.crossval.finish import finish
from l3core.machine import usable_cores
from pipelines.crossval import read_plan, train_fold_once
from pipelines.embed import model_threads
from pipelines.job import CrossvalJob
from pipelines.workers import output_of


class CellJob(NamedTuple):
    """A cross-validation that is to be done, or finished.

    Attributes:
        job: the planned one.
        folds: names of all that its results are of.
    """

    job: CrossvalJob
    folds: tuple[str, ...]


class _TrainCell(beam.DoFn):
    """Trains, tests and finishes one cross-validation per element."""

    def process(self, element: CellJob) -> Iterable[str]:
        """A cell -> the output of its cross-validation, when its results are in place."""
        for name in element.folds:
            train_fold_once(element.job, name)
        paths = output_of(element.job)
        finish(paths, read_plan(paths, element.job.digest), element.folds)
        yield element.job.output


@dataclass
class TrainCells(beam.PTransform):
    """Cells -> outputs of the finished cross-validations."""

    def expand(self, pcoll: beam.PCollection) -> beam.PCollection:
        """One element, one cell; Reshuffle lets a runner spread them."""
        return pcoll | "Spread" >> beam.Reshuffle() | "TrainCell" >> beam.ParDo(_TrainCell())


def build_pipeline(pipeline: beam.Pipeline, cells: Sequence[CellJob]) -> None:
    """Add all cells to a pipeline."""
    _ = pipeline | "Cells" >> beam.Create(list(cells)) | "Train" >> TrainCells()


def run_local(cells: Sequence[CellJob], *, workers: int = 1) -> None:
    """Run cells on this machine.

    Args:
        cells: to train.
        workers: processes that train, each its own cells; a single one is this process, whose training
            uses all cores.
    """
    side_by_side: dict[str, Any] = {}
    workers = min(workers, len(cells))
    if workers > 1:
        side_by_side = {"direct_num_workers": workers, "direct_running_mode": "multi_processing"}
    # FnApiRunner by name: Beam's default tries to download another runner on every run
    options = PipelineOptions([], runner="FnApiRunner", **side_by_side)
    cores = max(1, usable_cores() // workers) if workers > 1 else None
    with model_threads(cores), beam.Pipeline(options=options) as pipeline:
        build_pipeline(pipeline, cells)
