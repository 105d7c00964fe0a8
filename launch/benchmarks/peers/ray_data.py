"""Ray Data over a folder: an actor holds openl3's model, the rows of all windows go to Parquet.

python ray_data.py FOLDER OUTPUT WEIGHTS.h5 --hop 0.1
"""

import argparse
import io

import numpy as np
import openl3
import ray
import soundfile
from openl3.models import load_audio_embedding_model_from_path

FILES = 8  # in a call of the actor; of openl3's model 32 windows are in one, as ever

parser = argparse.ArgumentParser()
for name in ("folder", "output", "weights"):
    parser.add_argument(name)
parser.add_argument("--hop", type=float, default=0.1)
parser.add_argument("--input-repr", default="mel256")
parser.add_argument("--embedding-size", type=int, default=6144)
parser.add_argument("--nocenter", action="store_true")


class Embed:
    """What an actor holds and does."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.options = {"hop_size": args.hop, "center": not args.nocenter, "verbose": False}
        self.model = load_audio_embedding_model_from_path(
            args.weights, args.input_repr, args.embedding_size
        )

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Files -> windows."""
        signals, rates = zip(*(soundfile.read(io.BytesIO(content)) for content in batch["bytes"]))
        vectors, times_s = openl3.get_audio_embedding(
            list(signals), list(rates), model=self.model, **self.options
        )
        paths = np.repeat(batch["path"], [len(part) for part in vectors])
        return {
            "path": paths,
            "start_s": np.concatenate(times_s),
            "embedding": np.concatenate(vectors),
        }


if __name__ == "__main__":
    args = parser.parse_args()
    files = ray.data.read_binary_files(args.folder, include_paths=True)
    windows = files.map_batches(Embed, fn_constructor_args=(args,), batch_size=FILES, concurrency=1)
    windows.write_parquet(args.output)
