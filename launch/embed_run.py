"""A run of `l3flow embed`: plan, pipeline, commit."""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from itertools import chain, islice
from typing import Any

from l3core.errors import UsageError
from l3core.listing import ListFile, Pattern
from l3core.spec import EmbeddingSpec
from l3core.storage import StoredObject
from l3core.table.delta import ABSENT, FAILED_BEFORE
from l3core.table.failed import note_silent
from l3core.table.journal import repair
from l3core.table.layout import GONE, WITH_WINDOWS, TablePaths
from l3core.table.lock import holding, lost_to
from l3core.table.plan import make_plan
from l3core.table.planned import Plan
from l3core.weights import Weights
from launch.embed_job import execute
from launch.embed_options import check_there, limits_of, listing_of, open_inputs, root_of, rules_of
from launch.ending import after_interrupt, leaving_to_job
from launch.exits import DONE, STRICT
from launch.runners import Runner, how_job_is
from launch.screen import (
    SHOWN_AFTER_S,
    Counted,
    Steps,
    describe_listing,
    showing_progress,
)
from launch.signals import Interrupted, interruptible
from launch.summary import print_json, print_summary
from launch.tables import saying_how_it_is
from launch.telling import RunSoFar


def embed_table(
    args: argparse.Namespace,
    paths: TablePaths,
    spec: EmbeddingSpec,
    beam_options: Sequence[str],
    runner: Runner | None,
    run: RunSoFar,
) -> dict[str, Any] | None:
    """Plan, embed, commit and say what became of the input.

    Args:
        args: of the command.
        paths: of the table.
        spec: what to embed.
        beam_options: further options of Beam.
        runner: what runs the pipeline; None: this process.
        run: is told what is known of the run.

    Returns:
        The run record; None if the run goes on without us.

    Raises:
        BusyError: another run is working on the same table and spec.
        RunError: the run failed; the message says how the table is.
    """
    plan, record = embed_inputs(args, paths, spec, beam_options, runner, run)
    if record is None:
        return None
    run.code = STRICT if args.strict and not all_embedded(record) else DONE
    if args.json:
        print_json(paths, record, run.code)
    elif not args.quiet:
        print_summary(paths, spec, plan, record)
        if plan.compact:
            print("vectors are BYTE_STREAM_SPLIT, which fastparquet cannot read (docs/engines.md)")
    return record


def embed_inputs(
    args: argparse.Namespace,
    paths: TablePaths,
    spec: EmbeddingSpec,
    beam_options: Sequence[str],
    runner: Runner | None,
    run: RunSoFar,
) -> tuple[Plan, dict[str, Any] | None]:
    """The same without a word of what became of it: the plan and the run record."""
    try:
        with saying_how_it_is(paths, run.run_id):
            return _embed(args, paths, spec, beam_options, runner, run)
    except KeyboardInterrupt:
        raise Interrupted(after_interrupt(paths, run.run_id)) from None


def _embed(
    args: argparse.Namespace,
    paths: TablePaths,
    spec: EmbeddingSpec,
    beam_options: Sequence[str],
    runner: Runner | None,
    run: RunSoFar,
) -> tuple[Plan, dict[str, Any] | None]:
    run_id = run.run_id
    inputs, weights = open_inputs(args, paths, spec)
    listing = listing_of(args, inputs, paths)
    first = list(islice(listing, 1))
    if not (args.allow_empty or first):
        raise UsageError(
            f"--input {' '.join(args.input)} matches no file; --allow-empty makes that no error"
        )
    with ExitStack() as stack:
        with _writable(args.output):
            fingerprint = run.fingerprint = spec.fingerprint(weights.digest)
            job = runner.job(run_id) if runner else None
            before = lost_to(paths, fingerprint, run_id)
            held = stack.enter_context(holding(paths, fingerprint, run_id, job=job, ask=how_job_is))
        note_silent(paths, fingerprint, [before] if before else [])
        stack.enter_context(interruptible())
        runner = runner.with_slots() if runner else None
        workers = (runner.slots if runner else args.workers) or 1
        run.workers = (runner.machines if runner else args.workers) or 1
        plan = _plan(args, paths, inputs, chain(first, listing), spec, weights, run_id, workers)
        run.plan = plan
        with leaving_to_job(paths, held, runner, run_id):
            record = execute(args, paths, plan, spec, weights, beam_options, runner)
        run.record = record
        if record is None:
            run.ending = ("submitted", "its job goes on without this command")
            held.leave()
        return plan, record


@contextmanager
def _writable(output: str) -> Iterator[None]:
    """Let a place where no table can be be an error of the flag that names it."""
    try:
        yield
    except (PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError) as error:
        raise UsageError(f"--output {output}: cannot write a table there: {error}") from None


def _plan(
    args: argparse.Namespace,
    paths: TablePaths,
    inputs: Sequence[Pattern | ListFile],
    found: Iterator[StoredObject],
    spec: EmbeddingSpec,
    weights: Weights,
    run_id: str,
    workers: int,
) -> Plan:
    started_at = datetime.now(timezone.utc).isoformat()
    fingerprint = spec.fingerprint(weights.digest)
    state = repair(paths)
    check_there(args, paths, state, inputs, fingerprint)
    listing = Counted(found)
    known = sum(state.files[path]["rows"] for path in state.ledger(fingerprint))

    def look() -> Steps:
        return Steps(listing.count, known)

    quiet = args.quiet or args.json
    with showing_progress(look, describe_listing, quiet=quiet, after_s=SHOWN_AFTER_S):
        return make_plan(
            paths,
            state,
            listing,
            spec=spec,
            weights_digest=weights.digest,
            root=root_of(args, paths, state, inputs),
            run_id=run_id,
            started_at=started_at,
            rules=rules_of(args, inputs),
            limits=limits_of(args),
            workers=workers,
            compact=args.compact_encoding,
        )


def all_embedded(record: dict[str, Any]) -> bool:
    """Whether every object that a run matched has its windows in the table."""
    return not {FAILED_BEFORE, ABSENT} & record["matched"].keys() and all(
        status in WITH_WINDOWS | {GONE} for status in record["clips"]
    )
