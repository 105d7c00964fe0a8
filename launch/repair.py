"""`l3flow repair`: a table after a crash."""

import json
from collections.abc import Sequence

from launch.options import Parser, add_output_flags, add_table_flag, naming
from launch.words import printable

DESCRIPTION = """\
Finish what a killed run had committed, write again what the journal tells and is missing, and remove
what nobody can use. Every other command does the first by itself. Safe at any time.

examples:
  l3flow repair --table table
  l3flow repair --table table --json
"""


def build_parser(prog: str) -> Parser:
    """The options of this command."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    add_table_flag(parser)
    add_output_flags(parser)
    return parser


def run(argv: Sequence[str], parser: Parser) -> int:
    """Mend the table; returns the exit code."""
    args = parser.parse(argv)
    from l3core import storage
    from l3core.errors import TableError
    from l3core.table.mend import mend
    from l3core.table.state import load_state
    from launch.tables import new_run_id, table_of

    paths = table_of(args)
    with naming("--table"):
        if not storage.exists(paths.ours):
            raise TableError(f"no table at {paths.root}: it has no _l3flow folder")
    done = []
    for words in mend(paths, new_run_id()):
        done.append(words)
        if not (args.json or args.quiet):
            print(printable(words))
    commits = load_state(paths).commits
    if args.json:
        print(json.dumps({"table": paths.root, "commits": commits, "done": done}, indent=1))
    elif not args.quiet:
        print(("" if done else "nothing to repair; ") + f"the table is at commit {commits}")
    return 0
