"""`l3flow runs`: what each run of a table did, and how fast."""

import json
from collections.abc import Sequence
from typing import Any

from launch.options import Parser, add_output_flags, naming
from launch.words import duration, size

DESCRIPTION = """\
List the runs of a table, oldest first.

examples:
  l3flow runs --table table
  l3flow runs --table table --json
"""


def build_parser(prog: str) -> Parser:
    """The options of this command."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    parser.add_argument("--table", required=True, metavar="URI", help="the table")
    parser.add_argument(
        "--spec", metavar="FP", help="only runs of this spec (a fingerprint's beginning)"
    )
    add_output_flags(parser)
    return parser


def run(argv: Sequence[str], parser: Parser) -> int:
    """List the runs; returns the exit code."""
    args = parser.parse(argv)
    from l3core import storage
    from l3core.table.layout import TablePaths
    from l3core.table.state import existing_state, read_json

    with naming("--table"):
        paths = TablePaths(storage.absolute(args.table).rstrip("/"))
        existing_state(paths)
    names = storage.names_below(paths.runs, suffix=".json")
    records = [read_json(storage.join(paths.runs, name)) for name in names]
    records = [record for record in records if record["fingerprint"].startswith(args.spec or "")]
    records.sort(key=lambda record: record["commit"])
    if args.json:
        print(json.dumps(records, indent=1, sort_keys=True, ensure_ascii=False))
    elif not args.quiet:
        _print_table(records)
    return 0


def _print_table(records: Sequence[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    columns = ("run", "spec", "took", "files", "windows", "windows/s", "x real time", "written")
    table = Table(*columns, box=None, pad_edge=False)
    for record in records:
        wall_s = max(record["wall_s"], 1e-9)
        clips = sorted(record["clips"].items(), key=lambda item: (item[0] != "ok", item[0]))
        table.add_row(
            record["run_id"],
            record["fingerprint"],
            duration(record["wall_s"]),
            ", ".join(f"{count} {status}" for status, count in clips) or "nothing to do",
            str(record["windows"]),
            f"{record['windows'] / wall_s:.0f}",
            f"{record['audio_s'] / wall_s:.0f}",
            size(sum(file["bytes"] for file in record["files_added"])),
        )
    # a line a run, however narrow the screen: the terminal wraps it, and nothing is cut off
    Console(width=max(200, Console().width)).print(table, crop=False)
