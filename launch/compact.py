"""`l3flow compact`: small files of many runs merged."""

import json
from collections.abc import Sequence

from launch.options import Parser, add_output_flags, add_table_flag
from launch.words import size

DESCRIPTION = """\
Merge the windows files of less than 128 MB into files of about 256 MB. Runs merge small files by
themselves when there are more than two dozen.

examples:
  l3flow compact --table table
  l3flow compact --table table --spec s6f9f
"""


def build_parser(prog: str) -> Parser:
    """The options of this command."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    add_table_flag(parser)
    parser.add_argument("--spec", metavar="FP", help="only this spec (default: all)")
    add_output_flags(parser)
    return parser


def run(argv: Sequence[str], parser: Parser) -> int:
    """Compact; returns the exit code."""
    args = parser.parse(argv)
    from l3core.table.maintenance import compact
    from l3core.table.state import choose_spec
    from launch.screen import showing_steps
    from launch.tables import new_run_id, open_table

    paths, state = open_table(args)
    chosen = [choose_spec(paths, state, args.spec)] if args.spec else state.fingerprints
    records = []
    for fingerprint in chosen:
        with showing_steps("merging", quiet=args.quiet or args.json) as report:
            record = compact(paths, fingerprint, new_run_id(), report)
        if record is not None:
            records.append(record)
        if not (args.json or args.quiet):
            print(_words(fingerprint, record))
    if args.json:
        print(json.dumps(records, indent=1, sort_keys=True))
    return 0


def _words(fingerprint: str, record: dict | None) -> str:
    if record is None:
        return f"{fingerprint}: nothing to merge"
    windows = [facts for facts in record["files_added"] if facts["path"].startswith("windows/")]
    removed = [path for path in record["files_removed"] if path.startswith("windows/")]
    return (
        f"{fingerprint}: {len(removed)} files are {len(windows)} now, {size(record['bytes_rewritten'])}"
    )
