"""Of a decoded frame: its time, its picture as people see it, and its sound as one channel.

Runs in the process that decodes (`l3core.avc.child`).
"""

import math
import mmap
import struct
from typing import TYPE_CHECKING, Any

from l3core.avc.augment import size_of_resized
from l3core.avc.errors import VideoError

if TYPE_CHECKING:
    import numpy as np

MOST_PIXELS = 2**26  # 8K has half of that
FEW_FRAMES, BYTES_PER_PIXEL = 4, 2
MOST_RATE_HZ, MOST_CHANNELS = 4_000_000, 1024
MOST_PLANES = 7  # PyAV counts on past the eighth, and crashes
MOST_STRETCH = 16  # between the sides of a pixel
MOST_RATIO = 64  # between the sides of a picture


def refuse_too_large(width: int, height: int) -> None:
    """Hold that a frame can be decoded in the memory that there is.

    Raises:
        VideoError: `too-large`.
    """
    if width * height > MOST_PIXELS:
        raise VideoError("too-large", f"frames of {width} x {height}: at most {MOST_PIXELS} pixels")


def refuse_full(pixels: int) -> None:
    """Hold that there is memory for a few more frames.

    Raises:
        MemoryError: there is not.
    """
    try:
        mmap.mmap(-1, FEW_FRAMES * BYTES_PER_PIXEL * max(pixels, 2**20)).close()
    except OSError:
        raise MemoryError from None


def time_of(thing: Any) -> float | None:
    """Presentation time of a packet or frame in seconds; None if nothing tells."""
    stamp = thing.pts if thing.pts is not None else thing.dts  # AVI has only the latter
    return None if stamp is None else float(stamp * thing.time_base)


def rotation_of(frame: Any) -> int:
    """Degrees by which a frame is turned counter-clockwise to stand upright: 0, 90, 180 or 270.

    From its display matrix, as FFmpeg's av_display_rotation_get reads it; PyAV 14.0 has no word for it.
    """
    across, down, *_ = _matrix(frame)
    return round(-math.degrees(math.atan2(down, across)) / 90) % 4 * 90


def _is_mirrored(frame: Any) -> bool:
    """Whether a frame is turned upside down, as in a mirror, before it is rotated."""
    a, b, c, d = _matrix(frame)
    return a * d < b * c


def _matrix(frame: Any) -> tuple[int, int, int, int]:
    """What a display matrix does to directions: its entries 0, 1, 3 and 4."""
    found = frame.side_data.get("DISPLAYMATRIX")
    if found is None:
        return 1, 0, 0, 1
    a, b, _, c, d = struct.unpack_from("@5i", bytes(found))
    return a, b, c, d


def upright(frame: Any, aspect: Any) -> "np.ndarray":
    """The picture of a frame as it is meant to be seen, in the size that is cropped from.

    swscale's bilinear filter grows with the factor by which it shrinks, so that nothing aliases.

    Args:
        frame: PyAV's.
        aspect: width by height of a pixel; None or 0 where nothing tells.

    Returns:
        uint8 `(height, width, 3)`, RGB, mirrored and turned as players do, the smaller side 256.

    Raises:
        VideoError: `too-large`, it is a line rather than a picture.
    """
    import numpy as np

    stretch = float(aspect) if aspect and 1 / MOST_STRETCH <= aspect <= MOST_STRETCH else 1.0
    width, height = max(1, round(frame.width * stretch)), frame.height
    if max(width, height) > MOST_RATIO * min(width, height):
        raise VideoError("too-large", f"frames of {frame.width} x {frame.height}: one side is too long")
    width, height = size_of_resized(width, height)
    picture = frame.reformat(width, height, "rgb24", interpolation="BILINEAR").to_ndarray()
    if _is_mirrored(frame):
        picture = picture[::-1]
    return np.ascontiguousarray(np.rot90(picture, rotation_of(frame) // 90))


def mono(frame: Any) -> "np.ndarray":
    """The mean of a frame's channels, float32 `(samples,)`, full scale is 1.

    Raises:
        VideoError: `unreadable`, more channels than are believed.
    """
    import numpy as np

    channels = frame.layout.nb_channels
    if not 1 <= channels <= MOST_CHANNELS or not 1 <= frame.sample_rate <= MOST_RATE_HZ:
        raise VideoError("unreadable", f"sound of {channels} channels at {frame.sample_rate} Hz")
    if frame.format.is_planar and channels > MOST_PLANES:
        frame = _packed(frame)
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, channels).T
    whole = samples.dtype.kind in "iu"
    bits = 8 * samples.dtype.itemsize
    middle = samples.mean(axis=0, dtype=np.float64 if bits > 16 else np.float32)
    if samples.dtype.kind == "u":
        middle = middle - 2 ** (bits - 1)
    return (middle / 2 ** (bits - 1) if whole else middle).astype(np.float32)


def _packed(frame: Any) -> Any:
    """The same samples, those of all channels in one plane."""
    import av

    time_base, pts = frame.time_base, frame.pts
    (packed,) = av.AudioResampler(format="flt").resample(frame)
    packed.time_base, packed.pts = time_base, pts
    return packed
