"""`l3flow avc fetch`: the videos of a subset, through yt-dlp and FFmpeg, into a folder or a bucket."""

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from l3core.avc.fetch_statuses import OK, STATUSES
from launch.options import Parser, above_zero, add_output_flags, naming, positive, writing_to
from launch.signals import Interrupted, interruptible
from launch.words import duration, printable, size

if TYPE_CHECKING:
    from l3core.avc.fetch_ledger import FetchRow
    from l3core.avc.fetch_pace import Pace
    from l3core.avc.fetching import FetchPlan
    from l3core.avc.subset_csv import Times
    from launch.screen import Steps

WORKERS, RATE, WAIT_S, TIMEOUT_S, RESOLUTION = 2, 20.0, 60.0, 600.0, 360
RETRIED = [status for status in STATUSES if status != OK]
DESCRIPTION = """\
Fetch the videos of a subset: of each only the seconds that the subset names, as OUTPUT/ID.mp4
(ID_MILLISECONDS.mp4 where a video has several segments).

Start it again whenever it ended: what is there is not asked for again, nor what will not come. What
became of each video is in OUTPUT/fetch-ledger/, a line of JSON each. One run at a time fetches into a
folder.

{statuses}

rate-limited, network and timeout are tried again by the next run, others with --retry. Are you allowed
to fetch these videos and to learn from them? The site's terms and your country's law say.

needs yt-dlp and FFmpeg: pip install 'l3flow[video]'

examples:
  l3flow avc fetch --subset music.csv --output videos
  l3flow avc fetch --subset music.csv --output gs://bucket/videos --rate 30 --workers 4
  l3flow avc fetch --subset music.csv --output videos --retry private --retry failed
  l3flow avc fetch --subset mine.csv --output videos --url-template 'https://media.example.org/{{id}}.mp4'
"""


def build_parser(prog: str) -> Parser:
    """The options of this command."""
    statuses = "\n".join(f"  {status:13} {words}" for status, words in STATUSES.items())
    parser = Parser(prog=prog, description=DESCRIPTION.format(statuses=statuses))
    add = parser.add_argument
    add("--subset", required=True, metavar="CSV", help="of l3flow avc subset, or with its columns")
    add("--output", required=True, metavar="URI", help="folder of the videos")
    add("--limit", type=positive, metavar="N", help="only the first N segments of the subset")
    add(
        "--rate",
        type=above_zero,
        default=RATE,
        metavar="N",
        help=f"videos asked for in a minute (default {RATE:g})",
    )
    add("--workers", type=positive, default=WORKERS, metavar="N", help=f"at a time (default {WORKERS})")
    add(
        "--retry",
        action="append",
        default=[],
        choices=RETRIED,
        metavar="STATUS",
        help="ask again for videos of this status; may be given several times",
    )
    add(
        "--wait",
        type=above_zero,
        default=WAIT_S,
        metavar="SECONDS",
        help=f"when the site answers 429: at first so long, then twice as long, five times in all; a "
        f"video is asked for twice (default {WAIT_S:g})",
    )
    add(
        "--timeout",
        type=above_zero,
        default=TIMEOUT_S,
        metavar="SECONDS",
        help=f"a video may take (default {TIMEOUT_S:g})",
    )
    add(
        "--resolution",
        type=positive,
        default=RESOLUTION,
        metavar="PIXELS",
        help=f"of the smaller side, the largest up to it (default {RESOLUTION}; 256 are cut from)",
    )
    add(
        "--url-template",
        metavar="URL",
        help="with {id} for a video's id, at a server that gives ranges of bytes (default YouTube's)",
    )
    add_output_flags(parser)
    return parser


def run(argv: Sequence[str], parser: Parser) -> int:
    """Fetch what is not there yet; returns the exit code."""
    args = parser.parse(argv)
    from l3core import storage
    from l3core.avc.fetch_one import TEMPLATE, FetchSettings, hold_installed
    from l3core.errors import UsageError
    from l3core.urls import refuse_web
    from launch.places import reach_places

    with naming("--url-template"):
        settings = FetchSettings(
            template=args.url_template or TEMPLATE, timeout_s=args.timeout, resolution=args.resolution
        )
    hold_installed()
    with naming("--output"):
        refuse_web(args.output)
    reach_places({"--subset": args.subset, "--output": args.output})
    if not storage.is_folder_or_absent(args.output):
        raise UsageError(f"--output {args.output} is a file, needs a folder")
    with naming("--subset"):
        named = _named(args.subset, args.limit)
    rows: list[FetchRow] = []
    with _interrupts_told(rows), _alone(args.output):
        plan = _plan(args, named)
        with tempfile.TemporaryDirectory(prefix="l3flow-fetch-") as home:
            _fetch(args, plan, settings, home, rows)
    facts = _facts(args, len(named), plan, rows)
    if args.json:
        print(json.dumps(facts, indent=1))
    elif not args.quiet:
        _print(facts)
    return 0


