"""Options of a command that runs a pipeline: its own, and Apache Beam's behind them."""

import argparse
from collections.abc import Sequence

from l3core.downloads import limit_downloads
from l3core.durations import limit_durations
from l3core.errors import UsageError
from l3core.storage_options import configure
from launch.dataflow.flags import add_dataflow_flags
from launch.options import Parser
from launch.quiet import quiet_libraries

RUNNERS = ("local", "flink", "dataflow")
DATAFLOW = (
    "project",
    "region",
    "temp_location",
    "sdk_container_image",
    "gpu",
    "mps",
    "machine_type",
    "disk_size",
    "service_account",
    "network",
    "subnetwork",
    "no_public_ips",
    "label",
)
# Flags -> the runners that they need.
NEEDS = {
    "flink_master": ("flink",),
    "flink_environment": ("flink",),
    "flink_job_server_jar": ("flink",),
    "detach": ("flink", "dataflow"),
} | dict.fromkeys(DATAFLOW, ("dataflow",))
# Beam's own flags whose place ours have taken.
OURS = {
    "--flink_master": "--flink-master",
    "--flink_job_server_jar": "--flink-job-server-jar",
    "--environment_type": "--flink-environment",
    "--parallelism": "--workers",
    "--job_name": None,
    "--job_endpoint": None,
}
OURS_ON_DATAFLOW = {
    "--temp_location": "--temp-location",
    "--staging_location": "--temp-location",
    "--sdk_container_image": "--sdk-container-image",
    "--worker_harness_container_image": "--sdk-container-image",
    "--machine_type": "--machine-type",
    "--worker_machine_type": "--machine-type",
    "--disk_size_gb": "--disk-size",
    "--service_account_email": "--service-account",
    "--no_use_public_ips": "--no-public-ips",
    "--use_public_ips": "--no-public-ips",
    "--labels": "--label",
    "--max_num_workers": "--workers",
    "--environment_type": None,
    "--job_name": None,
    "--save_main_session": None,
    "--sdk_location": None,
    "--streaming": None,
    "--template_location": None,
    "--dry_run": None,
    "--update": None,
}


def add_runner_flags(parser: Parser, runners: Sequence[str] = RUNNERS) -> None:
    """`--runner` and what belongs to it, `--log-file`, and a word on Beam's options.

    Args:
        parser: of the command.
        runners: that it has.
    """
    parser.set_defaults(runners=tuple(runners))
    parser.add_argument(
        "--runner",
        default="local",
        metavar="NAME",
        help=f"local: on this machine (default), or {' or '.join(runners[1:])}",
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
    if "dataflow" in runners:
        add_dataflow_flags(parser)
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
    if args.runner not in args.runners:
        raise UsageError(f"--runner must be one of {', '.join(args.runners)}, got {args.runner!r}")
    _refuse_of_others(args, beam_options)
    _refuse_ours(args.runner, beam_options)
    return args, beam_options


def _refuse_of_others(args: argparse.Namespace, beam_options: Sequence[str]) -> None:
    for name, runners in NEEDS.items():
        if getattr(args, name, None) and args.runner not in runners:
            needed = " or ".join(each for each in runners if each in args.runners)
            raise UsageError(f"--{name.replace('_', '-')} needs --runner {needed}")
    if args.runner == "flink":
        return
    for option in beam_options:
        name = option.partition("=")[0]
        if name.startswith("--flink_"):
            hint = f", and there is {OURS[name]} for it" if OURS.get(name) else ""
            raise UsageError(f"{name} of Beam needs --runner flink{hint}")


def _refuse_ours(runner: str, beam_options: Sequence[str]) -> None:
    ours: dict[str, dict[str, str | None]] = {"flink": OURS, "dataflow": OURS_ON_DATAFLOW}
    taken = ours.get(runner, {})
    for option in beam_options:
        name = option.partition("=")[0]
        if name in taken:
            hint = f": use {taken[name]}" if taken[name] else ""
            raise UsageError(f"{name} of Beam is what l3flow sets itself{hint}")


def beam_flags() -> dict[str, bool]:
    """Beam's own flags, and whether they take a value."""
    with quiet_libraries():
        parser = _beam_parser(Parser(prog="l3flow"))
    return {flag: action.nargs != 0 for action in parser._actions for flag in action.option_strings}


def _beam_parser(parser: Parser) -> Parser:
    """Beam's own options, with our errors."""
    from apache_beam.options.pipeline_options import PipelineOptions

    beam = Parser(prog=parser.prog, add_help=False)
    for options in PipelineOptions.__subclasses__():
        options._add_argparse_args(beam)
    return beam
