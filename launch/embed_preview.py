"""`l3flow embed --dry-run`: what a run would do and take; writes nothing."""

import argparse

from l3core.embedding import Embedder
from l3core.spec import EmbeddingSpec
from l3core.speed import windows_per_second
from l3core.table.journal import repair
from l3core.table.layout import TablePaths
from l3core.table.preview import Preview, preview_run
from l3core.table.read import following_commits
from l3core.table.state import TableState
from l3core.weights import Weights
from launch.embed_options import check_there, limits_of, listing_of, open_inputs, root_of, rules_of
from launch.runners import Where
from launch.summary import print_preview, print_preview_json

TIMED_S = 4.0  # of the model, in a dry run


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
    inputs, weights = open_inputs(args, paths, spec)
    fingerprint = spec.fingerprint(weights.digest)

    def look(state: TableState) -> Preview:
        check_there(args, paths, state, inputs, fingerprint)
        return preview_run(
            paths,
            state,
            listing_of(args, inputs, paths),
            spec=spec,
            fingerprint=fingerprint,
            root=root_of(args, paths, state, inputs),
            rules=rules_of(args, inputs),
            limits=limits_of(args),
        )

    # `repair`: what another run has committed is no change of this one's
    return following_commits(paths, look, repair), weights
