"""`l3flow avc train`: its options, and what people see of a training."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from l3core.errors import SpecError, UsageError
from launch.exits import DONE
from launch.options import Parser, add_output_flags, naming, number, positive, whole_number

if TYPE_CHECKING:
    from l3core.avc.corpus import Corpus
    from l3core.training.loop import Outcome
    from l3core.training.settings import TrainingSettings

DESCRIPTION = """\
Train L3 on the pairs of a corpus: does this frame belong to this second of sound?

The defaults are the paper's; --preset toy is a narrow network that learns in minutes. A killed training
goes on with the same command, as if nothing had happened. It leaves a page (training.html), history.csv,
events for TensorBoard, and checkpoints for l3flow avc evaluate and export.

examples:
  l3flow avc train --corpus pairs --output training --preset paper
  l3flow avc train --corpus pairs --output toy --preset toy --epochs 5
  l3flow avc train --corpus pairs --output control --preset toy --shuffle-labels
  l3flow avc train --corpus gs://bucket/pairs --output gs://bucket/training --devices gpu:0 gpu:1
  l3flow avc train --corpus pairs --output training --dry-run
"""


def build_parser(prog: str) -> Parser:
    """The options of this command."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    add = parser.add_argument
    add("--corpus", required=True, metavar="URI", help="pairs of l3flow avc sample")
    add("--output", required=True, metavar="URI", help="folder of the training")
    add("--preset", metavar="NAME", help="paper or toy: what flags that are not given mean")
    _add_settings(parser)
    add(
        "--devices",
        nargs="+",
        default=[],
        metavar="NAME",
        help="as gpu:0 gpu:1, each takes a part of every batch and normalises it by itself, so their "
        "number is part of the training; the paper's had 4, 16 pairs each (default all GPUs or the CPU)",
    )
    add("--deterministic", action="store_true", help="let a GPU give the same numbers each time, slower")
    add("--dry-run", action="store_true", help="say what a run would do, and stop")
    add("--log-file", metavar="FILE", help="append what libraries say to FILE; it is not shown")
    add_output_flags(parser)
    return parser


def _add_settings(parser: Parser) -> None:
    group = parser.add_argument_group("training", "Defaults are the preset's, else the paper's.")
    add = group.add_argument
    add("--model", metavar="NAME", help="l3 or l3-narrow (default l3)")
    add("--input-repr", metavar="REPR", help="linear, mel128 or mel256 (default mel256)")
    add("--frontend", metavar="NAME", help="generation of the spectrogram (default as-trained)")
    add("--epochs", type=positive, metavar="N", help="default 300; a training may go on for more")
    add("--steps-per-epoch", type=positive, metavar="N", help="default 4096")
    add("--batch-size", type=positive, metavar="N", help="pairs of a step (default 64)")
    add("--learning-rate", type=number, metavar="X", help="Adam's (default 1e-5)")
    add("--learning-rate-decay", type=number, metavar="X", help="factor each epoch (default 1)")
    add("--l2", type=number, metavar="X", help="weight of the kernels' squares (default 1e-5)")
    add("--seed", type=whole_number, metavar="N", help="of weights and order (default 0)")
    add("--validation-steps", type=positive, metavar="N", help="batches, at most (default 1024)")
    add("--checkpoint-samples", type=positive, metavar="N", help="kept each N pairs (default 2621440)")
    add("--precision", metavar="TYPE", help="float32, mixed_bfloat16 or mixed_float16")
    add("--shuffle-labels", action="store_true", help="train on drawn labels: it must stay at chance")


def run(argv: Sequence[str], parser: Parser) -> int:
    """Train; returns the exit code."""
    args = parser.parse(argv)
    from launch.quiet import quiet_libraries  # after --help
    from launch.signals import interruptible

    settings = settings_of(args)
    with interruptible(), quiet_libraries(args.log_file):
        from l3core.avc.corpus import open_corpus
        from launch.places import reach_places

        reach_places({"--corpus": args.corpus, "--output": args.output})
        with naming("--corpus"):
            corpus = open_corpus(args.corpus)
        if args.dry_run:
            return _preview(args, settings, corpus)
        outcome = _train(args, settings, corpus)
    return _tell(args, settings, outcome)


