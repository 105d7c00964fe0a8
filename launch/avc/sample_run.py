"""A run of `l3flow avc sample`: plan, pipeline, commit."""

import argparse
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime, timezone
from functools import partial
from itertools import chain, islice
from typing import Any

from l3core import storage
from l3core.avc.commit import clear_away
from l3core.avc.corpus import Corpus, load_corpus
from l3core.avc.layout import FINE, LOCK, CorpusPaths
from l3core.avc.ledger import read_ledger
from l3core.avc.plan import Plan, Planned, make_plan, write_plan
from l3core.avc.progress import Progress, SampleProgress
from l3core.errors import RunError, UsageError
from l3core.loading import without_collection
from l3core.table.json_objects import read_json
from l3core.table.lock import holding
from launch.avc.sample_options import Asked, asked_of, corpus_for
from launch.avc.sample_summary import print_preview, print_submitted, print_summary
from launch.embed_job import versions
from launch.exits import DONE, STRICT
from launch.options import writing_to
from launch.runners import Runner, how_job_is
from launch.screen import POLL_S, SHOWN_AFTER_S, Counted, Steps, showing_progress, time_left
from launch.signals import Interrupted, interruptible
from launch.tables import new_run_id
from launch.words import duration, last_line


def sample_corpus(args: argparse.Namespace, beam_options: Sequence[str], runner: Runner | None) -> int:
    """Plan, sample, commit and say what became of the input; the exit code.

    Args:
        args: of the command.
        beam_options: further options of Beam.
        runner: what runs the pipeline; None: this process.

    Raises:
        BusyError: another run is working on the same corpus.
        RunError: the run failed; the corpus is as it was.
    """
    asked, run_id = asked_of(args), new_run_id()
    try:
        with interruptible():
            plan, record = _sample(args, asked, run_id, beam_options, runner)
    except KeyboardInterrupt:
        raise Interrupted(
            "interrupted; finished shards are kept, the same command goes on with those that are left"
        ) from None
    if record is None:
        return DONE
    corpus = load_corpus(asked.paths.root)
    bad = args.strict and any(row.status not in FINE for row in read_ledger(corpus).values())
    code = STRICT if bad else DONE
    print_summary(args, asked.paths, plan, record, corpus, code)
    return code


def preview(args: argparse.Namespace) -> int:
    """Say what a run would do; writes nothing."""
    asked = asked_of(args)
    corpus, root = corpus_for(args, asked)
    planned = _plan(args, asked, corpus, root, new_run_id())
    print_preview(args, planned.plan)
    return DONE


def _sample(
    args: argparse.Namespace,
    asked: Asked,
    run_id: str,
    beam_options: Sequence[str],
    runner: Runner | None,
) -> tuple[Plan, dict[str, Any] | None]:
    """The plan and the run's record; None if the run goes on without us."""
    paths = asked.paths
    with ExitStack() as stack:
        job = runner.job(run_id) if runner else None
        with writing_to("--output", args.output):
            held = stack.enter_context(holding(paths.locks, LOCK, run_id, job=job, ask=how_job_is))
        corpus, root = corpus_for(args, asked)
        planned = _plan(args, asked, corpus, root, run_id)
        plan = planned.plan
        if plan.empty:
            clear_away(paths)
            return plan, _unchanged(plan)
        write_plan(paths, planned)
        try:
            record = _execute(args, asked, plan, beam_options, runner)
        except BaseException:
            if runner and runner.may_go_on(run_id):
                held.leave()
            raise
        if record is None:
            held.leave()
        return plan, record


def _unchanged(plan: Plan) -> dict[str, Any]:
    nothing = dict.fromkeys(("pairs", "positives", "bytes", "wall_s", "videos_dropped"), 0)
    return {"run_id": plan.run_id, "run": None, "matched": plan.counts, "videos": {}} | nothing


