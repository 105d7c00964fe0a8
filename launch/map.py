"""`l3flow map`: a picture of a table's clips, as one page."""

import argparse
import difflib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from l3core.errors import UsageError
from launch.options import (
    Parser,
    add_output_flags,
    add_table_flag,
    naming,
    positive,
    whole_number,
    writing_to,
)
from launch.words import printable, size

if TYPE_CHECKING:
    from l3core.maps.columns import Column
    from l3core.search.vectors import Partition
    from l3core.table.layout import TablePaths
    from l3core.table.state import TableState

DESCRIPTION = """\
Draw the clips of a table as points in one HTML page: what sounds alike is near. Of each clip the mean of
its windows counts, without the silent ones. The page needs no network; a click plays a clip.

examples:
  l3flow map --table table
  l3flow map --table table --dataset esc10 --dataset-root ESC-50-master --output esc10.html
  l3flow map --table table --labels labels.csv --colour species    # a CSV with a column clip_id
  l3flow map --table table --method umap --sample 5000
"""
MOST = 200_000  # clips: a page of some 20 MB


def build_parser(prog: str) -> Parser:
    """The options of this command."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    add = parser.add_argument
    add_table_flag(parser)
    add("--spec", metavar="FP", help="by which embeddings; not needed if there is only one spec")
    add("--output", default="map.html", metavar="FILE", help="the page (default map.html)")
    add("--method", choices=("pca", "umap"), default="pca", help="umap needs l3flow[umap] (default pca)")
    add(
        "--sample",
        type=positive,
        metavar="N",
        help="clips at most (default 20000, fewer if their vectors take more than 512 MiB)",
    )
    add("--seed", type=whole_number, default=0, metavar="N", help="which clips; of umap (default 0)")
    add("--colour", metavar="COLUMN", help="of the ledger or the labels; the page can change it")
    add("--dataset", metavar="NAME", help="label, fold and source from there, see l3flow datasets")
    add("--dataset-root", metavar="URI", help="where its labels and audio are")
    add("--labels", metavar="CSV", help="a file with clip_id and columns of your own")
    add_output_flags(parser)
    return parser


def run(argv: Sequence[str], parser: Parser) -> int:
    """Draw a map; returns the exit code."""
    args = parser.parse(argv)
    _check(args, parser)
    from functools import partial

    from l3core import storage
    from l3core.table.read import following_commits
    from l3core.table.state import choose_spec, existing_state
    from launch.places import reach_places
    from launch.tables import refuse_within, table_of

    paths = table_of(args)
    refuse_within("--output", args.output, paths)
    names = ("output", "dataset_root", "labels")
    reach_places({"--" + name.replace("_", "-"): getattr(args, name) for name in names})
    if args.method == "umap":
        from l3core.maps.placing import umap_module

        umap_module()
    with naming("--table"):
        state = existing_state(paths)
    fingerprint = choose_spec(paths, state, args.spec)
    page, facts = following_commits(paths, partial(_page, args, paths, fingerprint))
    content = page.encode()
    with writing_to("--output", args.output):
        storage.write_bytes(args.output, content)
    if args.json:
        print(json.dumps(facts | {"output": args.output, "bytes": len(content)}, indent=1))
    elif not args.quiet:
        print(f"{printable(args.output)}: {facts['about']}")
    return 0


def _check(args: argparse.Namespace, parser: Parser) -> None:
    from l3core.datasets import DATASETS

    if args.sample is not None and args.sample > MOST:
        parser.error(f"--sample needs at most {MOST}, got {args.sample}")
    if not 0 <= args.seed < 2**32:
        parser.error(f"--seed needs a number from 0 to {2**32 - 1}, got {args.seed}")
    if (args.dataset is None) != (args.dataset_root is None):
        parser.error("--dataset and --dataset-root need each other")
    if args.dataset is not None and args.dataset not in DATASETS:
        parser.error(f"--dataset must be one of {', '.join(DATASETS)}, got {args.dataset!r}")


def _page(
    args: argparse.Namespace, paths: "TablePaths", fingerprint: str, state: "TableState"
) -> tuple[str, dict[str, Any]]:
    """(the page, what is in it) of one commit."""
    from l3core.maps.clips import default_sample, map_clips
    from l3core.maps.placing import METHODS
    from l3core.reports.map import map_page
    from l3core.search.vectors import Partition
    from launch.screen import SHOWN_AFTER_S, Steps, showing_progress

    partition = Partition(paths, state, fingerprint)
    sample = args.sample or default_sample(partition)
    labels = _labels(args, partition)
    _check_colour(args.colour, labels)
    _check_memory(partition, sample)
    windows = sum(state.files[path]["rows"] for path in state.windows(fingerprint))
    total = -(-windows * 10 // 9)  # they are not all there is to do
    done = [Steps(0, total)]

    def report(count: int) -> None:
        done[0] = Steps(count, total)

    def describe(steps: Steps, seconds: float) -> str:
        if steps.done == windows:
            return f"{args.method} of the clips"
        return f"{steps.done} of {windows} windows"

    quiet = args.quiet or args.json
    with showing_progress(lambda: done[0], describe, quiet=quiet, after_s=SHOWN_AFTER_S):
        found = map_clips(partition, sample, seed=args.seed, report=report)
        report(windows)
        placed = METHODS[args.method](found.means, seed=args.seed)
    clips = found.rows["clip_id"].to_pylist()
    columns = _columns(args, labels, found.rows, clips)
    facts = {
        "table": paths.root,
        "spec": fingerprint,
        "method": args.method,
        "seed": args.seed,
        "clips": len(clips),
        "available": found.available,
        "silent": found.silent,
        "variance": placed.variance,
        "columns": [column.name for column in columns],
        "colour": args.colour or _first(columns),
    }
    facts["about"] = _about(facts)
    uris = found.rows["uri"].to_pylist()
    about = f"{facts['about']}; spec {fingerprint}"
    page = map_page(printable(paths.root), about, placed, clips, uris, columns, facts["colour"])
    return page, facts


def _labels(args: argparse.Namespace, partition: "Partition") -> dict[str, dict[str, Any]]:
    from l3core.datasets import DATASETS
    from l3core.maps.labels import dataset_labels, read_labels

    labels: dict[str, dict[str, Any]] = {}
    if args.dataset:
        with naming("--dataset-root"):
            labels |= dataset_labels(partition, DATASETS[args.dataset], args.dataset_root)
    if args.labels:
        with naming("--labels"):
            labels |= read_labels(args.labels)
    return labels


def _check_colour(colour: str | None, labels: dict[str, dict[str, Any]]) -> None:
    from l3core.table.layout import LEDGER_SCHEMA

    known = list(dict.fromkeys([*labels, *LEDGER_SCHEMA.names, "folder"]))
    if colour is not None and colour not in known:
        near = difflib.get_close_matches(colour, known, n=2)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known)}"
        raise UsageError(f"--colour: no column {colour!r}, {hint}")


def _check_memory(partition: "Partition", sample: int) -> None:
    from l3core.machine import usable_memory
    from l3core.maps.clips import needed_bytes

    needed, free = needed_bytes(partition, sample), usable_memory()
    if needed > free:
        raise UsageError(
            f"--sample: {sample} clips may take {size(needed)} of memory, {size(free)} are free: "
            "give a smaller one"
        )


def _columns(
    args: argparse.Namespace, labels: dict[str, dict[str, Any]], rows: Any, clips: Sequence[str]
) -> list["Column"]:
    from l3core.maps.columns import label_columns, ledger_columns

    own = label_columns(labels, clips)
    for column in own if args.labels else ():
        if not any(value is not None for value in column.values):
            raise UsageError(f"--labels {args.labels}: no clip of the map has a {column.name}")
    return [*own, *(column for column in ledger_columns(rows, args.colour) if column.name not in labels)]


def _first(columns: Sequence["Column"]) -> str:
    """The column that is shown first: the label, or what tells clips apart."""
    apart = [column.name for column in columns if len(set(column.values)) > 1]
    return next((name for name in ("label", "folder", *apart) if name in apart), columns[0].name)


def _about(facts: dict[str, Any]) -> str:
    """What is in a map, in words."""
    count = facts["clips"]
    told = f"{count} clip{'' if count == 1 else 's'}"
    if facts["available"] > count + facts["silent"]:
        told += f" drawn from {facts['available']}"
    if facts["silent"]:
        told += f", {facts['silent']} silent left out"
    if facts["variance"] is None:
        return f"{told}, by UMAP"
    x, y = facts["variance"]
    return f"{told}, by PCA (x has {100 * x:.0f} % of the variance, y {100 * y:.0f} %)"
