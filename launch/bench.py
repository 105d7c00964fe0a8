"""`l3flow bench`: what this machine does with a model, and what the plumbing around it costs."""

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from launch.benchmarks.figures import Figure
from launch.benchmarks.parts import DEFAULT_PARTS, NOT_IN_ALL, PARTS, Setting, described
from launch.capacity import add_capacity_flags, check_capacity_flags, ends_of, parts_needed
from launch.options import Parser, above_zero, add_output_flags, add_spec_flags, spec_of
from launch.places import reach_places
from launch.quiet import quiet_libraries
from launch.screen import SHOWN_AFTER_S, showing_progress
from launch.words import duration

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
  l3flow bench --device gpu --weights random:0 --json
  KERAS_BACKEND=jax l3flow bench trunk --weights random:0
  l3flow bench store --bucket gs://my-bucket/scratch --model edgel3-sea-64 --minutes 20
  l3flow bench whole --hours 5000 --price-per-hour 0.2
  l3flow bench whole --hours 1000000 --clip-seconds 4 --plan 100
"""


class Now(NamedTuple):
    """The part that is being measured, and how many of all are done."""

    part: str
    done: int
    total: int

    @property
    def share(self) -> float:
        """Of the parts, 0 to 1."""
        return self.done / self.total

    @property
    def begun(self) -> bool:
        """True: every second counts."""
        return True


def build_parser(prog: str) -> Parser:
    """The options of this command."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    add = parser.add_argument
    add("parts", nargs="*", metavar="PART", help="those parts; default: the first four")
    add("--all", action="store_true", help="all parts but store and gpu")
    add("--device", choices=("gpu",), help="gpu: this machine's, alone or besides the parts named")
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
    add_capacity_flags(parser)
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
    named = every if args.all else args.parts or ([] if args.device else DEFAULT_PARTS)
    named = [*named, *([args.device] if args.device else [])]
    check_capacity_flags(args, parser)
    parts = [part for part in PARTS if part in {*named, *parts_needed(args, named)}]
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
        figures = []
        for figure in _measured(setting, parts, quiet=args.quiet):
            figures.append(figure)
            if not (args.json or args.quiet):
                print(_line(figure), flush=True)
        ends = ends_of(args, setting, figures)
    if args.json:
        from launch.benchmarks.machine import library_versions, machine_facts

        facts = {
            "machine": machine_facts(),
            "versions": library_versions(),
            "spec": spec.to_dict(),
            "minutes": args.minutes,
            "figures": [figure._asdict() for figure in (*figures, *ends.figures)],
        }
        print(json.dumps(facts, indent=1))
    elif not args.quiet:
        for line in (*map(_line, ends.figures), *ends.sentences):
            print(line)
    return 0


def _measured(setting: Setting, parts: Sequence[str], *, quiet: bool) -> Iterator[Figure]:
    """The figures of some parts, and meanwhile which part it is."""
    now = Now(parts[0], 0, len(parts))

    def look() -> Now:
        return now

    with showing_progress(look, _describe, quiet=quiet, after_s=SHOWN_AFTER_S):
        for done, part in enumerate(parts):
            now = Now(part, done, len(parts))
            yield from PARTS[part](setting)


def _describe(now: Now, seconds: float) -> str:
    return f"{now.part}, part {now.done + 1} of {now.total}, {duration(seconds)} so far"


def _line(figure: Figure) -> str:
    value = f"{figure.value:,.3f}" if figure.value < 10 else f"{figure.value:,.0f}"
    return f"{figure.name:36} {value:>10} {figure.unit:18} {figure.note}"