def _named(subset: str, limit: int | None) -> dict[str, "Times"]:
    """What is to be there in the end."""
    from l3core.avc.subset_csv import read_named
    from l3core.errors import UsageError

    named = read_named(subset)
    if not named:
        raise UsageError(f"{subset}: no segment in it")
    return dict(list(named.items())[:limit])


@contextmanager
def _alone(output: str) -> Iterator[None]:
    """The only run that fetches into a folder.

    Raises:
        BusyError: another does.
        UsageError: it cannot be written there.
    """
    from l3core.avc.fetch_ledger import locks_of
    from l3core.avc.fetching import LOCK
    from l3core.table.lock import holding
    from launch.tables import new_run_id

    with ExitStack() as stack:
        with writing_to("--output", output):
            stack.enter_context(holding(locks_of(output), LOCK, new_run_id()))
        yield


def _plan(args: argparse.Namespace, named: Mapping[str, "Times"]) -> "FetchPlan":
    """What is to be done, where no other run is at work."""
    from l3core.avc.fetch_ledger import read_fetched
    from l3core.avc.fetching import clear_half_written, plan_fetching

    clear_half_written(args.output)
    with naming("--output"):
        return plan_fetching(named, args.output, read_fetched(args.output), retry=set(args.retry))


def _fetch(
    args: argparse.Namespace, plan: "FetchPlan", settings: Any, home: str, rows: list["FetchRow"]
) -> None:
    from l3core.avc.fetch_ledger import FetchLedger
    from l3core.avc.fetch_one import Fetcher
    from l3core.avc.fetch_pace import Pace, waits_from
    from l3core.avc.fetching import fetch_all
    from launch.screen import Steps, showing_progress

    pace = Pace(per_minute=args.rate, waits_s=waits_from(args.wait))
    fetcher, ledger = Fetcher(settings, home), FetchLedger(args.output)
    began = time.monotonic()
    with showing_progress(
        lambda: Steps(len(rows), len(plan.wanted)),
        # the wait for the first counts, too
        lambda steps, _: _describe(steps, time.monotonic() - began, rows, pace),
        quiet=args.quiet or args.json,
    ):
        fetch_all(plan, args.output, fetcher, ledger, pace=pace, workers=args.workers, told=rows.append)


def _describe(steps: "Steps", seconds: float, rows: Sequence["FetchRow"], pace: "Pace") -> str:
    """Videos that were asked for, the rate and the time left, in words."""
    from launch.screen import time_left

    fine = sum(row.status == OK for row in rows)
    words = f"{steps.done} of {steps.total} videos asked for, {fine} fetched"
    if pace.refused:
        return f"{words}, the site refuses: again in {duration(pace.paused_s)}"
    if not steps.begun:
        return words
    left = duration(time_left(steps, seconds))
    return f"{words}, {60 * steps.done / seconds:.1f} videos/min, {left} left"


@contextmanager
def _interrupts_told(rows: Sequence["FetchRow"]) -> Iterator[None]:
    try:
        with interruptible():
            yield
    except KeyboardInterrupt:
        fine = sum(row.status == OK for row in rows)
        raise Interrupted(f"interrupted; {fine} fetched, the same command goes on from here") from None


def _facts(
    args: argparse.Namespace, wanted: int, plan: "FetchPlan", rows: Sequence["FetchRow"]
) -> dict[str, Any]:
    return {
        "output": args.output,
        "wanted": wanted,
        "there_before": len(plan.there),
        "asked_for": len(rows),
        "fetched": sum(row.status == OK for row in rows),
        "size_bytes": sum(row.size_bytes for row in rows),
        "statuses": _counts(Counter(row.status for row in rows)),
        "not_asked_again": _counts(plan.settled),
    }


def _counts(counts: Mapping[str, int]) -> dict[str, int]:
    return {status: counts[status] for status in STATUSES if counts.get(status)}


def _print(facts: dict[str, Any]) -> None:
    there = facts["there_before"] + facts["fetched"]
    print(printable(f"{facts['output']}: {there} of {facts['wanted']} videos are there"))
    print(
        f"this run: {facts['asked_for']} asked for, {facts['fetched']} fetched "
        f"({size(facts['size_bytes'])}); there before: {facts['there_before']}"
    )
    lost = {status: count for status, count in facts["statuses"].items() if status != OK}
    for words, counts in (("not to be had", lost), ("not asked for again", facts["not_asked_again"])):
        if counts:
            print(f"{words}: " + ", ".join(f"{status} {count}" for status, count in counts.items()))
    if lost:
        from l3core.avc.fetch_ledger import FOLDER

        print(printable(f"why: {facts['output']}/{FOLDER}"))
