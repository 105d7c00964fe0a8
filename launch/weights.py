"""`l3flow weights`: which weights there are, fetching and checking them, writing them to a file."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from l3core.errors import FetchError, UsageError
from l3core.models import MODELS, BundledFile, EmbeddingModel, PublishedFile
from launch.options import Parser, add_output_flags, add_spec_flags, spec_of
from launch.output import screen_of
from launch.quiet import quiet_libraries
from launch.words import printable

DESCRIPTION = """\
The weights of the models.

actions:
  list            what there is, where it comes from, whether it is on this machine
  fetch  [NAME]   download published weights into the cache (all of --model's, or those named)
  verify [NAME]   check the files on this machine against their digests: pinned, published and known
                  to l3flow; or first use, kept when the file was first on this machine
  export FILE.h5  write the weights of a spec in openl3's published layout
  quantise        write them with what --precision int8 needs, calibrated on recordings

examples:
  l3flow weights list
  l3flow weights fetch mel256-music
  l3flow weights fetch --model vggish
  l3flow weights verify
  l3flow weights export untrained.h5 --weights random:0
  l3flow weights quantise --model edgel3-sea-64 --calibrate 'corpus/*.wav' --output int8.h5
"""


def build_parser(prog: str) -> Parser:
    """The options of this command."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    parser.add_argument("action", choices=list(ACTIONS), metavar="ACTION")
    parser.add_argument("names", nargs="*", metavar="NAME", help="weights, or the file to export to")
    parser.add_argument(
        "--calibrate", nargs="+", metavar="PATTERN", help="recordings to quantise by, as for embed"
    )
    parser.add_argument("--output", metavar="FILE.h5", help="the quantised weights")
    add_spec_flags(parser)
    add_output_flags(parser)
    return parser


def run(argv: Sequence[str], parser: Parser) -> int:
    """Do the action; returns the exit code."""
    args = parser.parse(argv)
    if args.action != "quantise" and (args.calibrate or args.output):
        parser.error("--calibrate and --output are of quantise")
    with quiet_libraries():
        return ACTIONS[args.action](args)


def _files() -> Iterator[tuple[EmbeddingModel, str, PublishedFile | BundledFile]]:
    for model in MODELS.values():
        for name, file in model.weight_files().items():
            yield model, name, file


def _chosen(names: Sequence[str]) -> list[tuple[str, PublishedFile | BundledFile]]:
    known = {name: file for _, name, file in _files()}
    for name in names:
        if name not in known:
            raise UsageError(f"no weights are called {name!r}; there are {', '.join(known)}")
    return [(name, known[name]) for name in names or known]


def _names_of(model: str) -> list[str]:
    if model not in MODELS:
        raise UsageError(f"--model must be one of {', '.join(MODELS)}, got {model!r}")
    names = list(MODELS[model].weight_files())
    if not names:
        raise UsageError(f"nobody publishes weights of --model {model}; there is nothing to fetch")
    return names


def _state(file: PublishedFile | BundledFile) -> tuple[str, str, Path]:
    """(included, cached, unheld, damaged or not fetched; whose digest says so; where)."""
    from l3core.published import cache_dir, digest_of, state
    from l3core.storage import sha256_of

    if isinstance(file, BundledFile):
        whole = file.path.is_file() and sha256_of(str(file.path)) == file.sha256
        return "included" if whole else "damaged", "pinned", file.path
    digest = digest_of(file)
    held = "pinned" if digest and digest.pinned else "first use"
    return state(file), held, cache_dir() / file.name


def _list(args: argparse.Namespace) -> int:
    rows = []
    for model, name, file in _files():
        state, digest, path = _state(file)
        row = {"model": model.name, "name": name, "state": state, "digest": digest, "path": str(path)}
        rows.append(row | {"licence": file.licence, "trained_on": file.trained_on})
    if args.json:
        _print_json(rows)
        return 0
    for row in rows:
        print("{model:14} {name:13} {state:12} {digest:10} {licence:11} {trained_on}".format(**row))
    return 0


def _fetch(args: argparse.Namespace) -> int:
    from l3core.published import address, fetch

    fetched = []
    for name, file in _chosen(args.names or _names_of(args.model)):
        if isinstance(file, BundledFile):
            fetched.append({"name": name, "path": str(file.path)})
            if not (args.quiet or args.json):
                print(f"{name}: included, {file.path}")
            continue
        if not (args.quiet or args.json):
            print(f"{name}: {address(file) or file.page}")
        path = fetch(file, progress=None if args.quiet or args.json else _show)
        fetched.append({"name": name, "path": str(path)})
        if not (args.quiet or args.json):
            print(f"{name}: {path}")
    if args.json:
        _print_json(fetched)
    return 0


def _show(done: int, total: int | None) -> None:
    if sys.stderr.isatty():
        share = f" of {total / 1e6:.1f}" if total else ""
        end = "\n" if done == total else ""
        print(f"\r  {done / 1e6:.1f}{share} MB", end=end, file=screen_of(sys.stderr), flush=True)


def _verify(args: argparse.Namespace) -> int:
    checked = [(name, *_state(file)) for name, file in _chosen(args.names)]
    damaged = [name for name, state, *_ in checked if state == "damaged"]
    if args.json:
        _print_json([{"name": n, "state": s, "digest": d, "path": str(p)} for n, s, d, p in checked])
    elif not args.quiet:
        for name, state, digest, path in checked:
            print(f"{name:13} {state:12} {digest:10} {path}")
    if damaged:
        raise FetchError(
            f"damaged: {', '.join(damaged)}; "
            f"`l3flow weights fetch {' '.join(damaged)}` fetches them again"
        )
    return 0


def _export(args: argparse.Namespace) -> int:
    from l3core.storage import write_bytes
    from l3core.weights import load_weights, to_h5
    from launch.places import reach_places

    if len(args.names) != 1:
        raise UsageError("export needs one FILE.h5 to write to")
    spec = spec_of(args)
    reach_places({"--weights": args.weights, "FILE.h5": args.names[0]})
    weights = load_weights(spec)
    write_bytes(args.names[0], to_h5(weights, spec.network.layer_shapes(spec)))
    result = {"path": args.names[0], "weights": weights.origin, "digest": weights.digest}
    if args.json:
        _print_json(result)
    elif not args.quiet:
        print(printable("{path}: {weights}, digest {digest}".format(**result)))
    return 0


def _quantise(args: argparse.Namespace) -> int:
    from launch.quantise import describe, quantise_weights

    made = quantise_weights(args)
    if args.json:
        _print_json(made)
    elif not args.quiet:
        print("\n".join(describe(made)))
    return 0


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=1, sort_keys=True))


ACTIONS = {
    "list": _list,
    "fetch": _fetch,
    "verify": _verify,
    "export": _export,
    "quantise": _quantise,
}
