"""Makes l3core/models/data/upstream.npz: what upstream computes of noise, for `l3flow doctor`.

It runs where openl3 0.4.2 does (Python 3.11, `pip install openl3==0.4.2 'tensorflow<2.16'`):

    l3flow weights export --weights random:0 random0.h5
    python tests/make_upstream.py random0.h5 ../shared/golden

The published weights are 18 MB each and only fetched; weights that NumPy draws are everywhere the same,
and the network is the same. The noise is that of `l3core.conformance`. EdgeL3's vectors are those of
edgel3 0.2.1 (TensorFlow 1.12), of the noise among the goldens.
"""

import sys
from pathlib import Path

import numpy as np

SAMPLES = 72_000  # two windows of a second, half a second apart
CASES = (("mel256", 6144), ("mel256", 512), ("mel128", 512), ("linear", 512))


def main(weights, golden):
    import openl3
    from openl3.models import load_audio_embedding_model_from_path

    noise = (0.1 * np.random.RandomState(20190512).standard_normal(SAMPLES)).astype(np.float32)
    found = {}
    for input_repr, size in CASES:
        model = load_audio_embedding_model_from_path(weights, input_repr, size, frontend="kapre")
        found[f"l3/{input_repr}/{size}"], _ = openl3.get_audio_embedding(
            noise, 48_000, model=model, center=False, hop_size=0.5, verbose=False
        )
    with np.load(Path(golden) / "golden_edgel3_sea64.npz") as edgel3:
        found["edgel3-sea-64/signal"] = edgel3["clip3_8000"][:12_000]
        found["edgel3-sea-64"] = edgel3["edgel3-sea/clip3/64/nocenter"][:2]
    there = Path(__file__).parents[1] / "l3core/models/data/upstream.npz"
    np.savez_compressed(there, **found)
    print(there, {name: array.shape for name, array in found.items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
