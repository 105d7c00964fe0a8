"""The `l3flow` command: finds the subcommand, and turns our errors into one line and an exit code.

What takes time to load is loaded within `main`, where Ctrl-C is one line, too.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple

from launch.exits import FAILED, INTERRUPTED, WRONG_USE, ending_of
from launch.output import plain, plain_output
from launch.signals import patient
from launch.words import printable


class Command(NamedTuple):
    """A subcommand: the module that has `build_parser(prog)` and `run(argv, parser)`, and one line.

    Attributes:
        module: its name.
        summary: the line.
        words: of a command line that have a help: 2 where each action has its own.
    """

    module: str
    summary: str
    words: int = 1


COMMANDS = {
    "embed": Command("launch.embed", "embed audio files into a feature table"),
    "study": Command("launch.study", "compare embeddings on labelled corpora, with tests"),
    "crossval": Command("launch.crossval", "train and cross-validate a classifier from a table"),
    "classify": Command("launch.classify", "label audio with a trained classifier"),
    "avc": Command("launch.avc.command", "train L3 itself: from videos to weights", words=2),
    "datasets": Command("launch.datasets", "list labelled corpora, or check a copy of one"),
    "query": Command("launch.query", "ask a table in SQL"),
    "similar": Command("launch.similar", "find what in a table is most like a clip or a file"),
    "index": Command("launch.index", "build an index of a table for l3flow similar --index"),
    "map": Command("launch.map", "draw a table's clips as a page: what sounds alike is near"),
    "specs": Command("launch.specs", "list what each spec of a table holds, or drop one"),
    "ddl": Command("launch.ddl", "print what lets a warehouse read a table"),
    "export": Command("launch.export", "make a spec an Iceberg, Delta or Lance table"),
    "repair": Command("launch.repair", "finish or clear up what a killed run left"),
    "compact": Command("launch.compact", "merge a table's small files"),
    "reroot": Command("launch.reroot", "move the root that a table's clip ids are paths below"),
    "flink": Command("launch.flink.command", "fetch Flink, start and stop a cluster on this machine"),
    "bench": Command("launch.bench", "measure what this machine does with a model"),
    "runs": Command("launch.runs", "list what each run of a table did"),
    "verify": Command("launch.verify", "check a table against everything that it promises"),
    "doctor": Command("launch.doctor", "look whether this machine can do the work"),
    "schedule": Command("launch.schedules.command", "print what makes a scheduler run a command"),
    "template": Command("launch.template", "build and launch a template of embed on Dataflow"),
    "weights": Command("launch.weights", "list, fetch, verify and export models' weights"),
}

DESCRIPTION = """\
Turn any audio corpus into a table of deep audio embeddings (L3-Net / OpenL3).

commands:
{commands}

examples:
  l3flow embed --input 'corpus/**/*.wav' --output table --model edgel3-sea-64
  l3flow embed --input 'corpus/**/*.wav' --output table --weights random:0 --hop 0.5
  l3flow crossval --dataset esc10 --dataset-root ESC-50-master --table table --output result
  l3flow query --table table "SELECT status, count(*) FROM clips GROUP BY status"
  l3flow weights list
  l3flow embed --help
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code.

    Codes: 0 every input is accounted for, 1 the run failed and says how the table is, 2 wrong use,
    3 `--strict` and some input could not be read, 130 interrupted.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    with plain_output():
        return _main(argv)


def _main(argv: list[str]) -> int:
    try:
        return _dispatch(argv)
    except SystemExit as stop:  # argparse has printed its line
        return stop.code if isinstance(stop.code, int) else FAILED
    except (Exception, KeyboardInterrupt) as error:
        words = COMMANDS[argv[0]].words if argv and argv[0] in COMMANDS else 1
        ending = ending_of(error, " ".join(argv[:words]))
        if ending is None:
            raise
        if ending.message:
            print(f"l3flow: {printable(ending.message)}{ending.hint}", file=sys.stderr)
        return ending.code


def _dispatch(argv: list[str]) -> int:
    from importlib.metadata import version

    from launch.options import Parser

    lines = (f"  {name:10} {command.summary}" for name, command in COMMANDS.items())
    parser = Parser(prog="l3flow", description=DESCRIPTION.format(commands="\n".join(lines)))
    parser.add_argument("--version", action="version", version=f"l3flow {version('l3flow')}")
    parser.add_argument("command", nargs="?", metavar="COMMAND", help="one of those above")
    own = argv[:1] if argv and not argv[0].startswith("-") else argv
    args, unknown = parser.parse_known_args(own)
    if unknown:
        parser.refuse(unknown)
    if args.command is None:
        parser.print_help()
        return WRONG_USE
    if args.command not in COMMANDS:
        import difflib

        near = difflib.get_close_matches(args.command, COMMANDS, n=1)
        hint = f", did you mean {near[0]}?" if near else f"; there are {', '.join(COMMANDS)}"
        parser.error(f"unknown command {args.command!r}{hint}")
    module = import_module(COMMANDS[args.command].module)
    sub = module.build_parser(f"l3flow {args.command}")
    return module.run(argv[1:], sub)


def run() -> None:
    """The console script."""
    sys.stdout, sys.stderr = plain(sys.stdout), plain(sys.stderr)  # for a traceback, too
    try:
        with patient():
            import gc
            import logging

            logging.getLogger().addHandler(logging.NullHandler())  # or Python prints what libraries log
            code = main()
            gc.freeze()  # or Python looks through all that is loaded: a second with TensorFlow
    except KeyboardInterrupt:  # before or after what `main` does
        code = INTERRUPTED
    sys.exit(code)


if __name__ == "__main__":
    run()
