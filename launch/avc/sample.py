"""`l3flow avc sample`: its options, checked before anything runs."""

from collections.abc import Sequence

from l3core.errors import UsageError
from l3core.table.failures import MOST_STORAGE_ERRORS
from launch.beam_options import add_runner_flags, parse_with_beam
from launch.options import (
    Parser,
    above_zero,
    add_input_flag,
    add_output_flags,
    byte_count,
    most,
    positive,
    whole_number,
)
from launch.places import reach_places
from launch.quiet import quiet_libraries

DESCRIPTION = """\
Cut videos into pairs of a frame and a second of sound: half belong together, half are of two videos.

The result is a corpus: files of pairs (TFRecord) for l3flow avc train, and a ledger with one row per
video. Each video is in one split and gives as many pairs as any other. A second run samples only videos
that are new or changed; interrupted, the same command goes on with what is left.

examples:
  l3flow avc sample --input videos --output pairs
  l3flow avc sample --input 'gs://bucket/videos/**/*.mp4' --output gs://bucket/pairs --workers 8
  l3flow avc sample --input videos --output pairs --subset subset.csv --per-video 32
  l3flow avc sample --input videos --output pairs --limit 100 --dry-run
"""


def build_parser(prog: str) -> Parser:
    """The options of this command."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    add = parser.add_argument
    add_input_flag(
        parser,
        "files, patterns with * ? [] ** (quoted), folders (the videos below them), https:// URLs, or "
        "@LIST",
        required=True,
    )
    add("--output", required=True, metavar="URI", help="the corpus, a folder; made if it is not there")
    add(
        "--root",
        metavar="URI",
        help="ids of videos are paths below it (default: what the inputs share); links that lead out of "
        "it are then not followed, but get their row",
    )
    add(
        "--subset",
        metavar="FILE",
        help="of l3flow avc subset: only its videos, in its splits (default: all, 80/10/10 by --seed)",
    )
    add(
        "--per-video",
        type=positive,
        default=16,
        metavar="N",
        help="pairs for each video, an even number up to 1024 (default 16)",
    )
    add("--seed", type=whole_number, default=0, metavar="N", help="of all that is drawn (default 0)")
    add("--no-augment", action="store_true", help="neither vary pictures nor sounds")
    _add_limits(parser)
    add("--prune", action="store_true", help="drop videos that are no longer there, and their pairs")
    add("--retry-unreadable", action="store_true", help="try unchanged videos again that were bad")
    add("--strict", action="store_true", help="exit with 3 if a video could not be sampled")
    add("--limit", type=positive, metavar="N", help="only the first N videos by path")
    add("--dry-run", action="store_true", help="say what a run would do, and stop")
    add("--allow-empty", action="store_true", help="no matching file is no error")
    add_runner_flags(parser, ("local", "flink"))  # images for Dataflow decode no video yet
    add_output_flags(parser)
    return parser


def _add_limits(parser: Parser) -> None:
    add = parser.add_argument
    add(
        "--workers",
        type=positive,
        metavar="N",
        help="videos that are decoded at the same time, each by a process of its own (default: one for "
        "each core). On Flink: shards that are sampled side by side (default: a cluster's free slots)",
    )
    add(
        "--video-timeout",
        type=above_zero,
        default=300.0,
        metavar="SECONDS",
        help="a video that takes longer is given up (default 300)",
    )
    add(
        "--video-memory",
        type=positive,
        default=4096,
        metavar="MB",
        help="a video that needs more memory is given up (default 4096)",
    )
    add(
        "--max-video-size",
        type=byte_count,
        metavar="SIZE",
        help="a larger file is not read, as 2GB (default: any size)",
    )
    add("--max-download", type=byte_count, metavar="SIZE", help="the same on the web (default 1GB)")
    add(
        "--max-storage-errors",
        type=most,
        default=MOST_STORAGE_ERRORS,
        metavar="N|N%",
        help="videos that the store may fail to give; with more the run fails (default 1%%, or 20)",
    )


def run(argv: Sequence[str], parser: Parser) -> int:
    """Sample; returns the exit code."""
    args, beam_options = parse_with_beam(parser, argv)
    if args.prune and args.limit:
        raise UsageError("--prune needs all of the input, and --limit takes a part of it")
    with quiet_libraries(args.log_file):
        from launch.avc.sample_run import preview, sample_corpus  # after --help
        from launch.runners import check_options, runner_of

        places = {"--output": args.output}
        check_options(args, beam_options, places)
        reach_places({"--output": args.output, "--input": args.input, "--subset": args.subset})
        if args.dry_run:
            return preview(args)
        return sample_corpus(args, beam_options, runner_of(args, beam_options, places))
