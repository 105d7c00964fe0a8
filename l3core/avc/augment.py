"""What is done to a frame and to a second of sound, so that a network sees no two that are equal.

As the code of Look, Listen and Learn More does it (its image sampler and audio sampler), without what
is wrong there: no crop fails, no brightness is doubled, and no gain was meant for other samples.
"""

import math

import numpy as np

IMAGE_SIDE = 224
MIN_SIDE = 256  # of a frame before it is cropped
FLIPPED_SHARE = 0.5
SATURATION = (0.5, 1.5)
BRIGHTNESS = 32 / 255
GAIN = 0.1
FULL_SCALE = 32_768  # of int16


def size_of_resized(width: int, height: int) -> tuple[int, int]:
    """(width, height) of a frame whose smaller side becomes `MIN_SIDE`; the other is rounded up."""
    least = min(width, height)
    return -(-width * MIN_SIDE // least), -(-height * MIN_SIDE // least)


def draw_box(generator: np.random.Generator, width: int, height: int) -> tuple[int, int]:
    """(x, y) of a random crop of `IMAGE_SIDE`; each place is as likely."""
    x = int(generator.integers(0, width - IMAGE_SIDE + 1))
    return x, int(generator.integers(0, height - IMAGE_SIDE + 1))


def crop(image: np.ndarray, box: tuple[int, int]) -> np.ndarray:
    """The part `(IMAGE_SIDE, IMAGE_SIDE, 3)` of an image `(height, width, 3)` at (x, y)."""
    x, y = box
    return image[y : y + IMAGE_SIDE, x : x + IMAGE_SIDE]


def flip(image: np.ndarray) -> np.ndarray:
    """Left becomes right."""
    return image[:, ::-1]


def saturate(image: np.ndarray, factor: float) -> np.ndarray:
    """Multiply the saturation of HSV, which is at most 1.

    Args:
        image: float `(height, width, 3)`, RGB in [0, 1].
        factor: 0 makes it grey.

    Returns:
        The same kind of image; hue and value (the greatest of the three) stay.
    """
    value = image.max(axis=-1, keepdims=True)
    spread = value - image.min(axis=-1, keepdims=True)
    # saturation is spread / value, and what a colour lacks to its value is proportional to it
    most = np.divide(value, spread, out=np.ones_like(value), where=spread > 0)
    return value - (value - image) * np.minimum(factor, most)


def brighten(image: np.ndarray, delta: float) -> np.ndarray:
    """Add to all colours of an image in [0, 1], and stay in it."""
    return np.clip(image + delta, 0.0, 1.0)


def recolour(
    image: np.ndarray, *, saturation: float, brightness: float, saturation_first: bool
) -> np.ndarray:
    """Saturate and brighten an image uint8 `(height, width, 3)`, in this order or the other."""
    changed = image.astype(np.float32) / 255
    if saturation_first:
        changed = brighten(saturate(changed, saturation), brightness)
    else:
        changed = saturate(brighten(changed, brightness), saturation)
    return np.rint(changed * 255).astype(np.uint8)


def peak_of(audio: np.ndarray) -> int:
    """The largest magnitude of int16 samples; that of -32768 is 32768."""
    return max(int(audio.max()), -int(audio.min()))


def draw_gain(generator: np.random.Generator, peak: int) -> float:
    """A factor of 1 ± `GAIN`, at most what makes a peak (`peak_of`) full scale."""
    room = FULL_SCALE / peak - 1 if peak else math.inf
    return 1 + float(generator.uniform(-GAIN, min(GAIN, room)))


def amplify(audio: np.ndarray, gain: float) -> np.ndarray:
    """int16 samples times a factor, cut towards zero, as the paper's code does."""
    louder = np.trunc(audio.astype(np.float64) * gain)
    return np.clip(louder, -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def as_int16(audio: np.ndarray) -> np.ndarray:
    """Samples in [-1, 1] as int16, rounded; what is louder is clipped."""
    return np.clip(np.rint(audio * float(FULL_SCALE)), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
