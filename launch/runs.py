"""`l3flow runs`: what each run of a table did, and how fast."""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from l3core.errors import UsageError
from launch.options import Parser, above_zero, add_output_flags, add_table_flag, naming, writing_to
from launch.output import screen_of
from launch.words import duration, printable, problem_of, rounding_in_words, size

DESCRIPTION = """\
List the runs of a table, oldest first.

examples:
  l3flow runs --table table
  l3flow runs --table table --json
  l3flow runs --table table --plot runs.html --price 1.20
  l3flow runs --table table --job 3f5bb0f1f6a1b0f4c8a9f0e1d2c3b4a5    # follow a detached one
"""

LONGEST_SHOWN = 160  # of a failure; all of it with --json
COLUMNS = (
    "run",
    "spec",
    "took",
    "files",
    "audio",
    "windows",
    "windows/s",
    "x real time",
    "written",
    "off float32",
    "why",
)
OPTIONAL = ("off float32", "why")  # shown if any run has them


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
        help="follow a run that was detached: Flink's or Dataflow's id of its job, or the run's",
    )
    parser.add_argument("--plot", metavar="FILE", help="write a page with charts over time, HTML")
    parser.add_argument(
        "--price",
        type=above_zero,
        metavar="PER_HOUR",
        help="of one worker, for the page's chart of cost; without it hours are shown",
    )
    add_output_flags(parser)
    return parser


def run(argv: Sequence[str], parser: Parser) -> int:
    """List the runs; returns the exit code."""
    args = parser.parse(argv)
    from launch.places import reach_places

    reach_places({"--plot": args.plot})
    if args.job:
        return _follow(args)
    if args.price and not args.plot:
        raise UsageError("--price needs --plot")
    table, records = _read(args)
    if args.plot:
        _write_page(args.plot, table, records, args.price)
    if args.json:
        print(json.dumps(records, indent=1, sort_keys=True))
    elif args.plot:
        if not args.quiet:
            runs = "run" if len(records) == 1 else "runs"
            print(f"{len(records)} {runs}: {printable(args.plot)}")
    elif not args.quiet:
        _print_table(records)
    return 0


def _read(args: argparse.Namespace) -> tuple[str, list[dict[str, Any]]]:
    """The table, and its runs: those that committed in the order of their commits, failures by time."""
    import heapq

    from l3core import storage
    from l3core.table.failed import ended_at, failed_runs
    from l3core.table.journal import repair
    from l3core.table.json_objects import read_json
    from l3core.table.state import existing
    from launch.tables import refuse_within, table_of

    paths = table_of(args)
    if args.plot:
        refuse_within("--plot", args.plot, paths)
    with naming("--table"):
        state = repair(paths)
        names = storage.names_below(paths.runs, suffix=".json")
        failed = failed_runs(paths, [name.removesuffix(".json") for name in names])
        if not failed:  # a table that never had a commit may have had runs all the same
            existing(paths, state)
    records = [{"status": "ok"} | read_json(storage.join(paths.runs, name)) for name in names]
    records.sort(key=lambda record: (record["commit"], record["committed_at"]))
    found = list(heapq.merge(records, failed, key=ended_at))
    return paths.root, found if args.spec is None else _of_spec(found, args.spec, paths.root)


def _of_spec(records: Sequence[dict[str, Any]], spec: str, root: str) -> list[dict[str, Any]]:
    asked = [record for record in records if (record.get("fingerprint") or "").startswith(spec)]
    if not asked and records:
        known = dict.fromkeys(filter(None, (record.get("fingerprint") for record in records)))
        raise UsageError(f"--spec {spec} is none of the specs in {root}: {', '.join(known) or 'none'}")
    return asked


def _follow(args: argparse.Namespace) -> int:
    from launch.follow import follow_job
    from launch.tables import table_of

    record = follow_job(table_of(args), args.job, quiet=args.quiet or args.json)
    if args.json:
        print(json.dumps(record, indent=1, sort_keys=True))
    elif not args.quiet:
        _print_table([record])
    return 0


def _write_page(file: str, table: str, records: Sequence[dict[str, Any]], price: float | None) -> None:
    from l3core import storage
    from l3core.reports.runs import runs_page

    page = runs_page(printable(table), records, *table_of_runs(records), price=price)
    with writing_to("--plot", file):
        storage.write_bytes(file, page.encode())


def table_of_runs(records: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows in words; those of `OPTIONAL` only if any run has something there."""
    rows = [_row(record) for record in records]
    shown = [
        place
        for place, name in enumerate(COLUMNS)
        if name not in OPTIONAL or any(row[place] for row in rows)
    ]
    return [COLUMNS[place] for place in shown], [[row[place] for place in shown] for row in rows]


def _row(record: dict[str, Any]) -> tuple[str, ...]:
    """A run in words, one for each of `COLUMNS`."""
    if "committed_at" not in record:
        return _failed_row(record)
    clips = sorted(record["clips"].items(), key=lambda item: (item[0] != "ok", item[0]))
    cells = (
        record["run_id"],
        record["fingerprint"],
        duration(record["wall_s"]),
        ", ".join(f"{count} {status}" for status, count in clips) or _without_clips(record),
        duration(record["x_real_time"] * record["wall_s"]),
        str(record["windows"]),
        f"{record['windows_per_s']:.0f}",
        f"{record['x_real_time']:.0f}",
        size(record["bytes_written"]),
        rounding_in_words(record["rounding"]) if record.get("rounding") else "",
        "",
    )
    return tuple(map(printable, cells))


def _failed_row(facts: dict[str, Any]) -> tuple[str, ...]:
    how = facts["status"] + (f" while {facts['stage']}" if facts.get("stage") else "")
    message = problem_of(facts["message"])
    told = message if len(message) <= LONGEST_SHOWN else message[: LONGEST_SHOWN - 3] + "..."
    seconds, fingerprint = facts.get("duration_s"), facts.get("fingerprint") or ""
    took = "" if seconds is None else duration(seconds)
    return tuple(map(printable, (facts["run_id"], fingerprint, took, how, *[""] * 6, told)))


def _without_clips(record: dict[str, Any]) -> str:
    return "nothing to do" if record["command"] == "embed" else str(record["command"])


def _print_table(records: Sequence[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    columns, rows = table_of_runs(records)
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*map(Text, row))
    # a line a run, however narrow the screen: the terminal wraps it, and nothing is cut off
    screen = screen_of(sys.stdout)  # a terminal gets bold headings; all cells are printable
    console = Console(file=screen, width=max(400, Console().width))
    with console.capture() as printed:
        console.print(table, crop=False)
    for line in printed.get().splitlines():
        print(line.rstrip(), file=screen)
