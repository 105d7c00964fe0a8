"""`l3flow similar`: the clips or windows of a table that are most like a clip or a new file."""

import argparse
import csv
import io
import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from launch.options import Parser, add_output_flags, add_table_flag, naming, number, positive
from launch.words import printable

if TYPE_CHECKING:
    from l3core.search.ranking import Neighbour, Query, Search
    from l3core.table.layout import TablePaths
    from l3core.table.state import TableState

DESCRIPTION = """\
Find what is most similar in a table: clips or windows, by the cosine of their embeddings.

All vectors are read once, however many queries there are. With --index the index is asked instead that
l3flow index has built.

examples:
  l3flow similar --table table dogs/bark.wav
  l3flow similar --table table dogs/bark.wav cats/purr.wav -k 5 --json
  l3flow similar --table table dogs/bark.wav --at 3.2 --per window
  l3flow similar --table table --file new.wav other.wav
  l3flow similar --table table dogs/bark.wav --by window     # the most similar pair of windows
"""
FORMATS = ("table", "csv", "json")


def build_parser(prog: str) -> Parser:
    """The options of this command."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    add = parser.add_argument
    add("clips", nargs="*", metavar="CLIP", help="ids of clips in the table")
    add_table_flag(parser)
    add("--spec", metavar="FP", help="by which embeddings; not needed if there is only one spec")
    add(
        "--file",
        nargs="+",
        action="extend",
        default=[],
        metavar="PATH",
        help="recordings that need not be in the table",
    )
    add(
        "--at",
        nargs="+",
        action="extend",
        type=_time,
        default=[],
        metavar="SECONDS",
        help="times in the one CLIP: each is a query, the window around it",
    )
    add("-k", type=positive, default=10, metavar="N", help="neighbours of each query (default 10)")
    add(
        "--by",
        choices=("mean", "window"),
        help="mean of the windows, or the most similar pair of them (default mean; window with --at)",
    )
    add("--per", choices=("clip", "window"), default="clip", help="what is ranked (default clip)")
    add("--itself", action="store_true", help="the query's own clip may be in the answer, too")
    add("--silent", action="store_true", help="silent windows count, too")
    add("--index", action="store_true", help="ask the index, which l3flow index builds: approximate")
    add("--format", choices=FORMATS, help="of the answer (default table)")
    add_output_flags(parser)
    return parser


def _time(text: str) -> float:
    value = number(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"needs seconds from the beginning, got {text!r}")
    return value


def run(argv: Sequence[str], parser: Parser) -> int:
    """Search and print; returns the exit code."""
    args = parser.parse(argv)
    _check(args, parser)
    from functools import partial

    from l3core.search.ranking import Search
    from l3core.storage import as_text
    from l3core.table.read import following_commits
    from l3core.table.state import choose_spec, existing_state
    from launch.places import reach_places
    from launch.tables import table_of

    args.clips = list(map(as_text, args.clips))  # as the table has them
    paths = table_of(args)
    reach_places({"--file": args.file})
    by = args.by or ("window" if args.at else "mean")
    search = Search(by=by, per=args.per, k=args.k, itself=args.itself)
    with naming("--table"):
        state = existing_state(paths)
    fingerprint = choose_spec(paths, state, args.spec)
    files = _embedded(args, paths, fingerprint, by)
    answer = partial(_answer, args, paths, fingerprint, search, files)
    queries, found = following_commits(paths, answer)
    kind = "json" if args.json else args.format or "table"
    if kind == "json":
        facts = {"table": paths.root, "spec": fingerprint, "by": by, "per": args.per}
        print(json.dumps(facts | {"queries": _as_objects(queries, found)}, indent=1))
    elif not args.quiet:
        print(_text(kind, queries, found, search), end="")
    return 0


def _check(args: argparse.Namespace, parser: Parser) -> None:
    if not args.clips and not args.file:
        parser.error("needs a CLIP of the table, or --file PATH")
    if args.at and (len(args.clips) != 1 or args.file):
        parser.error("--at needs one CLIP and no --file")
    if args.index and args.silent:
        parser.error("--silent: an index has no silent windows, leave --index out")
    if args.json and args.format not in (None, "json"):
        parser.error(f"--json is --format json, got --format {args.format}")


def _embedded(args: argparse.Namespace, paths: "TablePaths", fingerprint: str, by: str) -> "list[Query]":
    """The queries of `--file`; TensorFlow is loaded if there are any."""
    if not args.file:
        return []
    from l3core.loading import without_collection
    from l3core.search.queries import file_query, table_embedder
    from launch.quiet import quiet_libraries

    with quiet_libraries():
        with without_collection():
            embedder = table_embedder(paths, fingerprint)
        return [file_query(embedder, file, by=by, silent=args.silent) for file in args.file]


def _answer(
    args: argparse.Namespace,
    paths: "TablePaths",
    fingerprint: str,
    search: "Search",
    files: "Sequence[Query]",
    state: "TableState",
) -> "tuple[list[Query], list[list[Neighbour]]]":
    """(queries, their neighbours) in one commit of the table."""
    from l3core.search.exact import nearest
    from l3core.search.queries import clip_queries, time_queries
    from l3core.search.vectors import Partition

    partition = Partition(paths, state, fingerprint, silent=args.silent)
    if args.at:
        queries = time_queries(partition, args.clips[0], args.at)
    else:
        queries = clip_queries(partition, args.clips, by=search.by) if args.clips else []
    queries = [*queries, *files]
    if args.index:
        from l3core.search.approximate import nearest_by_index

        return queries, nearest_by_index(partition, queries, search)
    return queries, nearest(partition, queries, search)


def _as_objects(
    queries: "Sequence[Query]", found: "Sequence[Sequence[Neighbour]]"
) -> list[dict[str, Any]]:
    return [
        {
            "query": query.name,
            "clip_id": query.clip_id,
            "neighbours": [neighbour._asdict() for neighbour in neighbours],
        }
        for query, neighbours in zip(queries, found)
    ]


def _text(
    kind: str,
    queries: "Sequence[Query]",
    found: "Sequence[Sequence[Neighbour]]",
    search: "Search",
) -> str:
    """Rows for people, or as CSV."""
    columns = ["query", "rank", "similarity", "clip_id"]
    if not search.of_means:
        columns += ["start_s", "query_start_s"]
    rows = []
    for query, neighbours in zip(queries, found):
        for rank, one in enumerate(neighbours, 1):
            cells = [query.name, str(rank), f"{one.similarity:.4f}", one.clip_id]
            if not search.of_means:
                cells += ["" if time is None else f"{time:.3f}" for time in one[3:]]
            rows.append(cells)
    if kind == "csv":
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([columns, *rows])
        return text.getvalue()
    from launch.aligned import aligned

    first = 0 if len(queries) > 1 else 1  # one query needs no column of its own
    shown = [list(map(printable, row[first:])) for row in rows]
    numbers = [name not in ("query", "clip_id") for name in columns[first:]]
    return "".join(line + "\n" for line in aligned(columns[first:], shown, numbers=numbers))
