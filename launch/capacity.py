"""`l3flow bench`, what its figures mean for a corpus: hours, money, and the same on many machines."""

import argparse
from collections.abc import Collection, Sequence
from typing import NamedTuple

from launch.benchmarks.figures import Figure
from launch.benchmarks.parts import Setting
from launch.options import Parser, above_zero, positive
from launch.words import duration

CLIP_S = 10.0
MOST = 10**9  # hours or seconds
MOST_WORKERS = 2**20


class Ends(NamedTuple):
    """The last figures, and the last lines."""

    figures: list[Figure]
    sentences: list[str]


def add_capacity_flags(parser: Parser) -> None:
    """`--hours` and what belongs to it."""
    add = parser.add_argument_group("planning", "What a corpus takes, by what is measured.").add_argument
    add("--hours", type=above_zero, metavar="N", help="of audio: how long this machine takes for it")
    add(
        "--clip-seconds",
        type=above_zero,
        default=CLIP_S,
        metavar="N",
        help=f"of which a recording has so many (default {CLIP_S:g})",
    )
    add("--price-per-hour", type=above_zero, metavar="N", help="of a machine, in any currency")
    add("--plan", type=positive, metavar="N", help="on N machines like this one, and when more are idle")


def check_capacity_flags(args: argparse.Namespace, parser: Parser) -> None:
    """Refuse what does not belong together."""
    for flag, value in (("--price-per-hour", args.price_per_hour), ("--plan", args.plan)):
        if value is not None and args.hours is None:
            parser.error(f"{flag} needs --hours N: of how much audio?")
    for flag, value, most in (
        ("--hours", args.hours, MOST),
        ("--clip-seconds", args.clip_seconds, MOST),
        ("--plan", args.plan, MOST_WORKERS),
    ):
        if value is not None and value > most:
            parser.error(f"{flag} needs at most {most:,}, got {value:g}")


def parts_needed(args: argparse.Namespace, named: Collection[str]) -> set[str]:
    """Parts that have to be measured besides the named ones."""
    speed = {"model"} if args.hours and not {"model", "whole"} & set(named) else set()
    return speed | ({"costs"} if args.plan else set())


def ends_of(args: argparse.Namespace, setting: Setting, figures: Sequence[Figure]) -> Ends:
    """What the measured figures come to; nothing where no speed was measured."""
    from launch.benchmarks import capacity  # after --help

    speed = capacity.speed_of(figures, setting.spec)
    if speed is None:
        return Ends([], [])
    spec, clip_s, hours = setting.spec, args.clip_seconds, args.hours
    corpus = capacity.Corpus(spec=spec, hours=hours or 1.0, clip_s=clip_s)
    rate = capacity.rate_figure(corpus, speed)
    ends = Ends([rate], [f"This machine embeds {rate.value:,.3g} hours of audio an hour ({rate.note})."])
    if hours is None:
        return ends
    price = args.price_per_hour
    took = list(capacity.time_figures(corpus, speed, price))
    ends.figures.extend(took)
    ends.sentences.append(f"{hours:,.10g} hours take it {_time(took[0])}{_money(took[1:])}.")
    if args.plan is None:
        return ends
    planned = list(capacity.plan_figures(corpus, speed, setting.costs, args.plan, price))
    ends.figures.extend(planned)
    value = {figure.name: figure for figure in planned}
    alone = capacity.plan_run(corpus, speed, setting.costs, args.plan).alone
    money = _money([value["planned money"]] if price is not None else [])
    ends.sentences.append(
        f"{args.plan:,} like it take {_time(value['planned time'])}{money}; for {duration(alone)} of it "
        "one process lists, plans and commits, and the others wait."
    )
    end = value["scaling ends at"]
    ends.sentences.append(f"Scaling ends at {end.value:,.0f} of them: {end.note}.")
    return ends


def _time(figure: Figure) -> str:
    hours = figure.value
    return f"{hours / 24:,.1f} days" if hours >= 72 else duration(3600 * hours)


def _money(figures: Sequence[Figure]) -> str:
    return "".join(f" and cost {figure.value:,.2f}" for figure in figures)
