"""`l3flow crossval`: its options, checked before anything runs."""

from collections.abc import Sequence

from launch.beam_options import add_runner_flags, parse_with_beam
from launch.exits import DONE
from launch.notice import add_notice_flags, notices_of
from launch.options import Parser, add_output_flags, positive, whole_number
from launch.places import reach_places
from launch.quiet import quiet_libraries
from launch.telling import told

DESCRIPTION = """\
Train the paper's classifier on a labelled corpus and cross-validate it, from a feature table.

Each fold of the corpus is tested once by a model that never heard it. The result is a page
(report.html), the figures (summary.json), tables of predictions, splits and trials, and the models.

protocols:
  clean   validates with whole source recordings that the training has not heard (default)
  paper   as the code of Cramer et al. 2019: validates on windows of the training clips, which leaks

examples:
  l3flow crossval --dataset esc10 --dataset-root ESC-50-master --table table --output result
  l3flow crossval --dataset urbansound8k --dataset-root gs://bucket/UrbanSound8K --table table \\
      --output result --folds 1 2 --dry-run
  l3flow crossval --dataset esc50 --dataset-root ESC-50-master --table table --output paper \\
      --protocol paper
  l3flow crossval --dataset esc10 --dataset-root ESC-50-master --table table --output result --final

Interrupted, the same command goes on with the folds that are left.
"""

LARGEST_BATCH = 65_536  # far beyond what learns


def build_parser(prog: str) -> Parser:
    """The options of this command."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    add = parser.add_argument
    add("--dataset", required=True, metavar="NAME", help="see l3flow datasets")
    add("--dataset-root", required=True, metavar="URI", help="where its labels and audio are")
    add("--table", required=True, metavar="URI", help="the feature table that l3flow embed made")
    add("--spec", metavar="FP", help="which embedding, if the table has several")
    add("--output", required=True, metavar="URI", help="a folder for the results")
    add("--protocol", default="clean", metavar="NAME", help="clean or paper (default clean)")
    add(
        "--folds",
        nargs="+",
        action="extend",
        type=whole_number,
        metavar="N",
        help="test only these folds",
    )
    add("--repeats", type=positive, metavar="N", help="trainings of each fold (default: the protocol's)")
    add("--final", action="store_true", help="also train a model on all folds, for l3flow classify")
    add("--seed", type=whole_number, default=0, metavar="N", help="of all that is drawn (default 0)")
    add(
        "--batch-size",
        type=positive,
        metavar="N",
        help="windows in a step (default: the protocol's; paper 32, clean 32 to 256)",
    )
    add("--epochs", type=positive, default=50, metavar="N", help="at most (default 50)")
    add("--allow-partial", action="store_true", help="do with the clips that are there")
    add("--dry-run", action="store_true", help="say what a run would take, and stop")
    add(
        "--workers",
        type=positive,
        metavar="N",
        help="folds that are trained side by side, on Flink (default: a cluster's free slots)",
    )
    add_runner_flags(parser, ("local", "flink"))
    add_notice_flags(parser)
    add_output_flags(parser)
    return parser


def run(argv: Sequence[str], parser: Parser) -> int:
    """Cross-validate; returns the exit code."""
    args, beam_options = parse_with_beam(parser, argv)
    if args.batch_size is not None and args.batch_size > LARGEST_BATCH:
        parser.error(f"--batch-size needs at most {LARGEST_BATCH}, got {args.batch_size}")
    if args.workers and args.runner == "local":
        parser.error("--workers needs --runner flink: here one training uses all cores")
    if args.seed < 0:
        parser.error(f"--seed needs a number of at least 0, got {args.seed}")
    with told(args, "crossval", notices_of(args)) as so_far, quiet_libraries(args.log_file):
        from launch.crossval_run import crossvalidate, preview  # after --help
        from launch.runners import runner_of

        reach_places(
            {"--dataset-root": args.dataset_root, "--table": args.table, "--output": args.output}
        )
        if args.dry_run:
            preview(args)
        else:
            places = {"--table": args.table, "--output": args.output}
            crossvalidate(args, beam_options, runner_of(args, beam_options, places), so_far)
    return DONE
