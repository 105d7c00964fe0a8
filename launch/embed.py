"""`l3flow embed`: its options, checked before anything runs."""

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from l3core.ahead import IO_CONCURRENCY
from l3core.engines import check_installed
from l3core.errors import BusyError, UsageError
from l3core.spec import EmbeddingSpec
from l3core.table.failures import MOST_STORAGE_ERRORS
from launch.beam_options import add_runner_flags, parse_with_beam
from launch.exits import DONE
from launch.notice import add_notice_flags, notices_of
from launch.options import (
    Parser,
    add_input_flag,
    add_limit_flags,
    add_output_flags,
    add_spec_flags,
    byte_count,
    most,
    positive,
    say_hop,
    spec_of,
)
from launch.places import reach_places
from launch.quiet import quiet_libraries
from launch.telling import RunSoFar, told

if TYPE_CHECKING:
    from launch.runners import Runner

DESCRIPTION = """\
Embed audio into a feature table: one row per window, and a ledger with one row per file.

A second run into the same table embeds only files that are new or changed.

examples:
  l3flow embed --input 'corpus/**/*.wav' --output table --model edgel3-sea-64
  l3flow embed --input corpus --output table --prune --if-running skip    # every night
  l3flow embed --input a.flac 'more/*.ogg' --output table --hop 0.5 --embedding-size 512
  l3flow embed --input corpus --output table --weights my_weights.h5 --content env
  l3flow embed --input @list.txt --output table --limit 100 --dry-run
  l3flow embed --input @urls.txt --output table --max-download 200MB
  l3flow embed --input 'corpus/*.wav' --output table --weights random:0 --json
  l3flow embed --input corpus --output table --grid dense --hop 0.1     # many times faster
  l3flow embed --input corpus --output table --runner flink --flink-master localhost:8081
  l3flow embed --input gs://birds/corpus --output gs://birds/table --runner dataflow --gpu l4 \\
      --project my-project --region us-central1 --temp-location gs://birds/temp \\
      --sdk-container-image IMAGE --detach
"""


def build_parser(prog: str) -> Parser:
    """The options of this command."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    add = parser.add_argument
    add_input_flag(
        parser,
        "files, patterns with * ? [] ** (quoted), folders (the audio files below them), https:// "
        "URLs, or @LIST",
        required=True,
    )
    add("--output", required=True, metavar="URI", help="the table, a folder; made if it is not there")
    add(
        "--root",
        metavar="URI",
        help="clip ids are paths below it (default: what the inputs share); links that lead out of it "
        "are then not followed, but get their row",
    )
    add_limit_flags(parser)
    add_runner_flags(parser)
    add(
        "--workers",
        type=positive,
        metavar="N",
        help="processes that embed, each with its model and its share of the shards; what fails in one "
        "is told when the others are done (default 1: this process, whose model uses all cores). A "
        "machine with GPUs: threads of this process instead, which share a model for each GPU. On "
        "Flink: shards that are embedded side by side (default: a cluster's free slots). On Dataflow: "
        "machines at most (default 4)",
    )
    add(
        "--io-concurrency",
        type=positive,
        default=IO_CONCURRENCY,
        metavar="N",
        help=f"objects that a worker reads from a store at the same time (default {IO_CONCURRENCY})",
    )
    add("--if-running", choices=("fail", "skip"), default="fail", help="when another run is at work")
    add("--full", action="store_true", help="embed unchanged files again, too")
    add("--retry-unreadable", action="store_true", help="try unchanged files again that were unreadable")
    add("--verify-content", action="store_true", help="compare contents, not modification times")
    add("--prune", action="store_true", help="drop the windows of files that are no longer there")
    add("--allow-shrink", action="store_true", help="let --prune drop more than a tenth of the table")
    add(
        "--max-rewrite",
        type=byte_count,
        metavar="SIZE",
        help="windows files that may be rewritten, as 20GB (default: half of the spec's, and 10GB)",
    )
    add(
        "--max-storage-errors",
        type=most,
        default=MOST_STORAGE_ERRORS,
        metavar="N|N%",
        help="objects that the store may fail to give; with more the run fails (default 1%%, or 20)",
    )
    add(
        "--max-unreadable",
        type=most,
        metavar="N|N%",
        help="files that may turn out to hold nothing that can be read; with more the run fails before "
        "its commit (default: any number)",
    )
    add(
        "--compact-encoding",
        action=argparse.BooleanOptionalAction,
        help="write vectors as BYTE_STREAM_SPLIT: smaller and faster to read, but not by fastparquet "
        "(default: as the spec's files are)",
    )
    add("--strict", action="store_true", help="exit with 3 if a file could not be read")
    add("--limit", type=positive, metavar="N", help="only the first N files by path")
    add("--dry-run", action="store_true", help="say what a run would do and how long it would take")
    add("--allow-empty", action="store_true", help="no matching file is no error")
    add_spec_flags(parser)
    add_notice_flags(parser)
    add_output_flags(parser)
    return parser


class Checked(NamedTuple):
    """A command line of which all was checked that can be before anything is read or asked."""

    args: argparse.Namespace
    beam_options: list[str]
    spec: EmbeddingSpec


def check(argv: Sequence[str], parser: Parser) -> Checked:
    """Parse and check a command line, here or for a schedule.

    Raises:
        UsageError: what is wrong with it.
    """
    args, beam_options = parse_with_beam(parser, argv)
    return Checked(args, beam_options, _spec(args))


def _spec(args: argparse.Namespace) -> EmbeddingSpec:
    if args.prune and args.limit:
        raise UsageError("--prune needs all of the input, and --limit takes a part of it")
    return spec_of(args)


def run(
    argv: Sequence[str],
    parser: Parser,
    *,
    adapt: Callable[["Runner | None"], "Runner | None"] | None = None,
) -> int:
    """Embed; returns the exit code.

    Args:
        argv: options.
        parser: of this command.
        adapt: gives the runner that takes the place of the one that the options mean.
    """
    args, beam_options = parse_with_beam(parser, argv)
    with told(args, "embed", notices_of(args)) as so_far:
        spec = _spec(args)
        say_hop(args, spec)
        with quiet_libraries(args.log_file):
            return _embed(args, spec, beam_options, so_far, adapt)


def _embed(
    args: argparse.Namespace,
    spec: EmbeddingSpec,
    beam_options: Sequence[str],
    so_far: RunSoFar,
    adapt: Callable[["Runner | None"], "Runner | None"] | None,
) -> int:
    from launch.embed_preview import preview_table  # after --help
    from launch.embed_run import embed_table
    from launch.runners import check_options, runner_of, where_of
    from launch.summary import say_skipped
    from launch.tables import table_at

    places = {"--output": args.output}
    check_options(args, beam_options, places)
    reach_places(places)
    paths = so_far.paths = table_at("--output", args.output)
    reach_places({"--input": args.input, "--weights": args.weights})
    if args.dry_run:
        where = where_of(args, beam_options, places)
        reach_places({"--temp-location": args.temp_location})
        preview_table(args, paths, spec, where)
        return DONE
    runner = runner_of(args, beam_options, places)
    runner = adapt(runner) if adapt else runner
    if runner is None:
        check_installed(spec.engine)
    try:
        embed_table(args, paths, spec, beam_options, runner, so_far)
    except BusyError as error:
        if args.if_running == "fail":
            raise
        say_skipped(args, error)
        so_far.ending = ("skipped", str(error))
    return so_far.code