def _plan(
    args: argparse.Namespace, asked: Asked, corpus: Corpus | None, root: str, run_id: str
) -> Planned:
    started_at = datetime.now(timezone.utc).isoformat()
    known = read_ledger(corpus)
    listing = asked.listing(args)
    first = list(islice(listing, 1))
    if not (first or args.allow_empty):
        if asked.paths.root in map(storage.absolute_folder, args.input):
            raise UsageError(f"--output {args.output} is the input, too: name another folder")
        raise UsageError(
            f"--input {' '.join(args.input)} matches no file; --allow-empty makes that no error"
        )
    counted = Counted(chain(first, listing))

    def look() -> Steps:
        return Steps(counted.count, len(known))

    quiet = args.quiet or args.json
    with showing_progress(look, _describe_listing, quiet=quiet, after_s=SHOWN_AFTER_S):
        return make_plan(
            asked.paths,
            corpus,
            known,
            counted,
            settings=asked.settings,
            root=root,
            split_of=asked.split_of,
            group_of=asked.group_of,
            rules=asked.rules,
            run_id=run_id,
            started_at=started_at,
        )


def _execute(
    args: argparse.Namespace,
    asked: Asked,
    plan: Plan,
    beam_options: Sequence[str],
    runner: Runner | None,
) -> dict[str, Any] | None:
    with without_collection():
        from pipelines.avc import SampleJob, build_pipeline, run_local  # Beam takes a second to load

    runner = runner.with_slots() if runner else None
    info: dict[str, Any] = {
        "command": "avc sample",
        "input": list(args.input),
        "host": socket.gethostname(),
        "versions": versions(),
    }
    job = SampleJob(
        corpus=asked.paths.root,
        run_id=plan.run_id,
        limits=asked.limits,
        threads=None if runner else args.workers,
        processes=runner.processes if runner else 1,
        most_storage_errors=args.max_storage_errors,
        info=info | ({"job": runner.job(plan.run_id)} if runner else {}),
    )
    look = SampleProgress(asked.paths, plan)
    with showing_progress(look, describe_sampling, quiet=args.quiet or args.json):
        try:
            if runner is None:
                run_local(job, plan.todo, beam_options)
            else:
                runner.run(
                    partial(build_pipeline, job=job, shards=plan.todo),
                    name=runner.job(plan.run_id)["name"],
                    beam_options=beam_options,
                    submitted=partial(print_submitted, args),
                )
        except Exception as error:  # whatever a worker died of: Beam wraps it in its own words
            raise _failure(asked.paths, plan, error) from error
    if runner and runner.detach:
        return None
    return read_json(asked.paths.record(plan.number))


def _failure(paths: CorpusPaths, plan: Plan, error: Exception) -> RunError:
    """The error of a run that failed, with how the corpus is."""
    corpus = load_corpus(paths.root)
    how = "the corpus is as it was, finished shards are kept"
    if corpus is not None and corpus.runs >= plan.number:
        how = "after its commit" if _is_ours(paths, plan) else "another run has committed"
    return RunError(f"the run failed, {how}: {last_line(error)}")


def _is_ours(paths: CorpusPaths, plan: Plan) -> bool:
    return bool(read_json(paths.record(plan.number))["run_id"] == plan.run_id)


def _describe_listing(steps: Steps, seconds: float) -> str:
    rate = f"{steps.done} files, {steps.done / max(seconds, POLL_S):.0f} files/s"
    left = f", {duration(time_left(steps, seconds))} left" if steps.share else ""
    return f"comparing input and corpus: {rate}{left}"


def describe_sampling(progress: Progress, seconds: float) -> str:
    """Videos, rate and time left, in words."""
    if not progress.begun:
        return f"sampling {progress.of} videos"
    return (
        f"{progress.videos} of {progress.of} videos, "
        f"{progress.videos / max(seconds, POLL_S):.1f} videos/s, "
        f"{duration(time_left(progress, seconds))} left"
    )
