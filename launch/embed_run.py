"""A run of `l3flow embed`: plan, pipeline, commit."""

import argparse
import platform
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from itertools import chain, islice
from typing import Any

from l3core import storage
from l3core.containment import contained
from l3core.embedding import Embedder
from l3core.errors import RunError, TableError, UsageError
from l3core.listing import ListFile, Pattern, common_root, list_inputs, parse_input
from l3core.loading import without_collection
from l3core.spec import EmbeddingSpec
from l3core.speed import windows_per_second
from l3core.storage import StoredObject
from l3core.table.commit import commit_run, record_unchanged
from l3core.table.delta import ABSENT, FAILED_BEFORE, Rules
from l3core.table.journal import repair
from l3core.table.json_objects import read_json
from l3core.table.layout import GONE, WITH_WINDOWS, TablePaths
from l3core.table.ledger import read_known
from l3core.table.limits import Limits
from l3core.table.lock import holding
from l3core.table.pieces import SHARD_BYTES
from l3core.table.plan import Plan, make_plan
from l3core.table.preview import Preview, preview_run
from l3core.table.progress import RunProgress
from l3core.table.read import following_commits
from l3core.table.rewrite import MOST_SMALL, plan_rewrites, rewrite_files
from l3core.table.state import TableState, load_state
from l3core.weights import Weights, load_weights, to_h5
from launch.options import naming
from launch.screen import (
    SHOWN_AFTER_S,
    Counted,
    Steps,
    describe_embedding,
    describe_listing,
    showing_progress,
)
from launch.signals import Interrupted, interruptible
from launch.summary import print_json, print_preview, print_preview_json, print_summary
from launch.tables import failure, new_run_id, saying_how_it_is, table_at
from launch.words import last_line
from pipelines.job import EmbedJob

TIMED_S = 4.0  # of the model, in a dry run


def embed_table(
    args: argparse.Namespace,
    spec: EmbeddingSpec,
    beam_options: Sequence[str],
) -> dict[str, Any]:
    """Plan, embed, commit and say what became of the input; returns the run record.

    Raises:
        BusyError: another run is working on the same table and spec.
        RunError: the run failed; the message says how the table is.
    """
    paths, run_id = table_at("--output", args.output), new_run_id()
    try:
        with saying_how_it_is(paths, run_id):
            plan, record = _embed(args, paths, spec, beam_options, run_id)
    except KeyboardInterrupt:
        raise Interrupted(_after_interrupt(paths, run_id)) from None
    if args.json:
        print_json(paths, record)
    elif not args.quiet:
        print_summary(paths, spec, plan, record)
    return record


def _embed(
    args: argparse.Namespace,
    paths: TablePaths,
    spec: EmbeddingSpec,
    beam_options: Sequence[str],
    run_id: str,
) -> tuple[Plan, dict[str, Any]]:
    inputs, weights = _open(args, paths, spec)
    listing = _listing(args, inputs, paths)
    first = list(islice(listing, 1))
    if not (args.allow_empty or first):
        raise UsageError(
            f"--input {' '.join(args.input)} matches no file; --allow-empty makes that no error"
        )
    with ExitStack() as stack:
        with _writable(args.output):
            stack.enter_context(holding(paths, spec.fingerprint(weights.digest), run_id))
        stack.enter_context(interruptible())
        plan = _plan(args, paths, inputs, chain(first, listing), spec, weights, run_id)
        return plan, _execute(args, paths, plan, spec, weights, beam_options)


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
            workers=args.workers,
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
    )


def preview_table(args: argparse.Namespace, spec: EmbeddingSpec) -> None:
    """Say what a run would do and how long it would take; writes nothing."""
    paths = table_at("--output", args.output)
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
    preview = following_commits(paths, look, repair)
    speed = None
    if preview.windows:
        speed = windows_per_second(Embedder(spec, weights=weights), seconds=TIMED_S)
    if args.json:
        print_preview_json(paths, preview, speed)
    else:
        print_preview(paths, spec, preview, speed)


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


def _after_interrupt(paths: TablePaths, run_id: str) -> str:
    """Finish a publication that had begun; how the table is."""
    pending = load_state(paths).pending
    if pending is not None and pending["record"]["run_id"] == run_id:
        repair(paths)
        return f"interrupted while publishing: that was finished, the table is at run {run_id}"
    if storage.is_object(paths.record(run_id)):
        return f"interrupted after the commit: the table is at run {run_id}"
    return "interrupted; the table is as it was, the next run takes over the shards that are finished"


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


def _execute(
    args: argparse.Namespace,
    paths: TablePaths,
    plan: Plan,
    spec: EmbeddingSpec,
    weights: Weights,
    beam_options: Sequence[str],
) -> dict[str, Any]:
    info = {
        "command": "embed",
        "input": list(args.input),
        "host": socket.gethostname(),
        "versions": _versions(),
        "weights": weights.origin,
    }
    if plan.empty:
        return record_unchanged(paths, load_state(paths), plan, info)
    if not (plan.to_embed or plan.to_rewrite):  # nothing to compute: no model, no pipeline
        for name in plan_rewrites(paths, plan.run_id):
            rewrite_files(paths, plan.run_id, name)
        return commit_run(paths, plan.run_id, info=info)
    weights_uri = paths.weights(weights.digest)
    if not storage.is_object(weights_uri):
        layers = spec.network.layer_shapes(spec)
        storage.write_bytes(weights_uri, to_h5(weights, layers))
    job = EmbedJob(
        table=paths.root,
        run_id=plan.run_id,
        fingerprint=plan.fingerprint,
        spec=plan.spec,
        weights=weights_uri,
        io_concurrency=args.io_concurrency,
        max_storage_errors=plan.max_storage_errors,
        spread_rewrites=plan.to_rewrite > SHARD_BYTES or len(plan.shards) > MOST_SMALL,
        info=info,
    )
    with without_collection():
        from pipelines.embed import run_local  # Beam takes a second to load

    shards = [shard.name for shard in plan.to_embed]
    look = RunProgress(paths, plan, hop_s=spec.hop_s or 0.0)
    with showing_progress(look, describe_embedding, quiet=args.quiet or args.json):
        try:
            run_local(job, shards, beam_options, workers=args.workers)
        except RunError:
            raise
        except Exception as error:  # whatever a worker died of: Beam wraps it in its own words
            raise failure(paths, plan.run_id, last_line(error)) from error
    return read_json(paths.record(plan.run_id))


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("l3flow", "apache-beam", "tensorflow", "keras", "kapre", "soxr", "soundfile"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
