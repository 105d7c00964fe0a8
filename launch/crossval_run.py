"""A run of `l3flow crossval`: plan, pipeline, report."""

import argparse
import json
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from l3core import storage
from l3core.crossval.finish import finish
from l3core.crossval.plan import CrossvalPlan, Fold, OutputPaths
from l3core.crossval.planning import Load, plan_crossval, refuse_too_large
from l3core.crossval.progress import CrossvalProgress, Progress
from l3core.crossval.results import finished_folds
from l3core.datasets import DATASETS, read_dataset
from l3core.errors import BusyError, RunError, UsageError
from l3core.loading import without_collection
from l3core.machine import usable_memory
from l3core.table.json_objects import read_json, write_json
from launch.exits import DONE
from launch.options import naming
from launch.runners import Runner, how_job_is
from launch.screen import showing_progress, time_left
from launch.signals import Interrupted, interruptible
from launch.tables import new_run_id, results_folder
from launch.telling import RunSoFar
from launch.words import duration, last_line, printable, size
from pipelines.job import CrossvalJob

TIMED_STEPS = 20  # of the training, in a dry run


def crossvalidate(
    args: argparse.Namespace,
    beam_options: Sequence[str],
    runner: Runner | None,
    run: RunSoFar,
) -> None:
    """Train what is not trained yet, and say how good it is.

    Args:
        args: of the command.
        beam_options: further options of Beam.
        runner: what runs the pipeline; None: this process.
        run: is told how it ended.
    """
    paths = OutputPaths(results_folder(args.output))
    plan, folds, load = _plan(args)
    todo = _to_train(paths, plan, folds)
    if todo:
        refuse_too_large(load)
    try:
        write_json(paths.plan(plan.digest), plan.to_json())
    except OSError as error:
        raise UsageError(f"--output {args.output}: cannot write there: {error}") from None
    try:
        with interruptible():
            if todo:
                _train(args, plan, paths, folds, todo, beam_options, runner)
            else:
                finish(paths, plan, folds)
    except KeyboardInterrupt:
        done = len(folds) - len(_to_train(paths, plan, folds))
        _say_what_goes_on(paths, plan, runner)
        raise Interrupted(
            f"interrupted; {done} of {len(folds)} folds are trained, the same command goes on from there"
        ) from None
    if todo and runner and runner.detach:
        run.ending = ("submitted", "its job goes on without this command")
        return
    summary = read_json(paths.summary)
    if args.json:
        ending = {"status": "ok", "exit_code": DONE, "message": "", "output": paths.root}
        print(json.dumps(ending | summary, indent=1, sort_keys=True))
    elif not args.quiet:
        _print_summary(paths, summary, trained=len(todo))


def preview(args: argparse.Namespace) -> None:
    """Say what a run would take; writes nothing."""
    paths = OutputPaths(results_folder(args.output))
    plan, folds, load = _plan(args)
    todo = _to_train(paths, plan, folds)
    step_s = _seconds_a_step(plan) if todo else 0.0
    seconds = step_s * load.steps * len(todo) / len(folds)
    free = usable_memory()
    facts = {
        "clips": len(plan.clips),
        "windows": load.windows,
        "folds": folds,
        "folds_to_train": todo,
        "memory_bytes": load.memory_bytes,
        "usable_memory_bytes": free,
        "fits": load.memory_bytes <= free,
        "seconds_at_most": seconds,
    }
    if args.json:
        print(json.dumps(facts, indent=1))
        return
    refused = "" if facts["fits"] else ": the run would be refused"
    print(f"{len(plan.clips)} clips, {load.windows} windows of {load.size} numbers")
    print(f"to train: {len(todo)} of {len(folds)} folds, nine combinations each")
    print(f"memory: {size(load.memory_bytes)}, of {size(free)} that are free{refused}")
    print(f"time: about {duration(seconds)} here if no model stops early")


def _to_train(paths: OutputPaths, plan: CrossvalPlan, folds: Sequence[str]) -> list[str]:
    done = finished_folds(paths, plan.digest)
    return [name for name in folds if name not in done]


def _plan(args: argparse.Namespace) -> tuple[CrossvalPlan, list[str], Load]:
    if args.dataset not in DATASETS:
        raise UsageError(f"--dataset must be one of {', '.join(DATASETS)}, got {args.dataset!r}")
    with naming("--dataset-root"):
        copy = read_dataset(DATASETS[args.dataset], args.dataset_root, allow_partial=args.allow_partial)
    return plan_crossval(
        copy,
        args.table,
        spec=args.spec,
        protocol=args.protocol,
        folds=args.folds,
        repeats=args.repeats,
        final=args.final,
        seed=args.seed,
        batch_size=args.batch_size,
        epochs=args.epochs,
        allow_partial=args.allow_partial,
    )


