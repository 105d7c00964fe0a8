"""Options of a command that runs a pipeline: its own, and Apache Beam's behind them."""

import argparse
from collections.abc import Sequence

from l3core.downloads import limit_downloads
from l3core.errors import UsageError
from l3core.storage_options import configure
from launch.options import Parser
from launch.quiet import quiet_libraries

RUNNERS = ("local",)


def add_runner_flags(parser: Parser) -> None:
    """`--runner` and `--log-file`, and a word on Beam's options."""
    parser.add_argument("--runner", default="local", metavar="NAME", help="local: on this machine")
    parser.add_argument(
        "--log-file", metavar="FILE", help="append what libraries say to FILE; it is not shown"
    )
    parser.epilog = "Options of Apache Beam may follow; they are handed to the runner."


def parse_with_beam(parser: Parser, argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The command's own options, and those for the runner.

    Raises:
        UsageError: a runner that there is not.
    """
    if strangers := parser.strangers(argv):
        # before parsing, or a misspelt --input would be told as a missing one
        with quiet_libraries():
            if unknown := _beam_parser(parser).strangers(strangers):
                parser.refuse(unknown, _beam_parser(parser).flags())
    args, beam_options = parser.parse_known_args(argv)
    if beam_options:
        with quiet_libraries():
            _, left = _beam_parser(parser).parse_known_args(beam_options)
        if left:
            parser.refuse(left)
    configure(args.storage_option)
    limit_downloads(getattr(args, "max_download", None))
    if args.runner not in RUNNERS:
        raise UsageError(f"--runner must be one of {', '.join(RUNNERS)}, got {args.runner!r}")
    return args, beam_options


def _beam_parser(parser: Parser) -> Parser:
    """Beam's own options, with our errors."""
    from apache_beam.options.pipeline_options import PipelineOptions

    beam = Parser(prog=parser.prog, add_help=False)
    for options in PipelineOptions.__subclasses__():
        options._add_argparse_args(beam)
    return beam
