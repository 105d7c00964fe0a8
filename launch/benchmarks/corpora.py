"""Generated audio: noise, which costs a decoder and a resampler as much as sound does."""

from pathlib import Path

import numpy as np
import soundfile

SOURCE_HZ = 44_100
CLIP_S = 4


def make_recording(
    path: Path, seconds: float, *, seed: int = 0, sample_rate_hz: int = SOURCE_HZ
) -> None:
    """A mono 16-bit WAV of noise, written a minute at a time."""
    generator = np.random.default_rng(seed)
    with soundfile.SoundFile(path, "w", sample_rate_hz, 1, "PCM_16") as file:
        left = round(seconds * sample_rate_hz)
        while left > 0:
            count = min(left, 60 * sample_rate_hz)
            file.write(generator.integers(-10_000, 10_000, count, dtype=np.int16))
            left -= count


def make_corpora(folder: Path, minutes: float) -> tuple[Path, Path]:
    """The same length of audio as one recording, and as clips of four seconds."""
    long, short = folder / "long", folder / "short"
    long.mkdir(parents=True)
    make_recording(long / "recording.wav", 60 * minutes)
    make_clips(short, round(60 * minutes / CLIP_S), CLIP_S)
    return long, short


def make_clips(folder: Path, count: int, seconds: float, *, sample_rate_hz: int = SOURCE_HZ) -> None:
    """Short recordings, all different."""
    folder.mkdir()
    for number in range(count):
        path = folder / f"{number:06d}.wav"
        make_recording(path, seconds, seed=number, sample_rate_hz=sample_rate_hz)
