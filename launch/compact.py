"""`l3flow compact`: small files of many runs merged."""

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from launch.options import Parser, add_output_flags, add_table_flag
from launch.words import printable, size

if TYPE_CHECKING:
    from l3core.table.layout import TablePaths

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
    from l3core.table.state import choose_spec
    from launch.tables import open_table

    paths, state = open_table(args)
    chosen = [choose_spec(paths, state, args.spec)] if args.spec else state.fingerprints
    records = []
    try:
        for fingerprint in chosen:
            found = list(_merge(paths, fingerprint, quiet=args.quiet or args.json))
            records += found
            if not (args.json or args.quiet):
                for record in found:
                    print(_words(fingerprint, record))
                if not found:
                    print(f"{printable(fingerprint)}: nothing to merge")
    finally:  # what was committed before another spec failed
        if args.json:
            print(json.dumps(records, indent=1, sort_keys=True))
    return 0


def _merge(paths: "TablePaths", fingerprint: str, *, quiet: bool) -> Iterator[dict[str, Any]]:
    """Records of the commits that it takes: one opens a limited number of files together."""
    from l3core.table.maintenance import compact
    from launch.screen import showing_steps
    from launch.tables import new_run_id, saying_how_it_is

    while True:
        run_id = new_run_id()
        with saying_how_it_is(paths, run_id), showing_steps("merging", quiet=quiet) as report:
            record = compact(paths, fingerprint, run_id, report)
        if record is None:
            return
        yield record
        if len(_windows(record["files_added"])) < 2:  # there is nothing to merge it with
            return


def _words(fingerprint: str, record: dict[str, Any]) -> str:
    added = _windows(record["files_added"])
    removed = [path for path in record["files_removed"] if path.startswith("windows/")]
    merged = f"{len(removed)} files are {len(added)} now, {size(record['bytes_rewritten'])}"
    return f"{printable(fingerprint)}: {merged}"


def _windows(files: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [facts for facts in files if facts["path"].startswith("windows/")]
