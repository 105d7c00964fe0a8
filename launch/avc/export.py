"""`l3flow avc export`: a checkpoint of a training -> weights for `l3flow embed`, with a model card."""

import argparse
import json
from collections.abc import Sequence
from typing import Any

from l3core.errors import UsageError
from launch.exits import DONE
from launch.options import Parser, add_output_flags, naming, writing_to
from launch.words import printable

DESCRIPTION = """\
Write the audio network of a training as weights that l3flow embed takes, in the layout of openl3's
published files, and beside it a card (FILE.md) that tells what they are: data, seed, samples, accuracy.

examples:
  l3flow avc export --training training --output weights.h5
  l3flow avc export --training training --checkpoint 2621440 --output early.h5
  l3flow avc export --training gs://bucket/training --output gs://bucket/weights.h5 --vision vision.h5
"""


def build_parser(prog: str) -> Parser:
    """The options of this command."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    add = parser.add_argument
    add("--training", required=True, metavar="URI", help="folder of l3flow avc train")
    add("--output", required=True, metavar="FILE.h5", help="the weights, a path or URI")
    add(
        "--checkpoint",
        default="best",
        metavar="WHICH",
        help="best, latest, or the pairs that it had seen (default best, by validation accuracy)",
    )
    add(
        "--vision",
        metavar="FILE.h5",
        help="the vision network, too; of model l3 for l3core.openl3_api's image functions",
    )
    add_output_flags(parser)
    return parser


def run(argv: Sequence[str], parser: Parser) -> int:
    """Export; returns the exit code."""
    args = parser.parse(argv)
    written = _export(args)
    if args.json:
        print(json.dumps(written, indent=1))
    elif not args.quiet:
        accuracy = written["validation_accuracy"]
        judged = "" if accuracy is None else f", {100 * accuracy:.1f} % of the validation's pairs right"
        print(printable(f"{args.output}: {written['model']} after {written['samples']:,} pairs{judged}"))
        print(printable(f"{written['card']}: what they are"))
        if args.vision:
            print(printable(f"{args.vision}: its vision network"))
        print(printable(f"next: {written['next']}"))
    return DONE


def _place(uri: str) -> str:
    from l3core import storage

    return storage.absolute_folder(uri)


def _export(args: argparse.Namespace) -> dict[str, Any]:
    from l3core import storage
    from l3core.training import exporting
    from l3core.training.opening import open_training
    from l3core.urls import refuse_web
    from launch.places import reach_places

    places = {"--training": args.training, "--output": args.output, "--vision": args.vision}
    reach_places(places)
    for flag in ("--output", "--vision"):
        if places[flag]:
            with naming(flag):
                refuse_web(places[flag])
    card = f"{args.output}.md"
    if args.vision and _place(args.vision) in (_place(args.output), _place(card)):
        raise UsageError(
            f"--vision {args.vision}: that is where --output, or its card, goes; name another"
        )
    with naming("--training"):
        training = open_training(args.training)
    with naming("--checkpoint"):
        samples = training.checkpoints.find(args.checkpoint)
    made = exporting.export_training(training, samples, name=args.output, vision=bool(args.vision))
    with writing_to("--output", args.output):
        storage.write_bytes(args.output, made.audio)
        storage.write_bytes(card, made.card.encode())
    if args.vision:
        with writing_to("--vision", args.vision):
            storage.write_bytes(args.vision, made.vision)
    return {
        "output": args.output,
        "card": card,
        "vision": args.vision,
        **made.facts.network.embedding_spec_fields,
        "samples": samples,
        "validation_accuracy": made.facts.accuracy,
        "digest": made.digest,
        "next": exporting.embedding_command(args.output, made.facts.network),
    }
