"""`l3flow specs`: what each spec of a table holds, and dropping one."""

import json
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from launch.options import Parser, add_output_flags, add_table_flag
from launch.words import duration, printable, size

if TYPE_CHECKING:
    from l3core.table.specs import SpecFacts

DESCRIPTION = """\
List the specs of a table: what was embedded how, and how much of it every other spec has, too.

examples:
  l3flow specs --table table
  l3flow specs --table table --json
  l3flow specs drop s6f9f --table table      # by the beginning of its fingerprint
"""


def build_parser(prog: str) -> Parser:
    """The options of this command."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    parser.add_argument("verb", nargs="?", choices=("drop",), help="remove a spec's windows and ledger")
    parser.add_argument("fingerprint", nargs="?", metavar="FP", help="which, with drop")
    add_table_flag(parser)
    add_output_flags(parser)
    return parser


def run(argv: Sequence[str], parser: Parser) -> int:
    """List, or drop one; returns the exit code."""
    args = parser.parse(argv)
    if args.verb and not args.fingerprint:
        parser.error("drop needs the fingerprint of the spec, or its beginning")
    from l3core.table.journal import published_state
    from l3core.table.maintenance import drop_spec
    from l3core.table.read import following_commits
    from l3core.table.specs import list_specs
    from l3core.table.state import choose_spec
    from launch.tables import new_run_id, open_table, saying_how_it_is

    paths, state = open_table(args)
    if args.verb == "drop":
        fingerprint = choose_spec(paths, state, args.fingerprint, flag="FP")
        run_id = new_run_id()
        with saying_how_it_is(paths, run_id):
            record = drop_spec(paths, fingerprint, run_id)
        if args.json:
            print(json.dumps(record, indent=1, sort_keys=True))
        elif not args.quiet:
            removed = set(record["files_removed"])
            freed = sum(facts["bytes"] for path, facts in state.files.items() if path in removed)
            print(f"dropped {printable(fingerprint)}: {size(freed)} in {_counted(len(removed), 'file')}")
        return 0
    specs = following_commits(paths, partial(list_specs, paths), published_state)
    if args.json:
        print(json.dumps([facts._asdict() for facts in specs], indent=1, sort_keys=True))
    elif not args.quiet:
        _print(paths.root, specs)
    return 0


def _print(table: str, specs: Sequence["SpecFacts"]) -> None:
    print(f"{printable(table)}: {_counted(len(specs), 'spec')}")
    for facts in specs:
        words = ", ".join(f"{name} {value}" for name, value in facts.spec.items() if value or value == 0)
        print(f"\n{printable(facts.fingerprint)}  {printable(words)}")
        rows = ", ".join(f"{count} {status}" for status, count in sorted(facts.statuses.items()))
        held = f"{_counted(facts.windows, 'window')} of {_counted(facts.clips, 'clip')}"
        audio, files = duration(facts.audio_s), _counted(facts.files, "file")
        print(f"  {held}, {audio} of audio, in {size(facts.bytes)}, {files}")
        print(f"  ledger: {printable(rows) or 'no row'}")
        for other, shared in facts.shared.items():
            share = shared / facts.clips if facts.clips else 0.0
            print(f"  {share:.1%} of its clips are in {printable(other)}, too ({shared})")


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
