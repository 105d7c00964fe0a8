"""`l3flow datasets`: the labelled corpora that are known, and whether a copy of one is as published."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from launch.options import Parser, add_output_flags, naming
from launch.words import duration, printable

if TYPE_CHECKING:
    from l3core.datasets import Dataset, DatasetCopy

DESCRIPTION = """\
List the labelled corpora that l3flow knows: what they hold, under which licence, and how to get them.
With --dataset and --dataset-root: check whether a copy is as its authors published it.

examples:
  l3flow datasets
  l3flow datasets --dataset esc10 --dataset-root ESC-50-master
  l3flow datasets --json
"""


def build_parser(prog: str) -> Parser:
    """The options of this command."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    parser.add_argument("--dataset", metavar="NAME", help="only this one")
    parser.add_argument("--dataset-root", metavar="URI", help="check the copy there")
    parser.add_argument("--allow-partial", action="store_true", help="a copy may lack clips")
    add_output_flags(parser)
    return parser


def run(argv: Sequence[str], parser: Parser) -> int:
    """List or check; returns the exit code."""
    args = parser.parse(argv)
    from l3core.datasets import DATASETS, read_dataset
    from launch.places import reach_places

    if args.dataset is not None and args.dataset not in DATASETS:
        parser.error(f"--dataset must be one of {', '.join(DATASETS)}, got {args.dataset!r}")
    if args.dataset_root is not None:
        if args.dataset is None:
            parser.error("--dataset-root needs --dataset: which one should it be?")
        reach_places({"--dataset-root": args.dataset_root})
        with naming("--dataset-root"):
            dataset = DATASETS[args.dataset]
            copy = read_dataset(dataset, args.dataset_root, allow_partial=args.allow_partial)
        if args.json:
            print(json.dumps(_copy_facts(copy), indent=1))
        elif not args.quiet:
            _print_copy(copy, args.dataset_root)
        return 0
    if args.allow_partial:
        parser.error("--allow-partial is about the copy that --dataset-root names")
    chosen = [dataset for name, dataset in DATASETS.items() if args.dataset in (None, name)]
    if args.json:
        print(json.dumps([_facts(dataset) for dataset in chosen], indent=1))
    elif not args.quiet:
        print("\n\n".join(map(_describe, chosen)))
    return 0


def _facts(dataset: "Dataset") -> dict[str, Any]:
    return {
        "name": dataset.name,
        "title": dataset.title,
        "clips": dataset.clips,
        "seconds": dataset.seconds,
        "classes": list(dataset.classes),
        "fold_sizes": dict(dataset.fold_sizes),
        "test_folds": list(dataset.test_folds),
        "licence": dataset.licence,
        "address": dataset.address,
        "download": dataset.download,
        "citation": dataset.citation,
    }


def _describe(dataset: "Dataset") -> str:
    folds = ", ".join(map(str, dataset.test_folds))
    lines = [
        f"{dataset.name}: {dataset.title}",
        f"  {dataset.clips} clips, {duration(dataset.seconds)}, {len(dataset.classes)} classes, "
        f"{len(dataset.fold_sizes)} folds (tested: {folds})",
        f"  licence  {dataset.licence}",
        f"  source   {dataset.address}",
        f"  get it   {dataset.download}",
        f"  cite     {dataset.citation}",
    ]
    return "\n".join(lines)


def _copy_facts(copy: "DatasetCopy") -> dict[str, Any]:
    folds = Counter(clip.fold for clip in copy.clips)
    return {
        "name": copy.dataset.name,
        "root": copy.root,
        "clips": len(copy.clips),
        "published_clips": copy.dataset.clips,
        "fold_sizes": dict(sorted(folds.items())),
        "complete": copy.complete,
        "subset": copy.subset,
        "differences": list(copy.differences),
        "shared_sources": _shared(copy),
    }


def _print_copy(copy: "DatasetCopy", given_root: str) -> None:
    folds = Counter(clip.fold for clip in copy.clips)
    sizes = ", ".join(f"{fold}: {count}" for fold, count in sorted(folds.items()))
    state = "all there" if copy.complete else copy.subset or "a part"
    print(f"{copy.dataset.title} in {printable(given_root)}: {len(copy.clips)} clips, {state}")
    print(f"clips by fold: {sizes}")
    for line in copy.differences:
        print(f"  {printable(line)}")
    for source, shared in _shared(copy).items():
        print(f"  source {printable(source)} is in folds {', '.join(map(str, shared))}")


def _shared(copy: "DatasetCopy") -> dict[str, tuple[int, ...]]:
    from l3core.datasets import shared_sources

    return shared_sources(copy.clips)
