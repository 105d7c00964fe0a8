"""`l3flow avc subset`: AudioSet's lists of segments -> the segments to learn from, each in a split."""

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from launch.options import Parser, add_output_flags, naming, number, whole_number, writing_to
from launch.words import duration, printable

if TYPE_CHECKING:
    from l3core.avc.audioset import Segment
    from l3core.avc.ontology import Ontology
    from l3core.avc.rules import Chooser
    from l3core.avc.subset import Chosen

RULES_SHOWN = 5
DESCRIPTION = """\
Choose AudioSet's segments by their labels, split them 80/10/10 by video, and write them as CSV, for
l3flow avc fetch.

Segments and ontology are AudioSet's files: research.google.com/audioset/download.html and
github.com/audioset/ontology. Rules are the paper's lists, or a CSV file with the columns filter_type
(label or ytid), accept_reject (accept or reject), include_children (true or false) and string.

include_children takes all that is below a label in the ontology. In the code of the paper it had no
effect; --children as-published repeats that.

examples:
  l3flow avc subset --segments balanced_train_segments.csv unbalanced_train_segments.csv \\
      --ontology ontology.json --rules music --output music.csv
  l3flow avc subset --segments gs://bucket/eval_segments.csv --ontology gs://bucket/ontology.json \\
      --rules environmental --children as-published --output environmental.csv --json
"""


def build_parser(prog: str) -> Parser:
    """The options of this command."""
    from l3core.avc.subset import SHARE

    parser = Parser(prog=prog, description=DESCRIPTION)
    add = parser.add_argument
    add(
        "--segments",
        nargs="+",
        action="extend",
        required=True,
        metavar="CSV",
        help="lists of segments, paths or URIs",
    )
    add("--ontology", required=True, metavar="JSON", help="AudioSet's ontology, a path or URI")
    add("--rules", required=True, metavar="RULES", help="music, environmental, or a file of rules")
    add("--output", required=True, metavar="CSV", help="the subset, a path or URI")
    add(
        "--children",
        choices=("included", "as-published"),
        default="included",
        help="whether include_children has an effect: included (the default), or as-published: none",
    )
    add("--seed", type=whole_number, default=0, metavar="N", help="of the split (default 0)")
    add(
        "--valid-share",
        type=number,
        default=SHARE,
        metavar="SHARE",
        help=f"of the videos (default {SHARE:g})",
    )
    add(
        "--test-share",
        type=number,
        default=SHARE,
        metavar="SHARE",
        help=f"of the videos (default {SHARE:g})",
    )
    add_output_flags(parser)
    return parser


def run(argv: Sequence[str], parser: Parser) -> int:
    """Choose, split and write; returns the exit code."""
    args = parser.parse(argv)
    from l3core.avc.ontology import read_ontology
    from l3core.avc.rules import Chooser, read_rules
    from l3core.avc.subset import choose, split_videos
    from l3core.avc.subset_csv import write_subset
    from l3core.errors import UsageError
    from l3core.urls import refuse_web
    from launch.places import reach_places

    reach_places({f"--{name}": getattr(args, name) for name in ("segments", "ontology", "output")})
    with naming("--output"):
        refuse_web(args.output)
    split_videos((), seed=args.seed, valid=args.valid_share, test=args.test_share)
    with naming("--ontology"):
        ontology = read_ontology(args.ontology)
    with naming("--rules"):
        chooser = Chooser(read_rules(args.rules), ontology, children=args.children == "included")
    with naming("--segments"):
        chosen = choose(_reading(args), chooser, ontology)
        if not chosen.seen:
            raise UsageError(f"{', '.join(args.segments)}: no segment in it")
    if not chosen.segments:
        raise UsageError(f"--rules {args.rules} choose none of {chosen.seen} segments")
    videos = {segment.video for segment in chosen.segments}
    splits = split_videos(videos, seed=args.seed, valid=args.valid_share, test=args.test_share)
    with writing_to("--output", args.output):
        write_subset(args.output, chosen.segments, splits, ontology)
    facts = _facts(args, chosen, splits, chooser)
    if args.json:
        print(json.dumps(facts, indent=1))
    elif not args.quiet:
        _print(facts, ontology)
    return 0


def _reading(args: argparse.Namespace) -> Iterator["Segment"]:
    """All segments, with the progress shown."""
    from l3core import storage
    from l3core.avc.audioset import read_segments
    from launch.screen import SHOWN_AFTER_S, Steps, showing_progress, time_left

    total = sum(max(0, storage.named(uri).size_bytes) for uri in args.segments)
    before, steps, count = 0, Steps(), 0

    def told(done: int) -> None:
        nonlocal steps
        steps = Steps(before + done, total)

    def describe(steps: Steps, seconds: float) -> str:
        left = f", {duration(time_left(steps, seconds))} left" if steps.share else ""
        return f"reading segments: {count}, {count / max(seconds, SHOWN_AFTER_S):.0f} segments/s{left}"

    quiet = args.quiet or args.json
    with showing_progress(lambda: steps, describe, quiet=quiet, after_s=SHOWN_AFTER_S):
        for uri in args.segments:
            for segment in read_segments(uri, told):
                count += 1
                yield segment
            before = steps.done


def _facts(
    args: argparse.Namespace, chosen: "Chosen", splits: dict[str, str], chooser: "Chooser"
) -> dict[str, Any]:
    from l3core.avc.subset import PAPER_VIDEOS, SPLITS

    counts = Counter(splits.values())
    rules = [
        {
            "kind": rule.kind,
            "accepts": rule.accepts,
            "include_children": rule.with_children,
            "string": rule.text,
            "segments": matched,
        }
        for rule, matched in zip(chooser.rules, chooser.matches)
    ]
    return {
        "output": args.output,
        "rules": args.rules,
        "children": args.children,
        "seed": args.seed,
        "segments_seen": chosen.seen,
        "segments": len(chosen.segments),
        "videos": len(splits),
        "paper_videos": PAPER_VIDEOS.get(args.rules),
        "splits": {split: counts[split] for split in SPLITS},
        "repeated": chosen.repeated,
        "videos_with_several_segments": chosen.several,
        "unknown_labels": dict(chosen.unknown),
        "by_rule": rules,
    }


def _print(facts: dict[str, Any], ontology: "Ontology") -> None:
    paper = facts["paper_videos"]
    beside = f" (the paper: {paper // 1000} K)" if paper else ""
    print("{output}: {segments} of {segments_seen} segments, {videos} videos".format(**facts) + beside)
    print("videos by split: " + ", ".join(f"{name} {count}" for name, count in facts["splits"].items()))
    if facts["repeated"]:
        print(f"{facts['repeated']} segments were there more than once, and are once now")
    if facts["videos_with_several_segments"]:
        print(f"{facts['videos_with_several_segments']} videos have several segments, all in one split")
    if unknown := facts["unknown_labels"]:
        shown = ", ".join(sorted(unknown)[:RULES_SHOWN])
        print(f"{len(unknown)} labels are not in the ontology ({len(ontology.names)} are): {shown}")
    rules = sorted(facts["by_rule"], key=lambda rule: -rule["segments"])
    idle = sum(not rule["segments"] for rule in rules)
    print(f"{len(rules)} rules, {idle} of them matched nothing; most (all with --json):")
    for rule in rules[:RULES_SHOWN]:
        verdict = "accept" if rule["accepts"] else "reject"
        print(printable(f"  {rule['segments']:8} {verdict} {rule['string']}"))
