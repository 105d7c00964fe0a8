"""`l3flow bench`: what this machine does with a model, and what the plumbing around it costs."""

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from l3core.spec import EmbeddingSpec
from launch.options import Parser, add_output_flags, add_spec_flags, number, spec_of
from launch.quiet import quiet_libraries

if TYPE_CHECKING:
    from launch.benchmarks import Figure

PARTS = ("model", "stages", "plumbing", "whole")

DESCRIPTION = """\
Measure: the bare compiled model, each stage alone, the plumbing with a model that costs nothing, and the
whole command on a generated corpus. Compare ratios of one run; single figures vary with the machine.

examples:
  l3flow bench --model edgel3-sea-64
  l3flow bench --weights random:0 --hop 1 --minutes 20 --json
  l3flow bench --only plumbing --minutes 20
"""


def build_parser(prog: str) -> Parser:
    """The options of this command."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    add = parser.add_argument
    add("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    add("--minutes", type=number, default=5.0, metavar="N", help="of generated audio (default 5)")
    add("--seconds", type=number, default=10.0, metavar="N", help="to time the bare model (default 10)")
    add_spec_flags(parser)
    add_output_flags(parser)
    return parser


def run(argv: Sequence[str], parser: Parser) -> int:
    """Measure and print; returns the exit code."""
    args = parser.parse(argv)
    spec = spec_of(args)
    figures = []
    with quiet_libraries(), tempfile.TemporaryDirectory(prefix="l3flow-bench-") as folder:
        for figure in _measure(args, spec, Path(folder)):
            figures.append(figure)
            if not (args.json or args.quiet):
                value = f"{figure.value:,.3f}" if figure.value < 10 else f"{figure.value:,.0f}"
                print(f"{figure.name:34} {value:>10} {figure.unit:18} {figure.note}", flush=True)
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


def _measure(args: argparse.Namespace, spec: EmbeddingSpec, folder: Path) -> Iterator["Figure"]:
    from launch import benchmarks as bench  # TensorFlow and Beam are loaded here

    if "model" in args.only:
        yield from bench.bare_model(spec, args.seconds)
    if set(args.only) == {"model"}:
        return
    corpora = bench.make_corpora(folder, args.minutes)
    if "stages" in args.only:
        yield from bench.stages(spec, corpora[0] / "recording.wav", folder)
    if "plumbing" in args.only:
        yield from bench.plumbing(*corpora, folder)
    if "whole" in args.only:
        yield from bench.whole_runs(spec, _spec_flags(spec), corpora, folder)


def _spec_flags(spec: EmbeddingSpec) -> list[str]:
    """The options of `l3flow embed` that mean this spec."""
    flags = {
        "--model": spec.model,
        "--input-repr": spec.input_repr,
        "--content": spec.content,
        "--embedding-size": spec.embedding_size,
        "--hop": spec.hop_s,
        "--grid": spec.grid,
        "--frontend": spec.frontend,
        "--weights": spec.weights,
        "--precision": spec.precision,
        "--resampler": spec.resampler,
        "--engine": spec.engine,
    }
    return [text for flag, value in flags.items() if value is not None for text in (flag, str(value))]
