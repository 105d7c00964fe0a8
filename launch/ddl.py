"""`l3flow ddl`: the statements that let a warehouse read a table."""

import json
import re
from collections.abc import Sequence

from launch.options import Parser, add_output_flags, add_table_flag, writing_to

DESCRIPTION = """\
Print the statements that let a warehouse read, or load, one spec's windows and ledger. BigQuery and
ClickHouse read the files where they lie, as they are at each query; Athena, too; Snowflake loads a copy.

examples:
  l3flow ddl --table gs://bucket/table --to bigquery --name my-project.features
  l3flow ddl --table s3://bucket/table --to athena --spec s6f9f > table.sql
  l3flow ddl --table table --to snowflake --at s3://bucket/copy --integration my_integration
  l3flow ddl --table table --to clickhouse | clickhouse local
"""
TO = ("bigquery", "snowflake", "athena", "clickhouse")


def build_parser(prog: str) -> Parser:
    """The options of this command."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    add_table_flag(parser)
    parser.add_argument("--to", required=True, choices=TO, help="the warehouse")
    parser.add_argument("--spec", metavar="FP", help="which, by the beginning of its fingerprint")
    parser.add_argument("--at", metavar="URI", help="where the warehouse finds it (default: --table)")
    parser.add_argument(
        "--name",
        default="l3flow",
        metavar="NAME",
        help="dataset, schema or database of what is made, as project.dataset (default l3flow)",
    )
    parser.add_argument(
        "--integration", default="l3flow", metavar="NAME", help="Snowflake's storage integration"
    )
    parser.add_argument("--output", metavar="FILE", help="write them there instead")
    add_output_flags(parser)
    return parser


def run(argv: Sequence[str], parser: Parser) -> int:
    """Print them; returns the exit code."""
    args = parser.parse(argv)
    for flag, name in {"--name": args.name, "--integration": args.integration}.items():
        if not re.fullmatch(r"[A-Za-z_][\w-]*(\.[A-Za-z_][\w-]*)*", name, re.ASCII):
            parser.error(f"{flag} needs names of letters, digits, _ and -, parted by dots, got {name!r}")
    from l3core import storage
    from l3core.table.row_groups import vector_size
    from l3core.table.state import choose_spec
    from launch.dialects import Source, statements
    from launch.places import reach_places
    from launch.tables import open_table, refuse_within

    paths, state = open_table(args)
    if args.output:
        reach_places({"--output": args.output})
        refuse_within("--output", args.output, paths)
    spec = choose_spec(paths, state, args.spec)
    source = Source(
        place=(args.at or paths.root).rstrip("/"),
        spec=spec,
        size=vector_size(paths, state, spec),
        name=args.name,
        integration=args.integration,
    )
    found = statements(args.to, source)
    text = "".join(f"{statement};\n\n" for statement in found)[:-1]
    if args.output:
        with writing_to("--output", args.output):
            storage.write_bytes(args.output, text.encode())
    elif args.json:
        print(json.dumps(found, indent=1))
    else:
        print(text, end="")
    return 0
