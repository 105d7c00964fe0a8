"""`l3flow avc toy`: a corpus of small videos to try the training on, and sounds to try its result on."""

import argparse
import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from launch.options import Parser, above_zero, add_output_flags, positive, whole_number
from launch.words import duration, printable

if TYPE_CHECKING:
    from launch.screen import Steps

DESCRIPTION = """\
Make a corpus of small videos whose sound follows from their picture: the shape tells the timbre (ten
kinds), the colour tells the pitch (four), and the background tells how loud the noise is (three).

FOLDER/videos has the videos (h264 and AAC in .mp4), FOLDER/videos.csv says what each shows, and
FOLDER/sounds has 100 other sounds in ESC-50's layout, for l3flow crossval: ten classes, each a
pitch and a noise.

examples:
  l3flow avc toy toy-corpus
  l3flow avc toy toy-corpus --videos 40 --seconds 4 --seed 1
  l3flow avc sample --input toy-corpus/videos --output pairs
  l3flow crossval --dataset esc10 --dataset-root toy-corpus/sounds --allow-partial \\
      --table table --output result
"""


def build_parser(prog: str) -> Parser:
    """The options of this command."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    add = parser.add_argument
    add("folder", metavar="FOLDER", help="path or URI; made if it is not there")
    add("--videos", type=positive, default=300, metavar="N", help="how many (default 300)")
    add("--seconds", type=above_zero, default=6.0, metavar="S", help="length of each (default 6)")
    add("--seed", type=whole_number, default=0, metavar="N", help="of all that is random (default 0)")
    add(
        "--size",
        type=_size,
        default=(256, 256),
        metavar="WxH",
        help="of the pictures in pixels (default 256x256)",
    )
    add_output_flags(parser)
    return parser


def run(argv: Sequence[str], parser: Parser) -> int:
    """Make it; returns the exit code."""
    args = parser.parse(argv)
    from l3core.avc.toy import ToySettings, make_toy_corpus
    from l3core.storage import join
    from l3core.urls import refuse_web
    from launch.options import writing_to
    from launch.places import reach_places
    from launch.screen import SHOWN_AFTER_S, Steps, showing_progress

    width, height = args.size
    settings = ToySettings(
        videos=args.videos, seconds=args.seconds, seed=args.seed, width=width, height=height
    )
    refuse_web(args.folder)
    reach_places({"FOLDER": args.folder})
    steps = Steps()

    def report(done: int, total: int) -> None:
        nonlocal steps
        steps = Steps(done, total)

    with (
        showing_progress(lambda: steps, _describe, quiet=args.quiet, after_s=SHOWN_AFTER_S),
        writing_to("FOLDER", args.folder),
    ):
        corpus = make_toy_corpus(args.folder, settings, report)
    videos, sounds = join(args.folder, "videos"), join(args.folder, "sounds")
    if args.json:
        facts = {"made": corpus.made, "videos": corpus.videos, "sounds": corpus.sounds}
        print(json.dumps({**facts, "videos_folder": videos, "sounds_folder": sounds}, indent=1))
    elif not args.quiet:
        there = "" if corpus.made else ", there already"
        print(f"{corpus.videos} videos in {printable(videos)}{there}")
        print(f"{corpus.sounds} sounds in {printable(sounds)}{there}")
    return 0


def _describe(steps: "Steps", seconds: float) -> str:
    from launch.screen import time_left

    if not steps.begun:
        return "making videos"
    seconds = max(seconds, 0.1)
    left = duration(time_left(steps, seconds))
    return f"{steps.done} of {steps.total} files, {steps.done / seconds:.0f} files/s, {left} left"


def _size(text: str) -> tuple[int, int]:
    """WIDTHxHEIGHT, for argparse."""
    match = re.fullmatch(r"(\d+)x(\d+)", text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"needs WIDTHxHEIGHT as 256x256, got {text!r}")
    return int(match[1]), int(match[2])
