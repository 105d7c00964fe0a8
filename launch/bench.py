"""`l3flow bench`: what this machine does with a model, and what the plumbing around it costs."""

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from launch.benchmarks.figures import Figure
from launch.benchmarks.named_peers import check_spec, peer_names
from launch.benchmarks.parts import DEFAULT_PARTS, NOT_IN_ALL, PARTS, Setting, described
from launch.capacity import add_capacity_flags, check_capacity_flags, ends_of, parts_needed
from launch.options import (
    Parser,
    above_zero,
    add_input_flag,
    add_output_flags,
    add_spec_flags,
    say_hop,
    spec_of,
)
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
  l3flow bench --against openl3,ray,plain --weights random:0 --hop 0.5
  l3flow bench dense --input corpus --model edgel3-sea-64
  l3flow bench engines --weights random:0 --seconds 60
  l3flow bench avc
  l3flow bench store --bucket gs://my-bucket/scratch --model edgel3-sea-64 --minutes 20
  l3flow bench whole --hours 5000 --price-per-hour 0.2
  l3flow bench whole --hours 1000000 --clip-seconds 4 --plan 100
"""


class Now(NamedTuple):
    """The part that is being measured, how many of all are done, and what it says that it does."""

    part: str
    done: int
    total: int
    doing: str = ""

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
    add("--all", action="store_true", help="all parts but store, gpu, against and avc")
    add("--device", choices=("gpu",), help="gpu: this machine's, alone or besides the parts named")
    add("--bucket", metavar="URI", help="with store: a place to write to, which is cleared afterwards")
    add(
        "--against",
        metavar="NAMES",
        help="openl3, ray, plain: the whole command beside them; without a PART or --all only that",
    )
    add_input_flag(parser, "with dense: real audio, as embed takes it; the first 100 files")
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
    say_hop(args, spec)
    if unknown := [part for part in args.parts if part not in PARTS]:
        parser.error(f"there is no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    every = [part for part in PARTS if part not in NOT_IN_ALL]
    peers = peer_names(args.against) if args.against is not None else ()
    further = [*(["against"] if peers else []), *([args.device] if args.device else [])]
    named = every if args.all else args.parts or ([] if further else DEFAULT_PARTS)
    named = [*named, *further]
    check_capacity_flags(args, parser)
    parts = [part for part in PARTS if part in {*named, *parts_needed(args, named)}]
    if args.all and args.parts:
        parser.error("--all is all parts: name some or give --all")
    if ("store" in parts) != (args.bucket is not None):
        parser.error("store and --bucket URI belong together")
    if "against" in parts:
        if not peers:
            parser.error("against needs --against NAMES")
        check_spec(spec)
    if args.input and "dense" not in parts:
        parser.error("--input is of dense, which is not among the parts")
    if args.minutes < LEAST_MINUTES:
        parser.error(f"--minutes needs at least {LEAST_MINUTES}, got {args.minutes}")
    if args.profile and "plumbing" not in parts:
        parser.error("--profile is of the plumbing, which is not among the parts")
    if args.profile and find_spec("yappi") is None:
        parser.error("--profile needs yappi: pip install 'l3flow[bench]'")
    reach_places({"--weights": args.weights, "--input": args.input})
    with quiet_libraries(), tempfile.TemporaryDirectory(prefix="l3flow-bench-") as folder:
        progress = _Progress(parts)
        setting = Setting(
            spec=spec,
            folder=Path(folder),
            minutes=args.minutes,
            seconds=args.seconds,
            scale=args.scale,
            profile=args.profile,
            bucket=args.bucket,
            against=peers,
            patterns=tuple(args.input),
            say=progress.say,
        )
        figures = []
        for figure in _measured(setting, parts, progress, quiet=args.quiet):
            figures.append(figure)
            if not (args.json or args.quiet):
                print(_line(figure), flush=True)
        ends = ends_of(args, setting, figures)
    if "against" in parts and not (args.json or args.quiet):
        from launch.benchmarks.against import table

        print(f"\n{table(figures)}")
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


class _Progress:
    """What is being measured now."""

    def __init__(self, parts: Sequence[str]) -> None:
        self.now = Now(parts[0], 0, len(parts))

    def begin(self, part: str, done: int) -> None:
        self.now = Now(part, done, self.now.total)

    def say(self, doing: str) -> None:
        self.now = self.now._replace(doing=doing)


def _measured(
    setting: Setting, parts: Sequence[str], progress: _Progress, *, quiet: bool
) -> Iterator[Figure]:
    """The figures of some parts, and meanwhile which part it is."""
    with showing_progress(lambda: progress.now, _describe, quiet=quiet, after_s=SHOWN_AFTER_S):
        for done, part in enumerate(parts):
            progress.begin(part, done)
            yield from PARTS[part](setting)


def _describe(now: Now, seconds: float) -> str:
    doing = f": {now.doing}" if now.doing else ""
    return f"{now.part}{doing}, part {now.done + 1} of {now.total}, {duration(seconds)} so far"


def _line(figure: Figure) -> str:
    return f"{figure.name:36} {shown(figure.value):>10} {figure.unit:18} {figure.note}"


def shown(value: float) -> str:
    """A value in at most ten characters."""
    if 0 < abs(value) < 0.001:
        return f"{value:.1e}"
    return f"{value:,.3f}" if value < 10 else f"{value:,.0f}"
