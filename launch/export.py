"""`l3flow export`: a spec as a table of another format."""

import json
import re
from collections.abc import Sequence

from launch.options import Parser, add_output_flags, add_table_flag

DESCRIPTION = """\
Make a spec's windows and ledger tables of another format, or bring such an export up to date: what is
new is added, what has gone is taken out. Needs l3flow[iceberg], l3flow[delta] or l3flow[lance].

  iceberg    the files where they lie, registered; a catalog in the folder, or --catalog
  delta      copies of the files, and a log
  lance      written again when something has changed

examples:
  l3flow export --table table --format iceberg --output exported
  l3flow export --table gs://bucket/table --format iceberg --catalog mine --output gs://bucket/iceberg
  l3flow export --table table --format lance --output lance --spec s6f9f
"""
KINDS = ("iceberg", "delta", "lance")


def build_parser(prog: str) -> Parser:
    """The options of this command."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    add_table_flag(parser)
    parser.add_argument("--format", required=True, choices=KINDS, help="of the export")
    parser.add_argument("--output", required=True, metavar="URI", help="folder of the export")
    parser.add_argument("--spec", metavar="FP", help="which, by the beginning of its fingerprint")
    parser.add_argument("--catalog", metavar="NAME", help="of Iceberg, in your .pyiceberg.yaml")
    parser.add_argument(
        "--name", default="l3flow", help="Iceberg's namespace of windows and clips (default l3flow)"
    )
    add_output_flags(parser)
    return parser


def run(argv: Sequence[str], parser: Parser) -> int:
    """Export; returns the exit code."""
    args = parser.parse(argv)
    if args.catalog is not None and args.format != "iceberg":
        parser.error(f"--catalog is for --format iceberg, got {args.format}")
    if not re.fullmatch(r"[A-Za-z_][\w.-]*", args.name, re.ASCII):
        parser.error(f"--name needs a name of letters, digits, _, - and dots, got {args.name!r}")
    from l3core import storage
    from l3core.exports import export
    from l3core.table.journal import published_state
    from l3core.table.read import following_commits
    from l3core.table.state import choose_spec
    from l3core.urls import refuse_web
    from launch.options import naming
    from launch.places import reach_places
    from launch.tables import open_table, refuse_within

    paths, state = open_table(args)
    spec = choose_spec(paths, state, args.spec)
    with naming("--output"):
        refuse_web(args.output)
    reach_places({"--output": args.output})
    uri = storage.absolute(args.output).rstrip("/")
    refuse_within("--output", args.output, paths)
    done = following_commits(
        paths,
        lambda now: export(
            paths, now, spec, to=args.format, uri=uri, catalog=args.catalog, namespace=args.name
        ),
        published_state,
    )
    if args.json:
        print(json.dumps([part._asdict() for part in done], indent=1))
    elif not args.quiet:
        for part in done:
            print(f"{part.part}: {part.files} files, {part.added} added, {part.removed} taken out")
    return 0
