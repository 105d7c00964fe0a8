"""A loop in plain Python: soundfile, soxr and the Keras model as published, an .npz for each file.

python plain_loop.py FOLDER OUTPUT WEIGHTS.h5 --hop 0.1
"""

import argparse
from pathlib import Path

import numpy as np
import soundfile
import soxr

from l3core.openl3_api import load_audio_embedding_model_from_path, preprocess_audio

RATE_HZ = 48_000

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
    for path in sorted(Path(args.folder).iterdir()):
        audio, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
        signal = soxr.resample(audio.mean(axis=1), rate_hz, RATE_HZ)
        windows = preprocess_audio(signal, RATE_HZ, hop_size=args.hop, center=not args.nocenter)
        embedding = model.predict(windows, batch_size=32, verbose=0)
        times_s = np.arange(len(embedding)) * args.hop
        np.savez(Path(args.output) / f"{path.stem}.npz", embedding=embedding, timestamps=times_s)
