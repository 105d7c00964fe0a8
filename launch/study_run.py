"""A run of `l3flow study`: embed, cross-validate, compare."""

import argparse
import gc
import json
from collections.abc import Sequence
from typing import NamedTuple

from l3core.crossval.finish import finish
from l3core.crossval.plan import CrossvalPlan, Fold, OutputPaths
from l3core.crossval.planning import Load, plan_crossval
from l3core.crossval.progress import CrossvalProgress
from l3core.crossval.results import finished_folds
from l3core.errors import RunError, UsageError
from l3core.loading import without_collection
from l3core.machine import usable_memory
from l3core.study.checked import as_in_a_plan
from l3core.study.finish import finish_study
from l3core.study.opening import Opened, Part
from l3core.study.paths import StudyPaths
from l3core.study.plan import StudyPlan
from l3core.study.scores import Cell
from l3core.table.json_objects import read_json, write_json
from launch.exits import DONE
from launch.options import naming
from launch.screen import showing_progress, time_left
from launch.signals import Interrupted, interruptible
from launch.study_embed import embed_part, embedding_seconds, write_clips
from launch.study_plan import look_for
from launch.telling import RunSoFar
from launch.words import duration, last_line, printable
from pipelines.job import CrossvalJob


class Planned(NamedTuple):
    """A cell whose features are there.

    Attributes:
        part: dataset and embedding.
        output: of its cross-validation.
        plan: of that.
        folds: names of all trainings.
        todo: those that are not done.
        load: how much it is.
    """

    part: Part
    output: OutputPaths
    plan: CrossvalPlan
    folds: list[str]
    todo: list[str]
    load: Load


class Training(NamedTuple):
    """How far the trainings are.

    Attributes:
        share: of all the work if every model used all of its epochs, 0 to 1.
        folds: finished, of those that were to train.
        of: folds to train.
    """

    share: float
    folds: int
    of: int

    @property
    def begun(self) -> bool:
        """Whether anything was trained yet."""
        return self.share > 0


def compare(args: argparse.Namespace, plan: StudyPlan, paths: StudyPaths, run: RunSoFar) -> None:
    """Do what is not done yet of a study, and say what came of it.

    Args:
        args: of the command.
        plan: of the study.
        paths: of the results.
        run: is told how it ended.
    """
    run.workers = args.workers
    opened = look_for(args, plan)
    try:
        write_clips(opened, paths)
    except OSError as error:
        raise UsageError(f"--output {args.output}: cannot write there: {error}") from None
    _embed(args, opened, paths)
    cells = [
        plan_cell(opened, paths, part, protocol) for part in opened.there for protocol in plan.protocols
    ]
    todo = [cell for cell in cells if cell.todo]
    _refuse_too_large(args, todo)
    for cell in todo:
        write_json(cell.output.plan(cell.plan.digest), cell.plan.to_json())
    try:
        with interruptible():
            if todo:
                _train(args, todo)
            for cell in cells:
                if not cell.todo and not _is_finished(cell):
                    finish(cell.output, cell.plan, cell.folds)
    except KeyboardInterrupt:
        of = sum(len(cell.todo) for cell in todo)
        done = of - sum(len(_left(cell.output, cell.plan, cell.folds)) for cell in todo)
        raise Interrupted(
            f"interrupted; {done} of {of} trainings are done, the same command goes on from there"
        ) from None
    facts = finish_study(paths, plan, _results(opened, paths, cells))
    _say(args, paths, facts)


def _refuse_too_large(args: argparse.Namespace, cells: Sequence[Planned]) -> None:
    """Refuse cells whose features do not fit in memory, side by side."""
    if not cells:
        return
    largest = max(cells, key=lambda cell: cell.load.memory_bytes)
    beside = min(args.workers, len(cells))
    free = usable_memory()
    if beside * largest.load.memory_bytes > free:
        times = f" in each of {beside} processes" if beside > 1 else ""
        less = "fewer --workers, " if beside > 1 else ""
        raise UsageError(
            f"{_name(largest.part)}: {largest.load.windows} windows of {largest.load.size} numbers need "
            f"{largest.load.memory_bytes / 1e9:.1f} GB of memory{times}, and {free / 1e9:.1f} GB are "
            f"free: take {less}a longer hop_s or a smaller embedding_size, or a larger machine"
        )


def _embed(args: argparse.Namespace, opened: Opened, paths: StudyPaths) -> None:
    quiet = args.quiet or args.json
    if not quiet:
        for part in opened.missing:
            print(f"{_name(part)}: left out: {printable(str(part.reason))}")
    for part in opened.there:
        said = embed_part(args, paths, part, opened.fingerprints[part.embedding.name])
        gc.collect()  # a Keras model refers to itself, and VGGish has 288 MB of weights
        if not quiet:
            print(f"{_name(part)}: {said}", flush=True)


