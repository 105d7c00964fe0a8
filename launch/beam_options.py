"""Options of a command that runs a pipeline: its own, and Apache Beam's behind them."""

import argparse
from collections.abc import Sequence

from l3core.downloads import limit_downloads
from l3core.durations import limit_durations
from l3core.errors import UsageError
from l3core.storage_options import configure
from launch.options import Parser
from launch.quiet import quiet_libraries

RUNNERS = ("local", "flink")
# Beam's own flags whose place ours have taken.
OURS = {
    "--flink_master": "--flink-master",
    "--flink_job_server_jar": "--flink-job-server-jar",
    "--environment_type": "--flink-environment",
    "--parallelism": "--workers",
    "--job_name": None,
    "--job_endpoint": None,
}


def add_runner_flags(parser: Parser) -> None:
    """`--runner` and what belongs to it, `--log-file`, and a word on Beam's options."""
    parser.add_argument(
        "--runner", default="local", metavar="NAME", help="local: on this machine (default), or flink"
    )
    flink = parser.add_argument_group("Flink", "With --runner flink.")
    flink.add_argument(
        "--flink-master",
        metavar="WHERE",
        help="local: inside this run (default); or HOST:PORT of a cluster's REST interface",
    )
    flink.add_argument(
        "--flink-environment",
        metavar="WHERE",
        help="where Python runs: loopback, in this process (default of local); process, started by "
        "TaskManagers (default of a cluster); external, by a worker pool",
    )
    flink.add_argument(
        "--flink-job-server-jar",
        metavar="FILE",
        help="default: what l3flow flink install has made, else Beam's own download",
    )
    flink.add_argument(
        "--detach", action="store_true", help="come back when a cluster has the job, which goes on"
    )
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
    limit_durations(getattr(args, "max_duration", None))
    if args.runner not in RUNNERS:
        raise UsageError(f"--runner must be one of {', '.join(RUNNERS)}, got {args.runner!r}")
    if args.runner != "flink":
        _refuse_flink(args, beam_options)
    else:
        _refuse_ours(beam_options)
    return args, beam_options


def _refuse_flink(args: argparse.Namespace, beam_options: Sequence[str]) -> None:
    for name in ("flink_master", "flink_environment", "flink_job_server_jar", "detach"):
        if getattr(args, name):
            raise UsageError(f"--{name.replace('_', '-')} needs --runner flink")
    for option in beam_options:
        name = option.partition("=")[0]
        if name.startswith("--flink_"):
            hint = f", and there is {OURS[name]} for it" if OURS.get(name) else ""
            raise UsageError(f"{name} of Beam needs --runner flink{hint}")


def _refuse_ours(beam_options: Sequence[str]) -> None:
    for option in beam_options:
        name = option.partition("=")[0]
        if name in OURS:
            hint = f": use {OURS[name]}" if OURS[name] else ""
            raise UsageError(f"{name} of Beam is what l3flow sets itself{hint}")


def _beam_parser(parser: Parser) -> Parser:
    """Beam's own options, with our errors."""
    from apache_beam.options.pipeline_options import PipelineOptions

    beam = Parser(prog=parser.prog, add_help=False)
    for options in PipelineOptions.__subclasses__():
        options._add_argparse_args(beam)
    return beam
