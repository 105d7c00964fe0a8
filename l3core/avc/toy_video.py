"""Makes one toy video: a shape that moves, swells with its loudness, and sounds; h264 and AAC in MP4."""

import io
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from l3core.avc.toy_kinds import KINDS, RATE_HZ, Toy, colour_of, sound_of

FRAMES_PER_S = 10
BLOCK = 1024  # samples of a frame of AAC
VIDEO_OPTIONS = {"preset": "ultrafast", "crf": "26", "threads": "1"}
TURN = 0.17  # of a shape, in radians, this way or that


class Motion(NamedTuple):
    """How a shape moves, swells and turns.

    Attributes:
        radius: of the shape, as a share of the smaller side.
        swelling_hz: how many times a second it grows and gets loud.
        swelling: by how much of its radius.
        wander: (turns per second, phase) to the side and up.
        turn: in radians.
    """

    radius: float
    swelling_hz: float
    swelling: float
    wander: tuple[tuple[float, float], tuple[float, float]]
    turn: float

    def size_at(self, time: Any) -> Any:
        """Radius as a share of its mean, at times in s."""
        return 1 + self.swelling * np.sin(2 * np.pi * self.swelling_hz * time)


def draw_motion(generator: np.random.Generator) -> Motion:
    """A random one."""
    uniform = generator.uniform
    return Motion(
        radius=float(uniform(0.2, 0.3)),
        swelling_hz=float(uniform(0.5, 1.5)),
        swelling=float(uniform(0.1, 0.25)),
        wander=(
            (float(uniform(0.05, 0.3)), float(uniform())),
            (float(uniform(0.05, 0.3)), float(uniform())),
        ),
        turn=float(uniform(-TURN, TURN)),
    )


class Scene:
    """The pictures of a toy video.

    Args:
        toy: what is shown.
        motion: how it moves.
        width: in pixels.
        height: in pixels.
        generator: of the background.
    """

    def __init__(
        self, toy: Toy, motion: Motion, width: int, height: int, generator: np.random.Generator
    ) -> None:
        self._toy, self._motion = toy, motion
        self._size = width, height
        left, right = toy.background + generator.uniform(-8, 8, 2)
        shades = np.linspace(left, right, width)
        # it stands still, or it would be most of the file
        noise = generator.normal(0, 10, (height, width)) + shades
        ground = np.repeat(noise.clip(0, 255)[..., None], 3, axis=2)
        coloured = np.array(colour_of(toy.pitch)) + (ground - toy.background) / 3
        self._ground = ground.astype(np.uint8)
        self._coloured = coloured.clip(0, 255).astype(np.uint8)

    def picture(self, number: int) -> np.ndarray:
        """A frame, uint8 `(height, width, 3)`."""
        mask = np.asarray(self._mask(number / FRAMES_PER_S), bool)
        return np.where(mask[..., None], self._coloured, self._ground)

    def _mask(self, time_s: float) -> Any:
        """Where the shape is."""
        from PIL import Image, ImageDraw

        width, height = self._size
        side, motion = min(width, height), self._motion
        radius = side * motion.radius * float(motion.size_at(time_s))
        # all of it stays within what is left of any crop
        room = max(0.0, 0.42 * side - radius)
        at = [
            middle / 2 + room * np.sin(2 * np.pi * (rate * time_s + phase))
            for middle, (rate, phase) in zip((width, height), motion.wander)
        ]
        cos, sin = np.cos(motion.turn), np.sin(motion.turn)
        image = Image.new("L", self._size)
        draw = ImageDraw.Draw(image)
        kind = KINDS[self._toy.kind]
        for place, polygon in enumerate(kind.polygons):
            points = [
                (at[0] + radius * (cos * x - sin * y), at[1] + radius * (sin * x + cos * y))
                for x, y in polygon
            ]
            draw.polygon(points, fill=0 if place >= len(kind.polygons) - kind.holes else 255)
        return image


def toy_video(
    toy: Toy, *, seconds: float, width: int, height: int, generator: np.random.Generator
) -> bytes:
    """An MP4; the same for the same arguments and the same FFmpeg.

    Args:
        toy: what it shows.
        seconds: how long.
        width: of the picture in pixels, even.
        height: the same.
        generator: of all that is random.
    """
    motion = draw_motion(generator)
    samples = round(seconds * RATE_HZ)
    size = motion.size_at(np.arange(samples) / RATE_HZ)
    sound = sound_of(toy, samples, size**2 / 1.3, generator)
    scene = Scene(toy, motion, width, height, generator)
    return _encoded(scene, sound, round(seconds * FRAMES_PER_S), width, height)


def _encoded(scene: Scene, sound: np.ndarray, frames: int, width: int, height: int) -> bytes:
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        video: Any = output.add_stream("libx264", rate=FRAMES_PER_S, options=dict(VIDEO_OPTIONS))
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        audio: Any = output.add_stream("aac", rate=RATE_HZ, layout="mono")
        audio.bit_rate = 96_000
        sounds = _sound_frames(sound)
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(scene.picture(number), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FRAMES_PER_S)
            output.mux(video.encode(frame))
            for piece in _until(sounds, (number + 1) / FRAMES_PER_S):
                output.mux(audio.encode(piece))
        for piece in sounds:
            output.mux(audio.encode(piece))
        for stream in (video, audio):
            output.mux(stream.encode(None))
    return file.getvalue()


def _sound_frames(sound: np.ndarray) -> Iterator[Any]:
    import av

    for start in range(0, len(sound), BLOCK):
        piece = sound[start : start + BLOCK].astype(np.float32) / 32768
        frame = av.AudioFrame.from_ndarray(piece[None], format="fltp", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = RATE_HZ, Fraction(1, RATE_HZ), start
        yield frame


def _until(frames: Iterator[Any], time_s: float) -> Iterator[Any]:
    """Those up to a time, so that picture and sound lie near each other in the file."""
    for frame in frames:
        yield frame
        if frame.pts / RATE_HZ >= time_s:
            return
