"""openl3 0.4.2 over a folder, as its tutorial does it: one model, a list of files, an .npz for each.

python openl3_loop.py FOLDER OUTPUT WEIGHTS.h5 --hop 0.1
"""

import argparse
from pathlib import Path

import openl3
from openl3.models import load_audio_embedding_model_from_path

parser = argparse.ArgumentParser()
for name in ("folder", "output", "weights"):
    parser.add_argument(name)
parser.add_argument("--hop", type=float, default=0.1)
parser.add_argument("--input-repr", default="mel256")
parser.add_argument("--embedding-size", type=int, default=6144)
parser.add_argument("--nocenter", action="store_true")


if __name__ == "__main__":
    args = parser.parse_args()
    model = load_audio_embedding_model_from_path(args.weights, args.input_repr, args.embedding_size)
    openl3.process_audio_file(
        sorted(map(str, Path(args.folder).iterdir())),
        output_dir=args.output,
        model=model,
        hop_size=args.hop,
        center=not args.nocenter,
        verbose=False,
    )