def _train(
    args: argparse.Namespace,
    plan: CrossvalPlan,
    paths: OutputPaths,
    folds: list[str],
    todo: list[str],
    beam_options: Sequence[str],
    runner: Runner | None,
) -> None:
    with without_collection():
        from pipelines.crossval import build_pipeline, run_local  # Beam takes a second to load
        from pipelines.workers import features_for

    _refuse_if_training(paths, plan)
    runner = runner.with_slots() if runner else None
    # as the workers will do: what is wrong with the features or the folds is told before training
    features = features_for(plan)
    for name in todo:
        fold = Fold.from_name(name)
        plan.parts(features.clips, fold)
    job = CrossvalJob(output=paths.root, digest=plan.digest)
    runner_job = runner.job(f"crossval-{new_run_id()}") if runner else None
    if runner_job:
        write_json(paths.job(plan.digest), runner_job)
    look = CrossvalProgress(paths, plan, todo)
    with showing_progress(look, describe_training, quiet=args.quiet or args.json):
        try:
            if runner is None or runner_job is None:
                run_local(job, folds=folds, todo=todo, beam_options=beam_options)
                return
            runner.run(
                partial(build_pipeline, job=job, folds=folds, todo=todo),
                name=runner_job["name"],
                beam_options=beam_options,
                submitted=partial(_say_submitted, args),
            )
        except Exception as error:  # whatever a worker died of: Beam wraps it in its own words
            raise RunError(
                f"the training failed, finished folds are kept: {last_line(error)}"
            ) from error


def _refuse_if_training(paths: OutputPaths, plan: CrossvalPlan) -> None:
    """Hold that no job on a cluster trains the same folds.

    Raises:
        BusyError: one does.
    """
    try:
        job = read_json(paths.job(plan.digest))
    except FileNotFoundError:
        return
    if how_job_is(job) == "running":
        raise BusyError(f"job {job['name']} at {job['master']} is training these folds: wait for it")


def _say_what_goes_on(paths: OutputPaths, plan: CrossvalPlan, runner: Runner | None) -> None:
    """Say so where the job could not be stopped."""
    if runner and storage.is_object(paths.job(plan.digest)):
        job = read_json(paths.job(plan.digest))
        if how_job_is(job) in ("running", "unknown"):
            print(f"l3flow: {job['name']} at {job['master']} may go on", file=sys.stderr)


def _say_submitted(args: argparse.Namespace, job_id: str) -> None:
    if not args.detach:
        return
    if args.json:
        print(json.dumps({"job": job_id, "output": storage.absolute(args.output)}))
    else:
        print(
            job_id
            if args.quiet
            else f"submitted: {args.runner.title()} job {job_id}; the same command shows the result"
        )


def describe_training(progress: Progress, seconds: float) -> str:
    """Folds, epochs, models and time left, in words."""
    if not progress.begun:
        return "loading"
    running = ", ".join(
        f"{fold}: epoch {epoch}, {left} models" for fold, epoch, left in progress.running
    )
    left = f"at most {duration(time_left(progress, seconds))} left"
    return ", ".join(filter(None, (f"{progress.folds} of {progress.of} folds", running, left)))


def _seconds_a_step(plan: CrossvalPlan) -> float:
    from l3core.crossval.training import seconds_a_step

    with without_collection():
        return seconds_a_step(
            plan.embedding_size, len(plan.classes), batch_size=plan.batch_size, steps=TIMED_STEPS
        )


def _print_summary(paths: OutputPaths, summary: dict[str, Any], *, trained: int) -> None:
    if not trained:
        print("nothing to train: every fold is there already")
    if "mean_accuracy" in summary:
        for line in accuracy_lines(summary):
            print(line)
    print(f"report: {printable(paths.at('report.html'))}")


def accuracy_lines(summary: dict[str, Any]) -> list[str]:
    """The figures in words, a line for the folds and one for the whole."""
    leaky = ", validation leaks" if summary["leaky_validation"] else ""
    protocol = f"{summary['protocol']} protocol{leaky}"
    each = ", ".join(f"{fold}: {100 * share:.1f} %" for fold, share in summary["by_fold"].items())
    repeats = max(fold["repeat"] for fold in summary["folds"])
    of = f", means of {repeats} trainings" if repeats > 1 else ""
    spread = "" if summary["deviation"] is None else f" +- {100 * summary['deviation']:.1f}"
    low, high = summary["interval"]
    clips = f"{summary['tested_clips']} clips"
    if not summary["complete"]:
        subset = f": {summary['subset']}" if summary["subset"] else ""
        clips += f" ({summary['clips']} of {summary['published_clips']} are here{subset})"
    lines = [
        f"accuracy by fold, {protocol}{of}: {each}",
        f"{summary['dataset_title']}, {protocol}: {100 * summary['mean_accuracy']:.1f} %{spread} "
        f"over the folds; of {clips} {100 * summary['clip_accuracy']:.1f} %, "
        f"95 % interval {100 * low:.1f} to {100 * high:.1f} %",
    ]
    if shared := summary["shared_sources"]:
        lines.append(
            f"{len(shared)} recordings are in several folds, as published, and were kept: "
            + ", ".join(map(printable, shared))
        )
    if summary["paper_accuracy"] is not None:
        lines.append(f"the paper reports {100 * summary['paper_accuracy']:.1f} % for this embedding")
    return lines
