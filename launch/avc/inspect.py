"""`l3flow avc inspect`: pairs of a corpus as a page with pictures and players."""

import json
from collections.abc import Sequence

from l3core.avc.corpus import SPLITS
from launch.exits import DONE
from launch.options import Parser, add_output_flags, positive, whole_number, writing_to
from launch.places import reach_places
from launch.words import printable

DESCRIPTION = """\
Show pairs of a corpus: one HTML page with their pictures, players, labels, times and what was done to
them, and with what the corpus holds. The page needs no network.

examples:
  l3flow avc inspect --corpus pairs
  l3flow avc inspect --corpus pairs --split test --pairs 60 --seed 1 --output test.html
  l3flow avc inspect --corpus pairs --json
"""
MOST_PAIRS = 500  # a pair is some 100 kB of the page


def build_parser(prog: str) -> Parser:
    """The options of this command."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    add = parser.add_argument
    add("--corpus", required=True, metavar="URI", help="what l3flow avc sample has written")
    add("--split", choices=SPLITS, default="train", help="whose pairs are shown (default train)")
    add(
        "--pairs",
        type=positive,
        default=24,
        metavar="N",
        help="that are shown (default 24, at most 500)",
    )
    add("--seed", type=whole_number, default=0, metavar="N", help="of what is drawn (default 0)")
    add("--output", default="inspect.html", metavar="FILE", help="the page (default inspect.html)")
    add_output_flags(parser)
    return parser


def run(argv: Sequence[str], parser: Parser) -> int:
    """Write the page; returns the exit code."""
    args = parser.parse(argv)
    if args.pairs > MOST_PAIRS:
        parser.error(f"--pairs needs at most {MOST_PAIRS}, got {args.pairs}")
    if args.seed < 0:
        parser.error(f"--seed needs a number of at least 0, got {args.seed}")
    from l3core import storage
    from l3core.avc.corpus import open_corpus
    from l3core.avc.ledger import read_ledger
    from l3core.avc.looking import draw_pairs
    from l3core.reports.avc_inspect import inspect_page, summary

    reach_places({"--corpus": args.corpus, "--output": args.output})
    corpus = open_corpus(args.corpus)
    ledger = read_ledger(corpus)
    drawn = draw_pairs(corpus, split=args.split, count=args.pairs, seed=args.seed)
    page = inspect_page(corpus, ledger, drawn.pairs, split=args.split, printable=printable).encode()
    with writing_to("--output", args.output):
        storage.write_bytes(args.output, page)
    if args.json:
        facts = {"output": args.output, "bytes": len(page), "pairs": len(drawn.pairs)}
        print(json.dumps(summary(corpus, ledger) | facts, indent=1))
    elif not args.quiet:
        together = sum(pair.label for pair in drawn.pairs)
        shown = f"{len(drawn.pairs)} pairs of {args.split}, {together} belong together"
        print(f"{printable(args.output)}: {shown}")
    return DONE
