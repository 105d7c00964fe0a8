"""What upstream computes of noise, and how far this machine is from it.

The vectors in `models/data/upstream.npz` are openl3 0.4.2's (TensorFlow 2.15, kapre 0.3.7; weights that
NumPy draws, `random:0`) and edgel3 0.2.1's (TensorFlow 1.12, its trained weights). None of this
project's code had a part in them; `tests/make_upstream.py` tells how they were made.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from l3core import conformance
from l3core.conformance import Deviation
from l3core.engines import load_engine
from l3core.spec import EmbeddingSpec
from l3core.weights import load_weights

VECTORS = Path(__file__).parent / "models" / "data" / "upstream.npz"
UPSTREAM = {"l3": "openl3 0.4.2", "edgel3-sea-64": "edgel3 0.2.1"}
SPECS: Mapping[str, EmbeddingSpec] = {
    "l3/mel256/6144": EmbeddingSpec(weights="random:0"),
    "l3/mel256/512": EmbeddingSpec(weights="random:0", embedding_size=512),
    "l3/mel128/512": EmbeddingSpec(weights="random:0", input_repr="mel128", embedding_size=512),
    "l3/linear/512": EmbeddingSpec(weights="random:0", input_repr="linear", embedding_size=512),
    "edgel3-sea-64": EmbeddingSpec(model="edgel3-sea-64"),
}


def deviation_from_upstream(name: str) -> Deviation:
    """Embed what upstream has embedded, and compare.

    Args:
        name: one of `SPECS`.

    Raises:
        WeightsError: the bundled weights are damaged.
    """
    spec = SPECS[name]
    engine = load_engine(spec, load_weights(spec), batch_size=None)
    with np.load(VECTORS, allow_pickle=False) as upstream:
        expected, signal = upstream[name], upstream.get(f"{name}/signal")
    if signal is None:
        return conformance.deviation(spec, conformance.embed_noise(spec, engine), expected)
    found = engine(signal, conformance.starts(spec.network.window_samples))
    return conformance.deviation(spec, found, expected)
