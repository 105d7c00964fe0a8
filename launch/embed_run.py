"""A run of `l3flow embed`: plan, pipeline, commit."""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from itertools import chain, islice
from typing import Any

from l3core import storage
from l3core.containment import contained
from l3core.embedding import Embedder
from l3core.errors import TableError, UsageError
from l3core.listing import ListFile, Pattern, common_root, list_inputs, parse_input
from l3core.spec import EmbeddingSpec
from l3core.speed import windows_per_second
from l3core.storage import StoredObject
from l3core.table.delta import ABSENT, FAILED_BEFORE, Rules
from l3core.table.failed import note_silent
from l3core.table.journal import repair
from l3core.table.layout import GONE, WITH_WINDOWS, TablePaths
from l3core.table.ledger import read_known
from l3core.table.limits import Limits
from l3core.table.lock import holding, lost_to
from l3core.table.plan import make_plan
from l3core.table.planned import Plan
from l3core.table.preview import Preview, preview_run
from l3core.table.read import following_commits
from l3core.table.state import TableState
from l3core.weights import Weights, load_weights
from launch.embed_job import execute
from launch.ending import after_interrupt, leaving_to_job
from launch.exits import DONE, STRICT
from launch.options import naming
from launch.runners import Runner, Where, how_job_is
from launch.screen import (
    SHOWN_AFTER_S,
    Counted,
    Steps,
    describe_listing,
    showing_progress,
)
from launch.signals import Interrupted, interruptible
from launch.summary import print_json, print_preview, print_preview_json, print_summary
from launch.tables import saying_how_it_is
from launch.telling import RunSoFar

TIMED_S = 4.0  # of the model, in a dry run


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
    inputs, weights = _open(args, paths, spec)
    listing = _listing(args, inputs, paths)
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
    _check_there(args, paths, state, inputs, fingerprint)
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
            root=_root(args, paths, state, inputs),
            run_id=run_id,
            started_at=started_at,
            rules=_rules(args, inputs),
            limits=_limits(args),
            workers=workers,
            compact=args.compact_encoding,
        )


def _check_there(
    args: argparse.Namespace,
    paths: TablePaths,
    state: TableState,
    inputs: Sequence[Pattern | ListFile],
    fingerprint: str,
) -> None:
    """Refuse inputs that cannot be there: misspelt ones, or a folder that is not mounted tonight.

    A file or folder that is spelt out and was embedded before is gone, and no error.
    """
    for each in inputs:
        if args.allow_empty or not isinstance(each, Pattern) or each.is_there:
            continue
        ledger = read_known(paths, state.ledger(fingerprint)) if each.spelt_out else ()
        if not any(each.names(row.uri) for row in ledger):
            raise UsageError(
                f"--input {each.text}: there is no {each.needed}; --allow-empty makes that no error"
            )


def _rules(args: argparse.Namespace, inputs: Sequence[Pattern | ListFile]) -> Rules:
    def named(uri: str) -> bool:
        return any(each.names(uri) for each in inputs)

    return Rules(
        named=named if args.limit is None else None,  # else the listing is not complete
        full=args.full,
        retry_unreadable=args.retry_unreadable,
        verify_content=args.verify_content,
        prune=args.prune,
    )


def _limits(args: argparse.Namespace) -> Limits:
    return Limits(
        allow_shrink=args.allow_shrink,
        max_rewrite=args.max_rewrite,
        max_storage_errors=args.max_storage_errors,
        max_unreadable=args.max_unreadable,
    )


def preview_table(
    args: argparse.Namespace, paths: TablePaths, spec: EmbeddingSpec, where: Where | None
) -> None:
    """Say what a run would do, where, and how long it would take here; writes nothing."""
    preview, weights = preview_inputs(args, paths, spec)
    speed = None
    if preview.windows:
        speed = windows_per_second(Embedder(spec, weights=weights), seconds=TIMED_S)
    if args.json:
        print_preview_json(paths, preview, speed, where)
    else:
        print_preview(paths, spec, preview, speed, where)


def preview_inputs(
    args: argparse.Namespace, paths: TablePaths, spec: EmbeddingSpec
) -> tuple[Preview, Weights]:
    """What a run would do, and the weights that it would do it with."""
    inputs, weights = _open(args, paths, spec)
    fingerprint = spec.fingerprint(weights.digest)

    def look(state: TableState) -> Preview:
        _check_there(args, paths, state, inputs, fingerprint)
        return preview_run(
            paths,
            state,
            _listing(args, inputs, paths),
            spec=spec,
            fingerprint=fingerprint,
            root=_root(args, paths, state, inputs),
            rules=_rules(args, inputs),
            limits=_limits(args),
        )

    # `repair`: what another run has committed is no change of this one's
    return following_commits(paths, look, repair), weights


def _open(
    args: argparse.Namespace, paths: TablePaths, spec: EmbeddingSpec
) -> tuple[list[Pattern | ListFile], Weights]:
    """The inputs and the weights that the options name."""
    with naming("--input"):
        inputs = [parse_input(text) for text in args.input]
    if not storage.is_folder_or_absent(paths.root):
        raise UsageError(f"--output {args.output} is a file; a table needs a folder")
    return inputs, load_weights(spec)


def _listing(
    args: argparse.Namespace, inputs: Sequence[Pattern | ListFile], paths: TablePaths
) -> Iterator[StoredObject]:
    """The input; a table that lies among it is none of it."""
    own = paths.root + "/"
    found = (each for each in list_inputs(inputs, paths.root) if not each.uri.startswith(own))
    root = _given_root(args)
    return islice(found if root is None else contained(found, root), args.limit)


def all_embedded(record: dict[str, Any]) -> bool:
    """Whether every object that a run matched has its windows in the table."""
    return not {FAILED_BEFORE, ABSENT} & record["matched"].keys() and all(
        status in WITH_WINDOWS | {GONE} for status in record["clips"]
    )


def _root(
    args: argparse.Namespace,
    paths: TablePaths,
    state: TableState,
    inputs: Sequence[Pattern | ListFile],
) -> str:
    given = _given_root(args)
    if state.root is None:
        if storage.is_object(paths.table):
            raise TableError(
                f"{paths.root} has a table.json and no journal: restore its _l3flow folder "
                "from where it was copied, or name another --output"
            )
        return common_root(inputs) if given is None else given
    if given is not None and given != state.root:
        raise UsageError(f"--root {given}: this table's root is {state.root}, and a table has one")
    return state.root


def _given_root(args: argparse.Namespace) -> str | None:
    with naming("--root"):
        return storage.absolute_folder(args.root) if args.root else None