def _name(part: Part) -> str:
    return printable(f"{part.dataset.name}, {part.embedding.name}")


def plan_cell(opened: Opened, paths: StudyPaths, part: Part, protocol: str) -> Planned:
    """Plan the cross-validation of a part whose features are there."""
    with naming(f"{_name(part)}:"), as_in_a_plan():
        plan, folds, load = plan_crossval(
            opened.copies[part.dataset.name],
            paths.table(part.dataset).root,
            spec=opened.fingerprints[part.embedding.name],
            protocol=protocol,
            folds=None,
            repeats=part.dataset.repeats,
            final=False,
            seed=opened.plan.seed,
            batch_size=opened.plan.batch_size,
            epochs=opened.plan.epochs,
            allow_partial=part.dataset.allow_partial,
        )
    output = paths.cell(part.dataset, part.embedding, protocol)
    return Planned(part, output, plan, folds, _left(output, plan, folds), load)


def _left(output: OutputPaths, plan: CrossvalPlan, folds: Sequence[str]) -> list[str]:
    done = finished_folds(output, plan.digest)
    return [name for name in folds if name not in done]


def _is_finished(cell: Planned) -> bool:
    """Whether the results of a cell are those of its plan and folds."""
    try:
        summary = read_json(cell.output.summary)
    except FileNotFoundError:
        return False
    names = [Fold(each["fold"], each["repeat"]).name for each in summary["folds"]]
    return summary["digest"] == cell.plan.digest and names == cell.folds


def _train(args: argparse.Namespace, cells: Sequence[Planned]) -> None:
    with without_collection():
        from pipelines.study import CellJob, run_local  # Beam takes a second to load

    looks = [CrossvalProgress(cell.output, cell.plan, cell.todo) for cell in cells]
    of = sum(len(cell.todo) for cell in cells)

    def look() -> Training:
        found = [each() for each in looks]
        share = sum(each.share * each.of for each in found) / of
        return Training(share, sum(each.folds for each in found), of)

    jobs = [
        CellJob(CrossvalJob(output=cell.output.root, digest=cell.plan.digest), tuple(cell.folds))
        for cell in cells
    ]
    with showing_progress(look, describe_training, quiet=args.quiet or args.json):
        try:
            run_local(jobs, workers=args.workers)
        except Exception as error:  # whatever a worker died of: Beam wraps it in its own words
            raise RunError(
                f"the training failed, finished folds are kept: {last_line(error)}"
            ) from error


def describe_training(progress: Training, seconds: float) -> str:
    """Trainings and time left, in words."""
    if not progress.begun:
        return "loading"
    left = duration(time_left(progress, seconds))
    return f"{progress.folds} of {progress.of} trainings, at most {left} left"


def _results(opened: Opened, paths: StudyPaths, cells: Sequence[Planned]) -> list[Cell]:
    """All cells in the order of the plan, missing ones, too."""
    done = {
        (cell.part.dataset.name, cell.part.embedding.name, cell.plan.protocol): cell for cell in cells
    }
    found = []
    for part in opened.parts:
        for protocol in opened.plan.protocols:
            cell = done.get((part.dataset.name, part.embedding.name, protocol))
            fingerprint = opened.fingerprints.get(part.embedding.name, "")
            found.append(
                Cell(
                    part.dataset.name,
                    part.embedding,
                    protocol,
                    summary=read_json(cell.output.summary) if cell else None,
                    reason=part.reason,
                    embedding_s=embedding_seconds(paths, part, fingerprint),
                )
            )
    return found


def _say(args: argparse.Namespace, paths: StudyPaths, facts: dict) -> None:
    if args.json:
        ending = {"status": "ok", "exit_code": DONE, "message": "", "output": paths.root}
        print(json.dumps(ending | facts, indent=1, sort_keys=True))
    elif not args.quiet:
        for cell in facts["cells"]:
            print(_line(cell))
        print(f"report: {printable(paths.page)}")


def _line(cell: dict) -> str:
    """A cell in words."""
    name = printable(f"{cell['dataset']}, {cell['embedding']}, {cell['protocol']}")
    if cell["mean_accuracy"] is None:
        return f"{name}: left out"
    spread = "" if cell["deviation"] is None else f" +- {100 * cell['deviation']:.1f}"
    leaks = ", validation leaks" if cell["leaky_validation"] else ""
    return f"{name}{leaks}: {100 * cell['mean_accuracy']:.1f} %{spread} of {cell['trainings']} trainings"
