"""A corpus of everything that goes wrong, each file with what the ledger must say of it."""

import io
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

RATE = 4_000  # the fake model's: windows of 1000 samples, 0.25 s, centred


class Kind(NamedTuple):
    """One file: how it is made, the status it gets, and a word that its message must hold."""

    make: Callable[[Path], object]
    status: str
    message: str = ""


def sound(seconds: float, rate: int = RATE, channels: int = 1) -> np.ndarray:
    samples = np.random.default_rng(1).uniform(-0.5, 0.5, (int(seconds * rate), channels))
    return samples.astype(np.float32)


def encoded(samples: np.ndarray, format_: str, subtype: str, rate: int = RATE) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=format_, subtype=subtype)
    return buffer.getvalue()


WAV = encoded(sound(2), "WAV", "PCM_16")
FLAC = encoded(sound(30), "FLAC", "PCM_16")
OGG = encoded(sound(30, 8_000), "OGG", "VORBIS", 8_000)
MP3 = encoded(sound(10, 44_100), "MP3", "MPEG_LAYER_III", 44_100)


def content(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


def wav(samples: np.ndarray, rate: int = RATE, subtype: str = "FLOAT") -> Callable[[Path], object]:
    return content(encoded(samples, "WAV", subtype, rate))


def patched(offset: int, layout: str, value: int) -> Callable[[Path], object]:
    """WAV with one field of its header overwritten."""
    data = bytearray(WAV)
    struct.pack_into(layout, data, offset, value)
    return content(bytes(data))


def with_sample(value: float) -> np.ndarray:
    samples = sound(2)
    samples[5_000] = value
    return samples


KINDS = {
    # all right, if unusual
    "good.wav": Kind(content(WAV), "ok"),
    "8 bit.wav": Kind(wav(sound(1), subtype="PCM_U8"), "ok"),
    "24 bit.wav": Kind(wav(sound(1), subtype="PCM_24"), "ok"),
    "32 bit.wav": Kind(wav(sound(1), subtype="PCM_32"), "ok"),
    "double.wav": Kind(wav(sound(1), subtype="DOUBLE"), "ok"),
    "a-law.wav": Kind(wav(sound(1), subtype="ALAW"), "ok"),
    "u-law.au": Kind(content(encoded(sound(1), "AU", "ULAW")), "ok"),
    "ima adpcm.wav": Kind(wav(sound(1), subtype="IMA_ADPCM"), "ok"),
    "ms adpcm.wav": Kind(wav(sound(1), subtype="MS_ADPCM"), "ok"),
    "extensible.wav": Kind(content(encoded(sound(1, channels=2), "WAVEX", "PCM_24")), "ok"),
    "rf64.wav": Kind(content(encoded(sound(1), "RF64", "PCM_16")), "ok"),
    "w64.w64": Kind(content(encoded(sound(1), "W64", "PCM_16")), "ok"),
    "caf.caf": Kind(content(encoded(sound(1), "CAF", "PCM_16")), "ok"),
    "aiff.aif": Kind(content(encoded(sound(1), "AIFF", "PCM_16")), "ok"),
    "flac.flac": Kind(content(FLAC), "ok"),
    "vorbis.ogg": Kind(content(OGG), "ok"),
    "opus.opus": Kind(content(encoded(sound(5, 48_000), "OGG", "OPUS", 48_000)), "ok"),
    "mp3.mp3": Kind(content(MP3), "ok"),
    "flac named.wav": Kind(content(FLAC), "ok"),
    "no extension": Kind(content(WAV), "ok"),
    "beyond full scale.wav": Kind(wav(sound(2) * 100), "ok"),
    "dc only.wav": Kind(wav(np.full((8_000, 1), 0.25, np.float32)), "ok"),
    "short.wav": Kind(wav(sound(0.1)), "ok"),
    "one sample.wav": Kind(wav(sound(1)[:1]), "ok"),
    "one sample 192 kHz.wav": Kind(wav(sound(1)[:1], 192_000), "ok"),
    "silence.wav": Kind(wav(np.zeros((8_000, 1), np.float32)), "ok"),
    "64 channels.wav": Kind(wav(sound(1, channels=64)), "ok"),
    "1 Hz.wav": Kind(wav(sound(20, 1), 1), "ok"),
    "768 kHz.wav": Kind(wav(sound(0.5, 768_000), 768_000), "ok"),
    "11024 Hz.wav": Kind(wav(sound(3, 11_024), 11_024), "ok"),
    "piped.wav": Kind(patched(40, "<I", 0xFFFFFFFF), "ok"),
    # no audio in it
    "empty.wav": Kind(content(b""), "empty", "no bytes"),
    "header only.wav": Kind(wav(sound(0)), "empty", "no samples"),
    # no audio at all
    "text.wav": Kind(content(b"It is not audio.\n" * 100), "unreadable", "not audio"),
    "zeros.wav": Kind(content(bytes(5_000)), "unreadable", "not audio"),
    "half a header.wav": Kind(content(WAV[:30]), "unreadable", "not audio"),
    "raw.raw": Kind(content(b"\1\2" * 5_000), "unreadable", "not audio"),
    "picture.ogg": Kind(content(b"\x89PNG\r\n\x1a\n" + bytes(2_000)), "unreadable", "not audio"),
    "nan.wav": Kind(wav(with_sample(np.nan)), "unreadable", "NaN"),
    "inf.wav": Kind(wav(with_sample(np.inf)), "unreadable", "infinite"),
    "rate of 0.wav": Kind(patched(24, "<I", 0), "unreadable", "not audio"),
    "rate of 2 GHz.wav": Kind(patched(24, "<I", 2_000_000_000), "unreadable", "2000000000 Hz"),
    "pipe.wav": Kind(os.mkfifo, "unreadable", "pipe"),
    # broken off
    "cut.wav": Kind(content(WAV[: len(WAV) // 2]), "truncated", "ends after"),
    "cut.flac": Kind(content(FLAC[: len(FLAC) // 2]), "truncated", "broke after"),
    "cut.ogg": Kind(content(OGG[: len(OGG) // 2]), "truncated", "last Ogg page"),
    "cut.mp3": Kind(content(MP3[: len(MP3) // 2]), "truncated", "ends after"),
    "claims 10 hours.wav": Kind(patched(40, "<I", 4_000 * 2 * 36_000), "truncated", "of 144000000"),
    # names
    "in a folder/ name.wav": Kind(content(WAV), "ok"),
    'it\'s "quoted".wav': Kind(content(WAV), "ok"),
    "#1 100% a=b&c.wav": Kind(content(WAV), "ok"),
    "what? a * b [1].wav": Kind(content(WAV), "ok"),
    "Müller straße 東京.wav": Kind(content(WAV), "ok"),
    "🎺.wav": Kind(content(WAV), "ok"),
    "new\nline.wav": Kind(content(WAV), "ok"),
    "a::b.wav": Kind(content(WAV), "ok"),
    "n" * 251 + ".wav": Kind(content(WAV), "ok"),
}
GONE_LINK = "gone link.wav"


def build(folder: Path) -> Path:
    """Make the corpus below `folder`."""
    for name, kind in KINDS.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        kind.make(path)
    (folder / GONE_LINK).symlink_to(folder / "not there.wav")
    (folder / "a folder named.wav").mkdir()
    return folder
