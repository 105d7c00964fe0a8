"""`l3flow bench`: what this machine does with a model, and what the plumbing around it costs."""

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

from launch.benchmarks.parts import DEFAULT_PARTS, NOT_IN_ALL, PARTS, Setting, described
from launch.options import Parser, above_zero, add_output_flags, add_spec_flags, spec_of
from launch.places import reach_places
from launch.quiet import quiet_libraries

LEAST_MINUTES = 0.1  # a clip

DESCRIPTION = f"""\
Measure what this machine does. Compare ratios of one run; single figures vary with the machine.

{described()}

examples:
  l3flow bench --model edgel3-sea-64
  l3flow bench --weights random:0 --hop 1 --minutes 20 --json
  l3flow bench plumbing --minutes 20 --profile
  l3flow bench memory planning delta
  l3flow bench crossval query
  l3flow bench engines --weights random:0 --seconds 60
  l3flow bench store --bucket gs://my-bucket/scratch --model edgel3-sea-64 --minutes 20
"""


def build_parser(prog: str) -> Parser:
    """The options of this command."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    add = parser.add_argument
    add("parts", nargs="*", metavar="PART", help="those parts; default: the first four")
    add("--all", action="store_true", help="all parts but store")
    add("--bucket", metavar="URI", help="with store: a place to write to, which is cleared afterwards")
    add("--minutes", type=above_zero, default=5.0, metavar="N", help="of generated audio (default 5)")
    add(
        "--seconds",
        type=above_zero,
        default=10.0,
        metavar="N",
        help="to time the bare model, each time (default 10)",
    )
    add("--profile", action="store_true", help="with plumbing: the functions that cost most")
    add("--scale", type=above_zero, default=1.0, help=argparse.SUPPRESS)  # of parts
    add_spec_flags(parser)
    add_output_flags(parser)
    return parser


def run(argv: Sequence[str], parser: Parser) -> int:
    """Measure and print; returns the exit code."""
    args = parser.parse(argv)
    spec = spec_of(args)
    if unknown := [part for part in args.parts if part not in PARTS]:
        parser.error(f"there is no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    every = [part for part in PARTS if part not in NOT_IN_ALL]
    named = every if args.all else args.parts or DEFAULT_PARTS
    parts = [part for part in PARTS if part in named]
    if args.all and args.parts:
        parser.error("--all is all parts: name some or give --all")
    if ("store" in parts) != (args.bucket is not None):
        parser.error("store and --bucket URI belong together")
    if args.minutes < LEAST_MINUTES:
        parser.error(f"--minutes needs at least {LEAST_MINUTES}, got {args.minutes}")
    if args.profile and "plumbing" not in parts:
        parser.error("--profile is of the plumbing, which is not among the parts")
    if args.profile and find_spec("yappi") is None:
        parser.error("--profile needs yappi: pip install 'l3flow[bench]'")
    figures = []
    reach_places({"--weights": args.weights})
    with quiet_libraries(), tempfile.TemporaryDirectory(prefix="l3flow-bench-") as folder:
        setting = Setting(
            spec=spec,
            folder=Path(folder),
            minutes=args.minutes,
            seconds=args.seconds,
            scale=args.scale,
            profile=args.profile,
            bucket=args.bucket,
        )
        for figure in chain.from_iterable(PARTS[part](setting) for part in parts):
            figures.append(figure)
            if not (args.json or args.quiet):
                value = f"{figure.value:,.3f}" if figure.value < 10 else f"{figure.value:,.0f}"
                print(f"{figure.name:36} {value:>10} {figure.unit:18} {figure.note}", flush=True)
    if args.json:
        machine = {"cores": os.cpu_count(), "machine": platform.machine(), "system": platform.system()}
        measured = [figure._asdict() for figure in figures]
        facts = {
            "machine": machine,
            "spec": spec.to_dict(),
            "minutes": args.minutes,
            "figures": measured,
        }
        print(json.dumps(facts, indent=1))
    return 0
