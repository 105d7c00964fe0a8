"""`l3flow weights quantise`: a model in 8-bit integers, once, by recordings of the kind it is for."""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from l3core.engines import check_installed
from l3core.errors import UsageError
from l3core.spec import EmbeddingSpec
from l3core.urls import refuse_web
from launch.options import naming, spec_of
from launch.places import reach_places
from launch.words import printable

if TYPE_CHECKING:
    from l3core.storage import StoredObject

RECORDINGS = 100
WANTED = 0.999  # cosine to float32, of all but one window in twenty


def quantise_weights(args: argparse.Namespace) -> dict[str, Any]:
    """Quantise, compare, and write the file; returns what there is to say of it."""
    from l3core.calibrating import hear, quantise
    from l3core.storage import write_bytes
    from l3core.weights import load_weights, to_h5

    if args.names or not (args.calibrate and args.output):
        raise UsageError("quantise needs --calibrate PATTERN and --output FILE.h5, and no names")
    if args.engine != "tensorflow" or args.precision != "float32":
        raise UsageError("quantise is to int8 by openvino: it takes no --engine and no --precision")
    check_installed("openvino")
    with naming("--output"):
        refuse_web(args.output)
    spec = spec_of(args)
    if spec.dense:  # one int8 model for all grids: it is made and checked on windows that stand alone
        spec = replace(spec, grid="nocenter")
    reach_places({"--weights": args.weights, "--calibrate": args.calibrate, "--output": args.output})
    with naming("--calibrate"):
        heard = hear(_some(args.calibrate), spec)
    weights = load_weights(spec)
    in_int8 = EmbeddingSpec(
        **spec.to_dict() | {"engine": "openvino", "precision": "int8", "weights": args.output}
    )
    with naming("--calibrate"):
        made = quantise(in_int8, weights, heard.recordings)
    layers = spec.network.layer_shapes(spec)
    write_bytes(args.output, to_h5(made.weights, layers))
    cosine = {
        "median": float(np.median(made.cosines)),
        "5th_percentile": float(np.percentile(made.cosines, 5)),
    }
    return {
        "path": args.output,
        "weights": weights.origin,
        "digest": made.weights.digest,
        "calibrated_on": dict(zip(("windows", "recordings"), made.calibrated_on)),
        "checked_on": dict(zip(("windows", "recordings"), made.checked_on)),
        "unreadable": heard.unreadable,
        "cosine": cosine,
    }


def describe(made: dict[str, Any]) -> Iterator[str]:
    """The same in words."""
    words = "{windows} windows of {recordings} recordings"
    yield printable("{path}: {weights} in int8, digest {digest}".format(**made))
    yield "calibrated on " + words.format(**made["calibrated_on"])
    if made["unreadable"]:
        yield f"{made['unreadable']} recordings cannot be read"
    low = made["cosine"]["5th_percentile"]
    on = words.format(**made["checked_on"])
    yield f"cosine to float32, {on}: median {made['cosine']['median']:.5f}, 5th percentile {low:.5f}"
    if low < WANTED:
        yield f"that is less than {WANTED}: calibrate on more recordings, and on such as it is for"


def _some(patterns: list[str]) -> Iterator["StoredObject"]:
    """Recordings of the input, evenly spread over it.

    Raises:
        UsageError: there are none.
    """
    from l3core.listing import list_inputs, parse_input

    inputs = [parse_input(text) for text in patterns]
    count = sum(1 for _ in list_inputs(inputs))
    if not count:
        raise UsageError(f"{' '.join(patterns)} matches no file")
    return islice(list_inputs(inputs), 0, None, -(-count // RECORDINGS))
