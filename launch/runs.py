"""`l3flow runs`: what each run of a table did, and how fast."""

import argparse
import json
from collections.abc import Sequence
from typing import Any

from launch.options import Parser, add_output_flags, add_table_flag, writing_to
from launch.words import duration, printable, size

DESCRIPTION = """\
List the runs of a table, oldest first.

examples:
  l3flow runs --table table
  l3flow runs --table table --json
  l3flow runs --table table --plot runs.html
  l3flow runs --table table --job 3f5bb0f1f6a1b0f4c8a9f0e1d2c3b4a5    # follow a detached one
"""

COLUMNS = ("run", "spec", "took", "files", "windows", "windows/s", "x real time", "written")


def build_parser(prog: str) -> Parser:
    """The options of this command."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    add_table_flag(parser)
    parser.add_argument(
        "--spec", metavar="FP", help="only runs of this spec (a fingerprint's beginning)"
    )
    parser.add_argument(
        "--job",
        metavar="ID",
        help="follow a run that was detached: Flink's id of its job, or the run's own",
    )
    parser.add_argument("--plot", metavar="FILE", help="write a page with charts over time, HTML")
    add_output_flags(parser)
    return parser


def run(argv: Sequence[str], parser: Parser) -> int:
    """List the runs; returns the exit code."""
    args = parser.parse(argv)
    from l3core import storage
    from l3core.table.json_objects import read_json
    from launch.places import reach_places
    from launch.tables import open_table

    reach_places({"--plot": args.plot})
    if args.job:
        return _follow(args)
    paths, _ = open_table(args)
    names = storage.names_below(paths.runs, suffix=".json")
    records = [read_json(storage.join(paths.runs, name)) for name in names]
    records = [record for record in records if record["fingerprint"].startswith(args.spec or "")]
    records.sort(key=lambda record: (record["commit"], record["committed_at"]))
    if args.plot:
        _write_page(args.plot, paths.root, records)
    if args.json:
        print(json.dumps(records, indent=1, sort_keys=True))
    elif args.plot:
        if not args.quiet:
            print(f"{len(records)} runs: {printable(args.plot)}")
    elif not args.quiet:
        _print_table(records)
    return 0


def _follow(args: argparse.Namespace) -> int:
    from launch.follow import follow_job
    from launch.tables import table_of

    record = follow_job(table_of(args), args.job, quiet=args.quiet or args.json)
    if args.json:
        print(json.dumps(record, indent=1, sort_keys=True))
    elif not args.quiet:
        _print_table([record])
    return 0


def _write_page(file: str, table: str, records: Sequence[dict[str, Any]]) -> None:
    from l3core import storage
    from l3core.reports.runs import runs_page

    page = runs_page(printable(table), records, COLUMNS, [_row(record) for record in records])
    with writing_to("--plot", file):
        storage.write_bytes(file, page.encode())


def _row(record: dict[str, Any]) -> tuple[str, ...]:
    """A run in words, one for each of `COLUMNS`."""
    clips = sorted(record["clips"].items(), key=lambda item: (item[0] != "ok", item[0]))
    return (
        record["run_id"],
        record["fingerprint"],
        duration(record["wall_s"]),
        ", ".join(f"{count} {status}" for status, count in clips) or _without_clips(record),
        str(record["windows"]),
        f"{record['windows_per_s']:.0f}",
        f"{record['x_real_time']:.0f}",
        size(record["bytes_written"]),
    )


def _without_clips(record: dict[str, Any]) -> str:
    return "nothing to do" if record["command"] == "embed" else str(record["command"])


def _print_table(records: Sequence[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*COLUMNS, box=None, pad_edge=False)
    for record in records:
        table.add_row(*_row(record))
    # a line a run, however narrow the screen: the terminal wraps it, and nothing is cut off
    Console(width=max(200, Console().width)).print(table, crop=False)
