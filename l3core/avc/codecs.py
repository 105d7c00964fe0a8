"""How a second of sound and a picture lie in a record: FLAC and JPEG.

Measured on one core, a second of ESC-10 and a crop of a photograph: FLAC 47 kB, decoded in 0.6 ms, and
JPEG 95 22 kB, in 0.4 ms: 68 kB a pair and a thousand pairs a second for each core, so that a few of them
keep a GPU busy. Raw they would be 247 kB to read; Opus has 8.5 kB and takes 3.3 ms, a PNG 80 kB and
1.4 ms. FLAC changes nothing, and JPEG 95 less than the video's own codec did.
"""

import io
from typing import cast

import numpy as np

from l3core.errors import DamagedError

SAMPLE_RATE_HZ = 48_000
SAMPLES = 48_000
IMAGE_SIDE = 224
AUDIO_CODEC, IMAGE_CODEC = "flac", "jpeg-95"
JPEG_QUALITY = 95


def encode_audio(audio: np.ndarray) -> bytes:
    """FLAC of int16 `(48000,)`."""
    import soundfile

    if audio.shape != (SAMPLES,) or audio.dtype != np.int16:
        raise ValueError(f"needs int16 ({SAMPLES},), got {audio.dtype} {audio.shape}")
    file = io.BytesIO()
    soundfile.write(file, audio, SAMPLE_RATE_HZ, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def decode_audio(content: bytes) -> np.ndarray:
    """int16 `(48000,)`, exactly what was encoded.

    Raises:
        DamagedError: it is no second of sound.
    """
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            # before memory is taken for as many samples as a header says
            _refuse_sound((file.frames, file.channels), file.samplerate)
            audio = file.read(dtype="int16", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise DamagedError(f"the sound of a pair cannot be decoded: {error}") from None
    _refuse_sound(audio.shape, SAMPLE_RATE_HZ)
    return cast(np.ndarray, audio[:, 0])


def _refuse_sound(shape: tuple[int, int], rate: int) -> None:
    if shape != (SAMPLES, 1) or rate != SAMPLE_RATE_HZ:
        raise DamagedError(
            f"the sound of a pair needs {SAMPLES} samples at {SAMPLE_RATE_HZ} Hz, "
            f"has {shape[0]} of {shape[1]} channels at {rate} Hz"
        )


def encode_image(image: np.ndarray) -> bytes:
    """JPEG of uint8 `(224, 224, 3)`, RGB."""
    from PIL import Image

    if image.shape != (IMAGE_SIDE, IMAGE_SIDE, 3) or image.dtype != np.uint8:
        raise ValueError(f"needs uint8 ({IMAGE_SIDE}, {IMAGE_SIDE}, 3), got {image.dtype} {image.shape}")
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()


def decode_image(content: bytes) -> np.ndarray:
    """uint8 `(224, 224, 3)`, RGB, nearly what was encoded.

    Raises:
        DamagedError: it is no such picture.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=("JPEG",)) as opened:
            if opened.size != (IMAGE_SIDE, IMAGE_SIDE):
                raise DamagedError(
                    f"the picture of a pair needs {IMAGE_SIDE} x {IMAGE_SIDE}, has {opened.size}"
                )
            return np.asarray(opened.convert("RGB"))
    except OSError as error:
        raise DamagedError(f"the picture of a pair cannot be decoded: {error}") from None
