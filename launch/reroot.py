"""`l3flow reroot`: another root for a table, in one commit."""

import json
from collections.abc import Sequence

from launch.options import Parser, add_output_flags, add_table_flag, naming
from launch.words import printable

DESCRIPTION = """\
Move the root that clip ids are paths below.

A root above or below the old one makes the ids longer or shorter; the objects are where they were. Any
other root says that the corpus was moved there; the ids stay. Where the store gives no checksums, run
embed with --verify-content once afterwards, and files that are the same are not embedded again.

examples:
  l3flow reroot --table table --root /data                    # was /data/corpus: ids begin with corpus/
  l3flow reroot --table table --root gs://bucket/corpus       # was /data/corpus, and is copied there
  l3flow reroot --table table --root /data --moved            # was /data/corpus, and its files moved up
"""


def build_parser(prog: str) -> Parser:
    """The options of this command."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    add_table_flag(parser)
    parser.add_argument("--root", required=True, metavar="URI", help="the new root")
    parser.add_argument("--moved", action="store_true", help="the corpus was moved there: ids stay")
    add_output_flags(parser)
    return parser


def run(argv: Sequence[str], parser: Parser) -> int:
    """Reroot; returns the exit code."""
    args = parser.parse(argv)
    from l3core import storage
    from l3core.errors import UsageError
    from l3core.table.maintenance import reroot
    from launch.screen import showing_steps
    from launch.tables import new_run_id, open_table, saying_how_it_is

    if not args.root:  # an empty shell variable would mean the folder we are in
        raise UsageError("--root needs a folder, got ''")
    paths, state = open_table(args)
    with naming("--root"):
        root = storage.absolute_folder(args.root)
    run_id, quiet = new_run_id(), args.quiet or args.json
    with saying_how_it_is(paths, run_id), showing_steps("rewriting", quiet=quiet) as report:
        record = reroot(paths, root, run_id, moved=args.moved, report=report)
    if args.json:
        print(json.dumps(record or {}, indent=1, sort_keys=True))
    elif not args.quiet:
        was = printable(state.root or "")
        print(f"root: {printable(root)}" + (f", was {was}" if record else ", as it was"))
        if record:
            print(_words(state.root or "", root, moved=args.moved))
    return 0


def _words(old: str, new: str, *, moved: bool) -> str:
    """What became of clip ids."""
    from l3core.table.maintenance import renaming

    before, after = ("", "") if moved else renaming(old, new)
    if after:
        return f"clip ids begin with {printable(after)} now"
    if before:
        return f"clip ids do not begin with {printable(before)} any more"
    return "clip ids are as they were: the corpus is expected at the new root"
