"""`l3flow avc`: finds the action, each a small command of its own."""

from collections.abc import Sequence
from importlib import import_module

from launch.exits import WRONG_USE
from launch.options import Parser

ACTIONS = {
    "subset": "choose AudioSet's segments of music or of environmental sound, and split them",
    "fetch": "acquire the videos of a subset",
    "toy": "make a corpus of small videos whose sound follows from their picture",
    "sample": "cut videos into pairs of a frame and a second of sound",
    "inspect": "show pairs of a corpus as a page with players",
    "train": "train L3 on a corpus of pairs",
    "evaluate": "tell how well trained networks do on the test pairs of corpora",
    "export": "write the audio network of a training as weights for l3flow embed",
}
DESCRIPTION = """\
Train L3 itself, by audio-visual correspondence: does this frame belong to this second of sound?

From videos to pairs (subset, fetch, sample), from pairs to a network (train, evaluate), and from the
network to weights that l3flow embed --weights takes (export). docs/training.md tells it from the start.

actions:
{actions}

examples:
  l3flow avc toy toy-corpus
  l3flow avc sample --input 'videos/**/*.mp4' --output pairs
  l3flow avc train --corpus pairs --output training --preset paper
  l3flow avc export --training training --output weights.h5
  l3flow avc sample --help
"""


def build_parser(prog: str) -> Parser:
    """What comes before the action."""
    actions = "\n".join(f"  {name:9} {summary}" for name, summary in ACTIONS.items())
    parser = Parser(prog=prog, description=DESCRIPTION.format(actions=actions))
    parser.add_argument("action", nargs="?", choices=list(ACTIONS), metavar="ACTION")
    return parser


def run(argv: Sequence[str], parser: Parser) -> int:
    """Do the action; returns the exit code."""
    own = argv[:1]
    action = parser.parse(own).action
    if action is None:
        parser.print_help()
        return WRONG_USE
    module = import_module(f"launch.avc.{action}")
    code: int = module.run(argv[1:], module.build_parser(f"{parser.prog} {action}"))
    return code
