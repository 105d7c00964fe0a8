"""`l3flow study`: its options, checked before anything runs."""

from collections.abc import Sequence

from launch.exits import DONE
from launch.notice import add_notice_flags, notices_of
from launch.options import Parser, add_output_flags, key_value, positive
from launch.quiet import quiet_libraries
from launch.telling import told

DESCRIPTION = """\
Compare embeddings on labelled corpora: embed what is missing, cross-validate each, test what differs.

A plan says what: a TOML file (docs/study.md), or the preset paper, which is the comparison of Cramer et
al. 2019. The result is a page (study.html), its figures as Parquet and CSV, and what l3flow crossval
leaves of each cell. Interrupted, the same command goes on with what is left.

examples:
  l3flow study plan.toml --output result
  l3flow study plan.toml --output result --dry-run
  l3flow study --preset paper --output result --dataset-root esc50=ESC-50-master --skip-missing
  l3flow study --preset paper > paper.toml      # a plan to begin with
"""


def build_parser(prog: str) -> Parser:
    """The options of this command."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    add = parser.add_argument
    add("plan", nargs="?", metavar="PLAN.toml", help="what to compare")
    add("--preset", metavar="NAME", help="paper, instead of a plan; without --output it is printed")
    add("--output", metavar="URI", help="a folder for the results")
    add(
        "--dataset-root",
        action="append",
        type=key_value,
        default=[],
        dest="dataset_roots",
        metavar="NAME=URI",
        help="where a dataset of the plan is",
    )
    add("--skip-missing", action="store_true", help="leave out cells that cannot be made, and say why")
    add("--dry-run", action="store_true", help="say what a run would take, and stop")
    add(
        "--workers",
        type=positive,
        default=1,
        metavar="N",
        help="processes that embed, and then cells that are trained side by side (default 1: this "
        "process, which uses all cores)",
    )
    add("--log-file", metavar="FILE", help="append what libraries say to FILE; it is not shown")
    add_notice_flags(parser)
    add_output_flags(parser)
    return parser


def run(argv: Sequence[str], parser: Parser) -> int:
    """Compare; returns the exit code."""
    args = parser.parse(argv)
    if (args.plan is None) == (args.preset is None):
        parser.error("needs either a PLAN.toml or --preset")
    if args.preset is not None and args.output is None:
        from l3core.study.plan import preset_text
        from launch.options import naming

        with naming("--preset"):
            print(preset_text(args.preset).decode(), end="")
        return DONE
    if args.output is None:
        parser.error("the following arguments are required: --output")
    with told(args, "study", notices_of(args)) as so_far, quiet_libraries(args.log_file):
        from launch.study_plan import planned  # after --help
        from launch.study_run import compare

        plan, paths = planned(args)
        if args.dry_run:
            from launch.study_cost import preview

            preview(args, plan, paths)
        else:
            compare(args, plan, paths, so_far)
    return DONE
