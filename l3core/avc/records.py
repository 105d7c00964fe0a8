"""Pairs in TFRecord files: one tf.train.Example a pair, about a thousand pairs a file.

audio          bytes   FLAC, 48 kHz mono 16 bit, 48000 frames
image          bytes   JPEG, 224 x 224, RGB
label          int64   1: they belong together, 0: they do not
audio_video, image_video       bytes, ids in UTF-8
audio_start_us, image_us       int64, by each video's own clock
gain, saturation, brightness   float;  box int64[2];  flipped int64: what was done to them
"""

import hashlib
from collections.abc import Iterable
from typing import Any, NamedTuple

from l3core import storage
from l3core.avc.codecs import decode_audio as decode_audio
from l3core.avc.codecs import decode_image as decode_image
from l3core.avc.examples import Lists, frame, frames, from_example, to_example
from l3core.errors import DamagedError


class Pair(NamedTuple):
    """A picture and a second of sound.

    Attributes:
        audio: FLAC (`decode_audio`).
        image: JPEG (`decode_image`).
        label: 1: of one moment of one video; 0: of two videos.
        audio_video, image_video: their ids.
        audio_start_us: time of the sound's first sample in its video, microseconds.
        image_us: time of the picture in its video, microseconds.
        gain: that the sound was multiplied with.
        saturation: factor of the picture's saturation.
        brightness: that was added, 1 being white.
        box: place of the crop's left upper corner in the resized frame, (x, y).
        flipped: whether left and right were exchanged, 1 or 0.
    """

    audio: bytes
    image: bytes
    label: int
    audio_video: str
    image_video: str
    audio_start_us: int
    image_us: int
    gain: float
    saturation: float
    brightness: float
    box: tuple[int, int]
    flipped: int


class Written(NamedTuple):
    """A records file that was written.

    Attributes:
        pairs: how many it holds.
        size: bytes.
        sha256: of its content, hex.
    """

    pairs: int
    size: int
    sha256: str


def write_records(uri: str, pairs: Iterable[Pair]) -> Written:
    """Write a TFRecord file, whole or not at all."""
    count = size = 0
    digest = hashlib.sha256()
    with storage.writing(uri) as file:
        for pair in pairs:
            record = frame(serialize(pair))
            file.write(record)
            digest.update(record)
            count, size = count + 1, size + len(record)
    return Written(count, size, digest.hexdigest())


def read_records(uri: str) -> list[bytes]:
    """The serialized Examples of a TFRecord file, whose checksums hold.

    Raises:
        DamagedError: the file is gone, or is not what was written.
    """
    try:
        with storage.reading(uri) as file:
            return list(frames(file))
    except FileNotFoundError:
        raise DamagedError(f"{uri} is missing") from None
    except ValueError as error:
        raise DamagedError(f"{uri} is damaged: {error}") from None


def serialize(pair: Pair) -> bytes:
    """A pair as a tf.train.Example."""
    texts = {name: getattr(pair, name).encode() for name in ("audio_video", "image_video")}
    floats = {name: float(getattr(pair, name)) for name in ("gain", "saturation", "brightness")}
    return to_example(pair._asdict() | texts | floats)


def parse(serialized: bytes) -> Pair:
    """The pair that a tf.train.Example holds.

    Raises:
        DamagedError: it holds none.
    """
    try:
        found = from_example(serialized)
        (x, y) = _all(found, "box", int)
        one: dict[str, Any] = {name: _one(found, name, kind) for name, kind in _KINDS.items()}
    except (KeyError, ValueError) as error:
        raise DamagedError(f"a record is no pair: {error}") from None
    return Pair(**one, box=(x, y))


_KINDS: dict[str, type] = {
    name: kind for name, kind in Pair.__annotations__.items() if kind in (bytes, int, float, str)
}


def _one(found: dict[str, Lists], name: str, kind: type) -> bytes | int | float | str:
    stored = bytes if kind is str else kind
    values = _all(found, name, stored)
    if len(values) != 1:
        raise ValueError(f"{name} needs one value, has {len(values)}")
    return values[0].decode() if kind is str else values[0]


def _all(found: dict[str, Lists], name: str, kind: type) -> list:
    values = found[name]
    if not all(type(value) is kind for value in values):
        raise ValueError(f"{name} needs {kind.__name__}, has something else")
    return values
