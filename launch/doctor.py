"""`l3flow doctor`: whether this machine can do the work, and what to do where it cannot."""

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from launch.options import Parser, add_input_flag, add_output_flags
from launch.quiet import quiet_libraries
from launch.words import last_line, printable

if TYPE_CHECKING:
    from launch.checkups.finding import Finding

DESCRIPTION = """\
Look at this machine: versions, devices, weights, decoders, stores, Java; and compute what openl3 and
edgel3 have computed. Each line is ok, absent (not here, and not needed by everybody) or wrong.

Exit code 0: nothing is wrong, 1: something is.

examples:
  l3flow doctor
  l3flow doctor --store gs://bucket/tables --input 'gs://corpus/**/*.wav'
  l3flow doctor --json
"""


def build_parser(prog: str) -> Parser:
    """The options of this command."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    add = parser.add_argument
    add(
        "--store",
        nargs="+",
        action="extend",
        default=[],
        metavar="URI",
        help="folders that a table shall be written to: made if they are not there; an object is "
        "created, read, listed and removed",
    )
    add_input_flag(parser, "inputs: the first object of each is read")
    add_output_flags(parser)
    return parser


def run(argv: Sequence[str], parser: Parser) -> int:
    """Look at everything; returns the exit code."""
    args = parser.parse(argv)
    from launch.checkups import CHECKUPS
    from launch.checkups.finding import Asked

    asked = Asked(args.store, args.input)
    found = []
    with quiet_libraries():
        for topic, look in CHECKUPS.items():
            for finding in _findings(topic, look(asked)):
                found.append(finding)
                if not (args.json or (args.quiet and finding.state != "wrong")):
                    remedy = f" -> {finding.remedy}" if finding.state != "ok" and finding.remedy else ""
                    line = f"{finding.state:7} {finding.topic:9} {finding.says}{remedy}"
                    print(printable(line), flush=True)
    wrong = sum(finding.state == "wrong" for finding in found)
    if args.json:
        lines = [each._replace(remedy="" if each.state == "ok" else each.remedy) for each in found]
        facts = {"ok": not wrong, "findings": [each._asdict() for each in lines]}
        print(json.dumps(facts, indent=1))
    elif not args.quiet:
        print(f"{wrong} of {len(found)} lines are wrong" if wrong else "nothing is wrong")
    return 1 if wrong else 0


def _findings(topic: str, looked: "Iterator[Finding]") -> "Iterator[Finding]":
    """What a checkup finds; that it cannot be made on this machine is a finding, too."""
    from launch.checkups.finding import Finding

    try:
        yield from looked
    except ImportError as error:
        remedy = "pip install --force-reinstall the library that is named"
        yield Finding(topic, "wrong", f"cannot be looked at: {last_line(error)}", remedy)
    except OSError as error:
        yield Finding(topic, "wrong", f"cannot be looked at: {last_line(error)}", "mend that first")
