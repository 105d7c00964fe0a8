"""The reference of a spec, kept with its table: made by the first worker of the first run."""

import base64
import hashlib
import socket
from typing import NamedTuple

import numpy as np

from l3core import conformance
from l3core.conformance import Deviation
from l3core.embedding import Embedder
from l3core.errors import TableError
from l3core.table.json_objects import create_json, read_json
from l3core.table.layout import TablePaths


class Conformance(NamedTuple):
    """That a worker was held against a reference.

    Attributes:
        deviation: how far it is from it.
        reference: SHA-256 that names it; a table can get another one.
    """

    deviation: Deviation
    reference: str


def check_conformance(paths: TablePaths, embedder: Embedder) -> Conformance:
    """Hold that a loaded model computes what the table's reference says; make it if there is none.

    Raises:
        RunError: it computes other numbers.
        TableError: the reference is damaged.
    """
    uri = paths.reference(embedder.fingerprint)
    try:
        kept = read_json(uri)
    except FileNotFoundError:
        vectors = conformance.make_reference(embedder.spec, embedder.weights)
        kept = create_json(uri, _to_json(vectors))
    deviation = conformance.check(embedder, _from_json(uri, kept, embedder.spec.size))
    return Conformance(deviation, _digest(kept))


def reference_of(paths: TablePaths, fingerprint: str) -> str | None:
    """The name of a spec's reference; None if it has none."""
    try:
        return _digest(read_json(paths.reference(fingerprint)))
    except FileNotFoundError:
        return None


def _digest(kept: dict[str, object]) -> str:
    return hashlib.sha256(str(kept.get("vectors")).encode()).hexdigest()


def _to_json(vectors: np.ndarray) -> dict[str, object]:
    return {
        "noise_seed": conformance.NOISE_SEED,
        "windows": len(vectors),
        "vectors": base64.b64encode(vectors.astype("<f4").tobytes()).decode(),
        "host": socket.gethostname(),
        "versions": conformance.versions(),
    }


def _from_json(uri: str, kept: dict[str, object], size: int) -> np.ndarray:
    """The vectors, float32 `(windows, size)`."""
    try:
        content = base64.b64decode(str(kept["vectors"]), validate=True)
        vectors = np.frombuffer(content, "<f4").reshape(conformance.WINDOWS, size)
        fits = kept["noise_seed"] == conformance.NOISE_SEED and bool(np.isfinite(vectors).all())
    except (KeyError, ValueError):
        fits = False
    if not fits:
        raise TableError(f"{uri} is damaged: remove it, and the next run makes it again")
    return vectors
