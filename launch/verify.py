"""`l3flow verify`: whether a table holds what its layout promises."""

import json
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from launch.options import Parser, add_output_flags, add_table_flag, naming
from launch.words import duration, printable, size

if TYPE_CHECKING:
    from l3core.table.finding import Finding, Tally
    from l3core.table.layout import TablePaths

DESCRIPTION = """\
Read a table again and check everything that it promises: the history of its commits, size and checksum
of each file, the order and the numbers of all windows, and the ledger against the windows.

Exit codes: 0 all holds, 1 something is wrong (each thing has its line), 2 no such table or spec.

examples:
  l3flow verify --table table
  l3flow verify --table gs://bucket/table --spec s98f9
  l3flow verify --table table --json
"""

LINES_OF_A_KIND = 20
TRIES = 3


def build_parser(prog: str) -> Parser:
    """The options of this command."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    add_table_flag(parser)
    parser.add_argument(
        "--spec", metavar="FP", help="only files of this spec (a fingerprint or its beginning)"
    )
    add_output_flags(parser)
    return parser


def run(argv: Sequence[str], parser: Parser) -> int:
    """Check a table and say what is wrong; returns the exit code."""
    args = parser.parse(argv)
    from l3core.table.finding import Tally
    from l3core.table.verify_history import require_table
    from launch.screen import SHOWN_AFTER_S, showing_progress
    from launch.tables import table_of

    paths = table_of(args)
    with naming("--table"):
        require_table(paths)
    tally, start = Tally(), time.monotonic()
    quiet = args.quiet or args.json
    with showing_progress(lambda: tally, describe_check, quiet=quiet, after_s=SHOWN_AFTER_S):
        found = _look(paths, args.spec, tally, most=None if args.json else LINES_OF_A_KIND)
    if args.json:
        _print_json(paths.root, found, tally)
    elif found.total or not args.quiet:
        _print_found(found)
        print(_summary(found, tally, time.monotonic() - start))
    return 1 if found.total else 0


def _look(paths: "TablePaths", spec: str | None, tally: "Tally", *, most: int | None) -> "Found":
    """Check, and check again if another run committed meanwhile: what was found may be of that."""
    from l3core.table.verify import verify_table

    for _ in range(TRIES):
        vars(tally).update(vars(type(tally)()))
        found = Found(verify_table(paths, spec, tally=tally), most=most)
        if "changed" not in found.kinds:
            break
    return found


class Found:
    """Findings by kind: at most `most` of each kept, all of them counted.

    Args:
        findings: are read to their end.
        most: None for all.
    """

    def __init__(self, findings: Iterable["Finding"], *, most: int | None) -> None:
        self.counts: Counter[str] = Counter()
        self.kept: list[Finding] = []
        for finding in findings:
            self.counts[finding.kind] += 1
            if most is None or self.counts[finding.kind] <= most:
                self.kept.append(finding)

    @property
    def total(self) -> int:
        """How many there were."""
        return self.counts.total()

    def of(self, kind: str) -> list["Finding"]:
        """The kept ones of a kind."""
        return [finding for finding in self.kept if finding.kind == kind]

    @property
    def kinds(self) -> list[str]:
        """Kinds that were found, in the order in which they are worth reading."""
        from l3core.table.finding import KINDS

        return [kind for kind in KINDS if self.counts[kind]]


def describe_check(tally: "Tally", seconds: float) -> str:
    """Files, rate and time left, in words."""
    from launch.screen import time_left

    if not tally.begun:
        return "reading the journal"
    rate = size(tally.bytes / max(seconds, 1e-3))
    left = duration(time_left(tally, seconds)) if tally.share else "time unknown"
    return f"{tally.files} of {tally.of_files} files, {rate}/s, {left} left"


def _print_found(found: Found) -> None:
    for kind in found.kinds:
        shown = found.of(kind)
        for finding in shown:
            print(f"{kind}: {printable(finding.path)}: {printable(finding.problem)}")
        if found.counts[kind] > len(shown):
            print(f"{kind}: ... and {found.counts[kind] - len(shown)} more")


def _summary(found: Found, tally: "Tally", seconds: float) -> str:
    checked = (
        f"{_count(tally.specs, 'spec')}, {_count(tally.files, 'file')}, "
        f"{_count(tally.windows, 'window')}, {_count(tally.ledger_rows, 'ledger row')}, "
        f"checked in {duration(seconds)}"
    )
    if not found.total:
        return f"table holds what it promises: {checked}"
    kinds = ", ".join(f"{found.counts[kind]:,} {kind}" for kind in found.kinds)
    return f"{_count(found.total, 'problem')}: {kinds} ({checked})"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _print_json(table: str, found: Found, tally: "Tally") -> None:
    value = {
        "table": table,
        "ok": not found.total,
        "specs": tally.specs,
        "files": tally.files,
        "rows": tally.windows,
        "ledger_rows": tally.ledger_rows,
        "findings": [finding._asdict() for finding in found.kept],
    }
    print(json.dumps(value, indent=1))
