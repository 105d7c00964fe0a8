"""`l3flow query`: SQL over a table."""

import argparse
import io
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, TextIO

from launch.options import Parser, add_output_flags, add_table_flag, naming, writing_to
from launch.output import screen_of
from launch.words import printable, visible

if TYPE_CHECKING:
    import pyarrow as pa

    from l3core.sql.asking import Asking
    from l3core.table.layout import TablePaths

DESCRIPTION = """\
Ask a table in SQL (DuckDB's). Its views:

  windows      clip_id, "window", start_s, silent, embedding
  clips        the ledger: a row for each input object
  runs, specs  what each run did, and what each spec is
  predictions, splits, trials    of a result of l3flow crossval, with --crossval

A query reads the last commit whole, whatever is being published meanwhile, and of its files the columns
and row groups that it needs. It cannot change the table, touch other files or reach the network.

examples:
  l3flow query --table table "SELECT status, count(*) FROM clips GROUP BY status"
  l3flow query --table table @report.sql --format csv --output report.csv
  l3flow query --table table < report.sql
  l3flow query --table table                 # a prompt
  l3flow query --table gs://bucket/table --print-views
"""

SUFFIXES = {
    ".csv": "csv",
    ".json": "json",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".txt": "table",
}
MOST_ROWS = 1_000


