"""`l3flow bench`: what this machine does with a model, and what the plumbing around it costs."""

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from l3core.spec import EmbeddingSpec
from launch.options import Parser, above_zero, add_output_flags, add_spec_flags, spec_of
from launch.places import reach_places
from launch.quiet import quiet_libraries

if TYPE_CHECKING:
    from launch.benchmarks.figures import Figure

ALL_PARTS = (
    "model",
    "stages",
    "plumbing",
    "whole",
    "memory",
    "planning",
    "delta",
    "decoding",
    "crossval",
    "query",
    "similar",
)
PARTS = (*ALL_PARTS, "store")
DEFAULT_PARTS = ("model", "stages", "plumbing", "whole")
# The whole command is measured at this hop, too, over more audio: it has fewer windows, and loading
# takes as long as ever.
SECOND_HOP_S = 1.0
MORE_AUDIO = 3
LEAST_MINUTES = 0.1  # a clip

DESCRIPTION = """\
Measure what this machine does. Compare ratios of one run; single figures vary with the machine.

  model      the bare compiled model, and for l3 its share of a matrix product's GFLOP/s
  stages     decoding, resampling and writing, each alone
  plumbing   the whole run with a model that costs nothing
  whole      the whole command on a generated corpus, at the given hop, and at 1 s over 3 x the audio
  memory     peak memory over 10 min and 10 h, over 1,000 and 10,000 files (takes minutes, and 1.2 GB)
  planning   planning 1,000,000 names, listing 100,000 files
  delta      a second run: planning and updating ledgers of 1,000,000 files, embedding nothing or 1
             in 1,000 of 10,000, thirty nights of a few (minutes)
  store      the whole command from --bucket to --bucket, beside the same on the disk
  decoding   what it costs that other processes decode, against soundfile in this one
  similar    nearest neighbours: going through a gigabyte of vectors beside pyarrow's reading, memory,
             and the recall of an index (minutes, and 3 GB)
  crossval   training all combinations at once, against Keras, and a run of ESC-50's size (minutes)
  query      SQL over a table: start-up, and the speed of reading vectors, against pyarrow; recall of an
             index

examples:
  l3flow bench --model edgel3-sea-64
  l3flow bench --weights random:0 --hop 1 --minutes 20 --json
  l3flow bench plumbing --minutes 20 --profile
  l3flow bench memory planning delta
  l3flow bench crossval query
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
    parts = ALL_PARTS if args.all else args.parts or DEFAULT_PARTS
    if args.all and args.parts:
        parser.error("--all is all parts: name some or give --all")
    if unknown := [part for part in parts if part not in PARTS]:
        parser.error(f"there is no part {unknown[0]!r}; there are {', '.join(PARTS)}")
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
        for figure in _measure(args, parts, spec, Path(folder)):
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


def _measure(
    args: argparse.Namespace, parts: Sequence[str], spec: EmbeddingSpec, folder: Path
) -> Iterator["Figure"]:
    # TensorFlow and Beam are loaded here
    from launch.benchmarks import corpora, model, planning, plumbing, whole

    if "model" in parts:
        yield from model.bare_model(spec, args.seconds)
    if {"stages", "plumbing", "whole", "store"} & set(parts):
        long, short = corpora.make_corpora(folder, args.minutes)
    if "stages" in parts:
        yield from model.stages(spec, long / "recording.wav", folder)
    if "plumbing" in parts:
        yield from plumbing.plumbing(long, short, folder)
        if args.profile:
            yield from plumbing.profile(long, short, folder)
    if "whole" in parts:
        yield from whole.whole_runs(spec, (long, short), folder, seconds=args.seconds)
        if spec.hop_s != SECOND_HOP_S:
            more = corpora.make_corpora(folder / "more", MORE_AUDIO * args.minutes)
            other = replace(spec, hop_s=SECOND_HOP_S)
            yield from whole.whole_runs(other, more, folder, seconds=args.seconds)
    if "store" in parts:
        from launch.benchmarks import store

        yield from store.store_runs(spec, (long, short), folder, args.bucket)
    if "memory" in parts:
        yield from whole.memory(folder, scale=args.scale)
    if "planning" in parts:
        yield from planning.planning(folder, scale=args.scale)
    if "delta" in parts:
        from launch.benchmarks import delta

        yield from delta.delta(folder, scale=args.scale)
    if "decoding" in parts:
        from launch.benchmarks import decoding

        yield from decoding.decoding(folder, scale=args.scale)
    if "similar" in parts:
        from launch.benchmarks import similar

        yield from similar.similar(folder, scale=args.scale)
    if "crossval" in parts:
        from launch.benchmarks import crossval

        yield from crossval.grid_against_keras(scale=args.scale)
        yield from crossval.whole_run(scale=args.scale)
    if "query" in parts:
        from launch.benchmarks import query

        yield from query.query(folder, scale=args.scale)
