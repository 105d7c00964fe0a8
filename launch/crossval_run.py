"""A run of `l3flow crossval`: plan, pipeline, report."""

import argparse
import json
from collections.abc import Sequence
from typing import Any

from l3core import storage
from l3core.crossval.finish import finish
from l3core.crossval.plan import CrossvalPlan, Fold, OutputPaths
from l3core.crossval.planning import Load, plan_crossval, refuse_too_large
from l3core.crossval.progress import CrossvalProgress, Progress
from l3core.crossval.results import finished_folds
from l3core.datasets import DATASETS, read_dataset
from l3core.errors import RunError, UsageError
from l3core.loading import without_collection
from l3core.machine import usable_memory
from l3core.table.state import read_json, write_json
from launch.options import naming
from launch.screen import showing_progress, time_left
from launch.signals import Interrupted, interruptible
from launch.words import duration, last_line, printable, size

TIMED_STEPS = 20  # of the training, in a dry run


def crossvalidate(args: argparse.Namespace, beam_options: Sequence[str]) -> None:
    """Train what is not trained yet, and say how good it is."""
    plan, load = _plan(args)
    paths = _output(args)
    todo = [name for name in plan.folds if name not in finished_folds(paths, plan.digest)]
    if todo:
        refuse_too_large(load)
    try:
        write_json(paths.plan(plan.digest), plan.to_json())
    except OSError as error:
        raise UsageError(f"--output {args.output}: cannot write there: {error}") from None
    try:
        with interruptible():
            if todo:
                _train(args, plan, paths, todo, beam_options)
            else:
                finish(paths, plan)
    except KeyboardInterrupt:
        done = len(set(plan.folds).intersection(finished_folds(paths, plan.digest)))
        raise Interrupted(
            f"interrupted; {done} of {len(plan.folds)} folds are trained, "
            "the same command goes on from there"
        ) from None
    summary = read_json(paths.at("summary.json"))
    if args.json:
        print(json.dumps({"output": paths.root} | summary, indent=1, sort_keys=True))
    elif not args.quiet:
        _print_summary(paths, summary, trained=len(todo))


def preview(args: argparse.Namespace) -> None:
    """Say what a run would take; writes nothing."""
    plan, load = _plan(args)
    paths = _output(args)
    todo = [name for name in plan.folds if name not in finished_folds(paths, plan.digest)]
    step_s = _seconds_a_step(plan) if todo else 0.0
    seconds = step_s * load.steps * len(todo) / len(plan.folds)
    facts = {
        "clips": len(plan.clips),
        "windows": load.windows,
        "folds": list(plan.folds),
        "folds_to_train": todo,
        "memory_bytes": load.memory_bytes,
        "usable_memory_bytes": usable_memory(),
        "seconds_at_most": seconds,
    }
    if args.json:
        print(json.dumps(facts, indent=1))
        return
    print(f"{len(plan.clips)} clips, {load.windows} windows of {load.size} numbers")
    print(f"to train: {len(todo)} of {len(plan.folds)} folds, nine combinations each")
    print(f"memory: {size(load.memory_bytes)}, of {size(usable_memory())} that are free")
    print(f"time: at most {duration(seconds)} here, less where models stop early")


def _plan(args: argparse.Namespace) -> tuple[CrossvalPlan, Load]:
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


def _output(args: argparse.Namespace) -> OutputPaths:
    with naming("--output"):
        paths = OutputPaths(storage.absolute(args.output).rstrip("/"))
    if not storage.is_folder_or_absent(paths.root):
        raise UsageError(f"--output {args.output} is a file; the results need a folder")
    return paths


def _train(
    args: argparse.Namespace,
    plan: CrossvalPlan,
    paths: OutputPaths,
    todo: list[str],
    beam_options: Sequence[str],
) -> None:
    with without_collection():
        from pipelines.crossval import run_local  # Beam takes a second to load
        from pipelines.workers import features_for

    # this process is the worker: what is wrong with the features or the folds is told before training
    features = features_for(plan)
    for name in todo:
        fold = Fold.from_name(name)
        plan.parts(features.clips, fold)
    look = CrossvalProgress(paths, plan, todo)
    with showing_progress(look, _describe, quiet=args.quiet or args.json):
        try:
            run_local(plan, paths.root, todo, beam_options)
        except Exception as error:  # whatever a worker died of: Beam wraps it in its own words
            raise RunError(
                f"the training failed, finished folds are kept: {last_line(error)}"
            ) from error


def _describe(progress: Progress, seconds: float) -> str:
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
    folds = [fold for fold in summary["folds"] if fold["fold"] is not None]
    each = ", ".join(f"{fold['fold']}: {100 * fold['accuracy']:.1f} %" for fold in folds)
    spread = "" if summary["deviation"] is None else f" +- {100 * summary['deviation']:.1f}"
    low, high = summary["interval"]
    clips = f"{summary['tested_clips']} clips"
    if not summary["complete"]:
        clips += f" ({summary['subset'] or 'a part'} of {summary['published_clips']})"
    leaky = ", validation leaks" if summary["leaky_validation"] else ""
    lines = [
        f"accuracy by fold: {each}",
        f"{summary['dataset_title']}, {summary['protocol']} protocol{leaky}: "
        f"{100 * summary['mean_accuracy']:.1f} %{spread} of {clips}, "
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
