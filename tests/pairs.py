"""A corpus of pairs that was never video: bright pictures are loud, dark ones are quiet."""

import json
from pathlib import Path

import numpy as np

from l3core.avc.codecs import encode_audio, encode_image
from l3core.avc.corpus import LAYOUT_VERSION, open_corpus, run_name
from l3core.avc.records import Pair, write_records

FILE_PAIRS = 8
SPLITS = {"train": 48, "valid": 20, "test": 24}


def make_pair(generator, number):
    """One pair: a picture and a tone of one kind, or of two, which is what its label says."""
    seen, label = int(generator.integers(2)), number % 2
    heard = seen if label else 1 - seen
    image, audio = _image(generator, seen), _audio(generator, heard)
    return Pair(
        audio=audio,
        image=image,
        label=label,
        audio_video=f"v{number}.mp4",
        image_video=f"v{number}.mp4" if label else f"v{number + 1}.mp4",
        audio_start_us=number * 1000,
        image_us=number * 1000 + 40,
        gain=1.0,
        saturation=1.0,
        brightness=0.0,
        box=(0, 16),
        flipped=0,
    )


def _image(generator, bright):
    level = 190 if bright else 50
    noise = generator.integers(-20, 20, (28, 28, 3))
    return encode_image(np.kron(level + noise, np.ones((8, 8, 1))).astype(np.uint8))


def _audio(generator, high):
    time_s = np.arange(48_000) / 48_000
    tone = np.sin(2 * np.pi * ((4000 if high else 400) + generator.uniform(0, 100)) * time_s)
    noise = generator.uniform(-0.05, 0.05, 48_000)
    return encode_audio((8_000 * (tone + noise)).astype(np.int16))


def make_corpus(folder, *, seed=0, splits=SPLITS, file_pairs=FILE_PAIRS):
    """Write a corpus as `l3flow avc sample` leaves it; returns what readers see of it."""
    folder, generator = Path(folder), np.random.default_rng(seed)
    files = []
    for split, count in splits.items():
        for start in range(0, count, file_pairs):
            pairs = [make_pair(generator, n) for n in range(start, min(count, start + file_pairs))]
            path = f"records/split={split}/{start:05d}.tfrecord"
            written = write_records(str(folder / path), pairs)
            files.append(
                {
                    "path": path,
                    "split": split,
                    "pairs": len(pairs),
                    "positives": sum(pair.label for pair in pairs),
                    "size_bytes": written.size,
                    "sha256": written.sha256,
                }
            )
    record = {
        "layout": LAYOUT_VERSION,
        "settings": {"seed": seed},
        "files_removed": [],
        "files_added": files,
        "ledger": "videos/ledger.parquet",
    }
    (folder / "runs").mkdir(parents=True, exist_ok=True)
    (folder / "runs" / run_name(1)).write_text(json.dumps(record))
    return open_corpus(str(folder))
