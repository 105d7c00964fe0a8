"""`l3flow avc evaluate`: the accuracy of trained networks on the test pairs of corpora."""

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from l3core.errors import UsageError
from launch.exits import DONE
from launch.options import Parser, add_output_flags, key_value, naming
from launch.words import printable

if TYPE_CHECKING:
    from l3core.avc.corpus import Corpus
    from l3core.training.opening import Training

SPLITS = ("train", "valid", "test")
DESCRIPTION = """\
Tell how well trained networks tell pairs that belong together from pairs that do not: the table of the
paper that has a row for each training and a column for each corpus.

examples:
  l3flow avc evaluate --training toy=training --corpus toy=pairs
  l3flow avc evaluate --training music=m env=e --corpus music=pairs-m env=pairs-e
  l3flow avc evaluate --training toy=training --corpus toy=pairs --checkpoint latest --json
"""


def build_parser(prog: str) -> Parser:
    """The options of this command."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    add = parser.add_argument
    for flag, what in (("--training", "OUT"), ("--corpus", "CORPUS")):
        add(
            flag,
            nargs="+",
            action="extend",
            type=key_value,
            required=True,
            metavar=f"NAME={what}",
            help="what it is called in the table, and where it is",
        )
    add("--split", choices=SPLITS, default="test", help="pairs that are judged (default test)")
    add(
        "--checkpoint",
        default="best",
        metavar="WHICH",
        help="best, latest, or the pairs that it had seen (default best, by validation accuracy)",
    )
    add("--log-file", metavar="FILE", help="append what libraries say to FILE; it is not shown")
    add_output_flags(parser)
    return parser


def run(argv: Sequence[str], parser: Parser) -> int:
    """Evaluate; returns the exit code."""
    args = parser.parse(argv)
    from launch.quiet import quiet_libraries  # after --help
    from launch.signals import interruptible

    for flag, named in (("--training", args.training), ("--corpus", args.corpus)):
        names = [name for name, _ in named]
        if len(set(names)) < len(names):
            raise UsageError(f"{flag} has a name twice: {', '.join(names)}")
    with interruptible(), quiet_libraries(args.log_file):
        cells = _evaluate(args)
    if args.json:
        print(json.dumps({"split": args.split, "cells": cells}, indent=1))
    elif not args.quiet:
        _print_table(args, cells)
    return DONE


def _evaluate(args: argparse.Namespace) -> list[dict[str, Any]]:
    trainings, corpora = _opened(args)
    from l3core.training.evaluating import Evaluator
    from launch.screen import SHOWN_AFTER_S, Steps, showing_progress

    pairs = sum(sum(file.pairs for file in each.of_split(args.split)) for each in corpora.values())
    total = pairs * len(trainings)
    shown, before = Steps(0, total), 0

    def report(done: int, pairs: int) -> None:
        nonlocal shown
        shown = Steps(before + done, total)

    cells = []
    quiet = args.quiet or args.json
    with showing_progress(lambda: shown, _describe, quiet=quiet, after_s=SHOWN_AFTER_S):
        for name, training in trainings.items():
            evaluator = Evaluator(training, args.checkpoint)
            for corpus_name, corpus in corpora.items():
                score = evaluator.score(corpus, args.split, report=report)
                before += score.pairs
                cells.append(
                    {
                        "training": name,
                        "corpus": corpus_name,
                        "samples": score.samples,
                        "accuracy": score.accuracy,
                        "low": score.interval.low,
                        "high": score.interval.high,
                        "correct": score.correct,
                        "pairs": score.pairs,
                        "loss": score.loss,
                    }
                )
    return cells


def _opened(args: argparse.Namespace) -> tuple[dict[str, "Training"], dict[str, "Corpus"]]:
    """Everything that is needed, before anything is computed."""
    from l3core.avc.corpus import open_corpus
    from l3core.training.opening import open_training
    from launch.places import reach_places

    reach_places({"--training": [uri for _, uri in args.training]})
    reach_places({"--corpus": [uri for _, uri in args.corpus]})
    with naming("--training"):
        trainings = {name: open_training(uri) for name, uri in args.training}
    with naming("--checkpoint"):
        for training in trainings.values():
            training.checkpoints.find(args.checkpoint)
    with naming("--corpus"):
        corpora = {name: open_corpus(uri) for name, uri in args.corpus}
        for corpus in corpora.values():
            if not sum(file.pairs for file in corpus.of_split(args.split)):
                raise UsageError(f"{corpus.root} has no pairs in its split {args.split}")
    return trainings, corpora


def _describe(shown: Any, seconds: float) -> str:
    from launch.screen import time_left
    from launch.words import duration

    if not shown.begun:
        return "loading the network"
    rate = shown.done / max(seconds, 0.5)
    left = duration(time_left(shown, seconds))
    return f"{shown.done:,} of {shown.total:,} pairs, {rate:,.0f} pairs/s, {left} left"


def _print_table(args: argparse.Namespace, cells: Sequence[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"pairs of the {args.split} split that were told right, 95 % interval")
    table.add_column("trained on")
    table.add_column("pairs seen", justify="right")
    for name, _ in args.corpus:
        table.add_column(printable(name), justify="right")
    for name, _ in args.training:
        row = [cell for cell in cells if cell["training"] == name]
        table.add_row(printable(name), f"{row[0]['samples']:,}", *map(_in_words, row))
    Console().print(table)


def _in_words(cell: dict[str, Any]) -> str:
    from l3core.training.chance import in_words

    return f"{in_words(cell['correct'], cell['pairs'])}, n = {cell['pairs']:,}"
