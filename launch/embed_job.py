"""The pipeline of a planned embedding run: what it is given, and where it runs."""

import argparse
import platform
import socket
from collections.abc import Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from l3core import storage
from l3core.errors import RunError
from l3core.loading import without_collection
from l3core.spec import EmbeddingSpec
from l3core.table.commit import commit_run, record_unchanged
from l3core.table.json_objects import read_json
from l3core.table.layout import TablePaths
from l3core.table.pieces import SHARD_BYTES
from l3core.table.planned import Plan
from l3core.table.progress import RunProgress
from l3core.table.rewrite import MOST_SMALL, plan_rewrites, rewrite_files
from l3core.table.state import load_state
from l3core.weights import Weights, to_h5
from launch.runners import Runner
from launch.screen import describe_embedding, showing_progress
from launch.summary import say_submitted
from launch.tables import failure
from launch.words import last_line
from pipelines.job import EmbedJob


def execute(
    args: argparse.Namespace,
    paths: TablePaths,
    plan: Plan,
    spec: EmbeddingSpec,
    weights: Weights,
    beam_options: Sequence[str],
    runner: Runner | None,
) -> dict[str, Any] | None:
    """Do what a plan says, until its commit.

    Args:
        args: of the command.
        paths: of the table.
        plan: of the run.
        spec: what to embed.
        weights: of its model.
        beam_options: further options of Beam.
        runner: what runs the pipeline; None: this process.

    Returns:
        The run record; None if the run goes on without us.

    Raises:
        RunError: the run failed; the message says how the table is.
    """
    info = {
        "command": "embed",
        "input": list(args.input),
        "host": socket.gethostname(),
        "versions": versions(),
        "weights": weights.origin,
        "workers": (runner.machines if runner else args.workers) or 1,
    }
    if plan.empty:
        return record_unchanged(paths, load_state(paths), plan, info)
    if not (plan.to_embed or plan.to_rewrite):  # nothing to compute: no model, no pipeline
        for name in plan_rewrites(paths, plan.run_id):
            rewrite_files(paths, plan.run_id, name)
        return commit_run(paths, plan.run_id, info=info)
    if runner:
        info["job"] = runner.job(plan.run_id)
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
        compact=plan.compact,
        spread_rewrites=plan.to_rewrite > SHARD_BYTES or len(plan.shards) > MOST_SMALL,
        info=info,
        processes=runner.processes if runner else 1,
        gpu_memory_mb=runner.gpu_memory_mb if runner else None,
    )
    shards = [shard.name for shard in plan.to_embed]
    longest = max((shard.estimate for shard in plan.to_embed), default=0)
    longest_s = longest / spec.windows_per_second
    look = RunProgress(paths, plan, hop_s=spec.hop_s or 0.0)
    with showing_progress(look, describe_embedding, quiet=args.quiet or args.json):
        try:
            _run(args, job, shards, beam_options, runner, longest_s)
        except RunError as error:
            raise failure(paths, plan.run_id, last_line(error)) from None
        except Exception as error:  # whatever a worker died of: Beam wraps it in its own words
            raise failure(paths, plan.run_id, last_line(error)) from error
    return None if runner and runner.detach else read_json(paths.record(plan.run_id))


def _run(
    args: argparse.Namespace,
    job: EmbedJob,
    shards: Sequence[str],
    beam_options: Sequence[str],
    runner: Runner | None,
    longest_s: float,
) -> None:
    with without_collection():
        from pipelines.embed import build_pipeline, run_local  # Beam takes a second to load

    if runner is None:
        run_local(job, shards, beam_options, workers=args.workers or 1)
        return
    runner.run(
        partial(build_pipeline, job=job, shards=shards),
        name=runner.job(job.run_id)["name"],
        beam_options=beam_options,
        submitted=partial(say_submitted, args, job.run_id),
        longest_s=longest_s,
    )


def versions() -> dict[str, str]:
    """Of what the embedding depends on, here."""
    found = {"python": platform.python_version()}
    for package in (
        "l3flow",
        "apache-beam",
        "tensorflow",
        "keras",
        "kapre",
        "openvino",
        "soxr",
        "soundfile",
    ):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