def settings_of(args: argparse.Namespace) -> "TrainingSettings":
    """What the flags mean.

    Raises:
        UsageError: naming the flag.
    """
    from l3core.training.settings import PRESETS, TrainingSettings

    if args.preset is not None and args.preset not in PRESETS:
        raise UsageError(f"--preset must be one of {', '.join(PRESETS)}, got {args.preset!r}")
    names = (field.name for field in fields(TrainingSettings))
    given = {name: getattr(args, name) for name in names}
    given = {name: value for name, value in given.items() if value is not None and value is not False}
    try:
        return replace(PRESETS[args.preset] if args.preset else TrainingSettings(), **given)
    except SpecError as error:
        raise UsageError(f"--{error.field.replace('_', '-')} {error.problem}") from None


def _train(args: argparse.Namespace, settings: "TrainingSettings", corpus: "Corpus") -> "Outcome":
    from l3core.training.loop import train
    from launch.avc.train_screen import Screen, asked_to_stop

    quiet = args.quiet or args.json
    with asked_to_stop() as stops, Screen(settings, stops, quiet=quiet) as screen:
        return train(
            settings,
            corpus,
            args.output,
            devices=args.devices,
            deterministic=args.deterministic,
            watcher=screen,
        )


def _tell(args: argparse.Namespace, settings: "TrainingSettings", outcome: "Outcome") -> int:
    from launch.signals import Interrupted

    state = outcome.state
    best = None if state.best is None else state.best._asdict()
    if args.json:
        last = outcome.rows[-1]._asdict() if outcome.rows else None
        facts = {
            "output": args.output,
            "finished": outcome.finished,
            "step": state.step,
            "samples": state.samples,
            "epochs": state.epochs,
            "best": best,
            "last": last,
            "settings": settings.as_json(),
        }
        print(json.dumps(facts, indent=1, sort_keys=True))
    if not outcome.finished:
        raise Interrupted(
            f"interrupted after step {state.step} of {settings.steps}; the same command goes on there"
        )
    if not (args.quiet or args.json):
        print(f"{args.output}: {_in_words(outcome)}")
    return DONE


def _in_words(outcome: "Outcome") -> str:
    from l3core.training.chance import percent

    state = outcome.state
    assert state.best is not None
    return (
        f"{state.epochs} epochs, {state.samples:,} pairs; best validation accuracy "
        f"{percent(state.best.validation_accuracy)}, after epoch {state.best.epoch}"
    )


def _preview(args: argparse.Namespace, settings: "TrainingSettings", corpus: "Corpus") -> int:
    """Say what a run would do."""
    facts = _plan(args, settings, corpus)
    if args.json:
        print(json.dumps(facts, indent=1, sort_keys=True))
    elif not args.quiet:
        step, pairs = facts["done_steps"], facts["training_pairs"]
        print(f"{settings.model}, {settings.input_repr}, {settings.frontend} front end")
        print(f"{pairs:,} pairs to train on, {facts['validation_pairs']:,} to validate with")
        print(
            f"{settings.epochs} epochs of {settings.steps_per_epoch:,} steps of {settings.batch_size} "
            f"pairs: {settings.samples:,} pairs, each {settings.samples / pairs:.3g} times"
        )
        if facts["done_epochs"] >= settings.epochs:
            print(f"it is finished, after {facts['done_epochs']:,} epochs")
        else:
            print(
                f"goes on after step {step:,} of {settings.steps:,}" if step else "begins from the start"
            )
    return DONE


def _plan(args: argparse.Namespace, settings: "TrainingSettings", corpus: "Corpus") -> dict[str, Any]:
    from l3core import storage
    from l3core.training.checkpoints import Checkpoints, State
    from l3core.training.loop import check_corpus
    from l3core.training.output import OutputPaths, check_identity, identity_for

    check_corpus(corpus)
    root = storage.absolute_folder(args.output)
    wanted = identity_for(settings, corpus, replicas=len(args.devices) or None)
    check_identity(OutputPaths(root), wanted)
    if args.devices:
        from l3core.training.devices import strategy_of  # it loads TensorFlow, to know what there is

        strategy_of(args.devices, batch_size=settings.batch_size)
    checkpoints = Checkpoints(root)
    latest = checkpoints.latest()
    state = State() if latest is None else checkpoints.state(latest)
    valid = sum(file.pairs for file in corpus.of_split("valid"))
    return {
        "settings": settings.as_json(),
        "corpus": corpus.root,
        "digest": corpus.digest,
        "training_pairs": sum(file.pairs for file in corpus.of_split("train")),
        "validation_pairs": min(valid, settings.validation_steps * settings.batch_size),
        "samples": settings.samples,
        "steps": settings.steps,
        "done_steps": state.step,
        "done_epochs": state.epochs,
    }