def build_parser(prog: str) -> Parser:
    """The options of this command."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    add = parser.add_argument
    add(
        "sql",
        nargs="?",
        metavar="SQL",
        help="what to ask, or @FILE; without it standard input is read, or a prompt is opened",
    )
    add_table_flag(parser)
    add("--spec", metavar="FP", help="whose windows and ledger; not needed if there is only one")
    add("--crossval", metavar="URI", help="output of l3flow crossval, for three more views")
    add(
        "--format",
        metavar="NAME",
        choices=("table", "csv", "json", "parquet", "arrow"),
        help="table (default), csv, json, parquet or arrow; the output's suffix says it, too",
    )
    add("--output", metavar="URI", help="write the answer there, whole or not at all")
    add(
        "--allow-files",
        action="store_true",
        help="let SQL read and write other files, and load DuckDB's extensions",
    )
    add(
        "--print-views",
        action="store_true",
        help="print the views as SQL for a DuckDB of your own; they are of this moment's files",
    )
    add_output_flags(parser)
    return parser


def run(argv: Sequence[str], parser: Parser) -> int:
    """Ask, and print or write the answer; returns the exit code."""
    args = parser.parse(argv)
    kind = _format_of(args, parser)
    from launch.places import reach_places

    if find_spec("duckdb") is None:
        parser.error("a query needs duckdb: pip install 'duckdb>=1.3,<3'")
    reach_places({"--crossval": args.crossval, "--output": args.output})
    from launch.tables import refuse_within, table_of

    paths = table_of(args)
    if args.output:
        refuse_within("--output", args.output, paths)
    if args.print_views:
        return _print_views(args, paths)
    asking = _open(args, paths)
    sql = _sql_of(args)
    if sql is None:
        from launch.prompt import converse

        converse(asking, show)
        return 0
    answer(asking, sql, kind, args.output, quiet=args.quiet)
    return 0


def _format_of(args: argparse.Namespace, parser: Parser) -> str:
    if args.json and args.format not in (None, "json"):
        parser.error(f"--json and --format {args.format} exclude each other")
    if args.print_views and (args.sql or args.output or args.format or args.json):
        parser.error("--print-views prints SQL, and goes with no question, format or output")
    kind: str | None = args.format or ("json" if args.json else None)
    if kind is None and args.output:
        kind = SUFFIXES.get(PurePosixPath(args.output).suffix.lower())
        if kind is None:
            known = ", ".join(SUFFIXES)
            parser.error(f"--output {args.output}: no format has this suffix: {known}, or a --format")
    kind = kind or "table"
    if kind in ("parquet", "arrow") and not args.output and sys.stdout.isatty():
        parser.error(f"--format {kind} is nothing for a terminal: name an --output, or use a pipe")
    return kind


def _sql_of(args: argparse.Namespace) -> str | None:
    """The question; None where somebody sits at a terminal."""
    if args.sql is None:
        if not sys.stdin.isatty():
            return sys.stdin.read()
        if args.output or args.format or args.json:
            return sys.stdin.read()  # typed, until Ctrl-D
        return None
    if not args.sql.startswith("@"):
        return str(args.sql)
    from l3core import storage
    from l3core.errors import UsageError

    file = args.sql[1:]
    try:
        return storage.read_bytes(file).decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"SQL {args.sql}: cannot read it: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise UsageError(f"SQL {args.sql}: is no text in UTF-8") from None


def _open(args: argparse.Namespace, paths: "TablePaths") -> "Asking":
    from l3core.errors import TableError
    from l3core.sql.asking import Asking

    try:
        return Asking(paths, args.spec, crossval=args.crossval, allow_files=args.allow_files)
    except TableError as error:
        if str(error).startswith("--spec"):
            raise
        with naming("--table"):
            raise error from None


def _print_views(args: argparse.Namespace, paths: "TablePaths") -> int:
    from l3core.sql.sources import plain_sources
    from l3core.sql.views import view_statements
    from l3core.table.journal import published_state
    from l3core.table.state import choose_spec

    with naming("--table"):
        state = published_state(paths)  # a file that moves into place just now has no place of its own
        fingerprint = choose_spec(paths, state, args.spec)
    for statement in view_statements(plain_sources(paths, state, fingerprint, args.crossval)):
        print(f"{statement};")
    return 0


def answer(asking: "Asking", sql: str, kind: str, output: str | None, *, quiet: bool = False) -> None:
    """Ask once, and put the answer where it shall go.

    Args:
        asking: the table.
        sql: the question.
        kind: `table` or one of `launch.answers.FORMATS`.
        output: path or URI; None for standard output.
        quiet: do not say what was written.
    """
    if output is None:
        asking.ask(sql, show if kind == "table" else _Printing(kind))
        return
    from l3core import storage
    from l3core.errors import UsageError

    with ExitStack() as stack:
        with writing_to("--output", output):
            file = stack.enter_context(storage.writing(output))
        rows = asking.ask(sql, partial(_write, kind, file))
        if rows is None:
            raise UsageError(f"SQL: its last statement has no rows to write to {output}")
    if not quiet:
        print(f"{rows:,} {'row' if rows == 1 else 'rows'}: {printable(output)}")


def show(rows: "pa.RecordBatchReader", file: TextIO | None = None) -> int:
    """Print an answer as an aligned table; how many rows there were."""
    from launch.aligned import aligned
    from launch.answers import cells_of, first_rows, is_number

    schema = rows.schema
    shown, more = first_rows(rows, MOST_ROWS)
    if schema.names == ["explain_key", "explain_value"]:  # a plan is drawn in lines
        for plan in shown["explain_value"].to_pylist():
            print(visible(str(plan)).rstrip("\n"), file=file)
        return len(shown)
    numbers = [is_number(field.type) for field in schema]
    for line in aligned(list(map(printable, schema.names)), cells_of(shown), numbers=numbers):
        print(line, file=file)
    if more:
        print(f"only the first {MOST_ROWS:,} rows: --format csv gives all", file=sys.stderr)
    return len(shown)


def _write(kind: str, file: BinaryIO, rows: "pa.RecordBatchReader") -> int:
    """Write an answer to a file, from its beginning: it may be the second try."""
    from launch.answers import FORMATS, Counted

    file.seek(0)
    file.truncate()
    if kind == "table":
        text = io.TextIOWrapper(file, encoding="utf-8", write_through=True)
        try:
            return show(rows, text)
        finally:
            text.detach()
    counted = Counted(rows)
    FORMATS[kind](counted.reader, file)
    return counted.rows


class _Printing:
    """Writes an answer to standard output as it comes; once, since nobody can take it back."""

    def __init__(self, kind: str) -> None:
        self._kind, self._begun = kind, False

    def __call__(self, rows: "pa.RecordBatchReader") -> None:
        from l3core.errors import RunError
        from launch.answers import FORMATS

        if self._begun:
            raise RunError(
                "another run committed while the answer was printed: ask again, or name an --output"
            )
        self._begun = True
        write = FORMATS[self._kind]
        if sys.stdout.isatty():  # what a terminal would act on is shown as an escape
            shown = io.BytesIO()
            write(rows, shown)
            print(shown.getvalue().decode().replace("\r\n", "\n"), end="")
            return
        sys.stdout.flush()
        out = screen_of(sys.stdout).buffer
        write(rows, out)
        out.flush()
