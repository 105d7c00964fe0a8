"""`l3flow index`: an approximate index of a table for `l3flow similar --index`."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from launch.options import Parser, add_output_flags, add_table_flag, byte_count, naming, number
from launch.words import printable, size

if TYPE_CHECKING:
    from l3core.search.index_files import IndexFacts
    from l3core.table.layout import TablePaths
    from l3core.table.state import TableState

DESCRIPTION = """\
Build an index of a table's clip means, or of its windows, for l3flow similar --index.

It is of the table as it is now: after the next run that changes the table it is refused until this
command has built it again. Its recall against an exact search is measured and printed.

examples:
  l3flow index --table table
  l3flow index --table table --of windows --stored i8
  l3flow index --table table --recall 0.99
  l3flow index --table table --drop
"""


def build_parser(prog: str) -> Parser:
    """The options of this command."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    add = parser.add_argument
    add_table_flag(parser)
    add("--spec", metavar="FP", help="of which embeddings; not needed if there is only one spec")
    add(
        "--of",
        choices=("clips", "windows"),
        default="clips",
        help="clip means, or windows: for similar --by window or --per window (default clips)",
    )
    add(
        "--stored",
        choices=("f32", "f16", "i8"),
        default="f32",
        help="numbers in 4, 2 or 1 bytes (default f32)",
    )
    add(
        "--recall",
        type=_share,
        default=0.95,
        metavar="SHARE",
        help="of the ten nearest that searches shall find (default 0.95)",
    )
    add(
        "--memory",
        type=byte_count,
        metavar="SIZE",
        help="that building may take, as 8GB (default half of what is free)",
    )
    add("--drop", action="store_true", help="remove the index instead")
    add_output_flags(parser)
    return parser


def _share(text: str) -> float:
    value = number(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"needs a share above 0 and at most 1, got {text!r}")
    return value


def run(argv: Sequence[str], parser: Parser) -> int:
    """Build or drop; returns the exit code."""
    args = parser.parse(argv)
    from functools import partial

    from l3core.search.index_files import drop, faiss_module
    from l3core.search.vectors import Partition
    from l3core.table.read import following_commits
    from l3core.table.state import choose_spec, existing_state
    from launch.tables import table_of

    paths = table_of(args)
    with naming("--table"):
        state = existing_state(paths)
    fingerprint = choose_spec(paths, state, args.spec)
    if args.drop:
        there = drop(Partition(paths, state, fingerprint), args.of)
        if args.json:
            print(json.dumps({"dropped": there}))
        elif not args.quiet:
            print(f"dropped the index of {args.of}" if there else f"there is no index of {args.of}")
        return 0
    faiss_module()
    facts = following_commits(paths, partial(_build, args, paths, fingerprint))
    if args.json:
        print(json.dumps(asdict(facts), indent=1))
    elif not args.quiet:
        _print(args.table, facts)
    return 0


def _build(
    args: argparse.Namespace, paths: "TablePaths", fingerprint: str, state: "TableState"
) -> "IndexFacts":
    from l3core.errors import UsageError
    from l3core.machine import usable_memory
    from l3core.search.building import build_index, count_vectors, needed_bytes
    from l3core.search.vectors import Partition
    from launch.screen import showing_progress

    partition = Partition(paths, state, fingerprint)
    needed = needed_bytes(partition, args.of, args.stored)
    allowed = args.memory or usable_memory() // 2
    if needed > allowed:
        raise UsageError(
            f"--memory: the index of {args.of} may take {size(needed)} to build, {size(allowed)} are "
            f"allowed: --memory, {'' if args.of == 'clips' else '--of clips, '}--stored f16 or i8"
        )
    counter = _Counter(count_vectors(partition, args.of))
    quiet = args.quiet or args.json
    with showing_progress(lambda: counter, _Counter.describe, quiet=quiet, after_s=2.0):
        return build_index(
            partition, of=args.of, stored=args.stored, recall=args.recall, report=counter.tell
        )


class _Counter:
    """How many vectors are read and indexed, for the progress line."""

    def __init__(self, vectors: int) -> None:
        self.vectors = max(1, vectors)
        self.done = {"read": 0, "indexed": 0}

    def tell(self, what: str, count: int) -> None:
        """So many are read, or indexed."""
        self.done[what] = count

    @property
    def share(self) -> float:
        return sum(self.done.values()) / (2 * self.vectors)

    @property
    def begun(self) -> bool:
        return self.share > 0

    def describe(self, seconds: float) -> str:
        """How far it is, in words."""
        read, indexed = self.done.values()
        return f"{read} of {self.vectors} vectors read for a sample, {indexed} indexed"


def _print(table: str, facts: "IndexFacts") -> None:
    print(f"{printable(table)}: {facts.vectors} {facts.of} indexed in {size(facts.index_bytes)}")
    print(
        f"  recall@10 {facts.recall:.3f} of {facts.queries} queries, reading {facts.probes} of "
        f"{facts.lists} lists; numbers are {facts.stored}"
    )
