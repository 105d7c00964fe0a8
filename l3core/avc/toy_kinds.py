"""What a toy video shows and how it sounds: the shape tells the timbre, the colour tells the pitch and
how fast it beats, and the brightness of the background tells how loud the noise is.

Ten kinds, each a shape and a timbre, five pitches, each a hue, and three noises: of two videos one
in 150 agrees in all. They are few and far apart, so that a network learns them in minutes. A picture is
drawn from polygons; a sound is a sum of sines, or a band of noise, that is struck again and again.
"""

import colorsys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

RATE_HZ = 48_000
PITCHES, NOISES = 5, 3
LOWEST_HZ, OCTAVES = 180.0, 3.5
SLOWEST_HZ, FASTEST_HZ = 1.5, 24.0  # beats of the lowest and the highest pitch
DECAY = 6.0  # of a beat, in nepers, until the next
HUES = 0.84  # of the circle, so that the last is not the first again
LEAST_NOISE_DB, MOST_NOISE_DB = -36.0, 0.0  # against the tone
DARKEST, BRIGHTEST = 25.0, 230.0  # mean of a background, of 255
JITTER = 0.1  # of a step, in picture and sound alike
Polygon = tuple[tuple[float, float], ...]


class Kind(NamedTuple):
    """A shape and its timbre.

    Attributes:
        name: of the shape.
        polygons: in the unit circle, y down; each is filled in turn, a hole after what it is in.
        holes: how many of the polygons, from the end, are holes.
        timbre: (pitch in Hz, seconds `(samples,)`, random numbers) -> samples, about full scale.
    """

    name: str
    polygons: tuple[Polygon, ...]
    holes: int
    timbre: Callable[[float, np.ndarray, np.random.Generator], np.ndarray]


def hue_of(pitch: float) -> float:
    """The hue, in [0, 1), of a pitch in steps, 0 to `PITCHES` - 1."""
    return HUES * (pitch + 0.5) / PITCHES


def colour_of(pitch: float) -> tuple[int, int, int]:
    """RGB in 0..255 of a pitch in steps."""
    red, green, blue = colorsys.hsv_to_rgb(hue_of(pitch), 0.9, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


def frequency_of(pitch: float) -> float:
    """Hz of a pitch in steps."""
    return float(LOWEST_HZ * 2 ** (OCTAVES * pitch / (PITCHES - 1)))


def beats_of(pitch: float) -> float:
    """Hz of the beat of a pitch in steps."""
    return float(SLOWEST_HZ * (FASTEST_HZ / SLOWEST_HZ) ** (pitch / (PITCHES - 1)))


def _around(corners: int, radius: float = 1.0, turn: float = -0.25, squeeze: float = 1.0) -> Polygon:
    angles = 2 * np.pi * (np.arange(corners) / corners + turn)
    return tuple((squeeze * radius * float(np.cos(a)), radius * float(np.sin(a))) for a in angles)


def _star() -> Polygon:
    outer, inner = _around(5), _around(5, 0.4, -0.25 + 0.1)
    return tuple(point for pair in zip(outer, inner) for point in pair)


def _box(width: float, height: float, x: float = 0.0, y: float = 0.0) -> Polygon:
    w, h = width / 2, height / 2
    return ((x - w, y - h), (x + w, y - h), (x + w, y + h), (x - w, y + h))


def _tones(*parts: tuple[float, float]) -> Callable[..., np.ndarray]:
    """Sines of multiples of the pitch, with their strengths; those that cannot be heard are left out."""

    def timbre(pitch: float, time: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        total = sum(strength for _, strength in parts)
        sound = np.zeros(len(time))
        for multiple, strength in parts:
            if multiple * pitch < 0.4 * RATE_HZ:
                phase = generator.uniform(0, 2 * np.pi)
                sound += strength * np.sin(2 * np.pi * multiple * pitch * time + phase)
        return sound / total**0.5

    return timbre


def _wavering(pitch: float, time: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A tone whose pitch goes up and down by three semitones, four times a second."""
    phase = generator.uniform(0, 2 * np.pi)
    bend = pitch * 0.2 / 4.0 * np.sin(2 * np.pi * 4 * time + phase)
    turns = 2 * np.pi * pitch * time + bend
    return np.asarray(np.sin(turns) + 0.7 * np.sin(2 * turns))


def _hiss(pitch: float, time: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Noise a third of an octave wide."""
    spectrum = np.fft.rfft(generator.standard_normal(len(time)))
    frequencies = np.fft.rfftfreq(len(time), 1 / RATE_HZ)
    octaves = np.log2(np.maximum(frequencies, 1.0) / pitch)
    spectrum *= np.exp(-0.5 * (octaves / 0.15) ** 2)
    noise = np.fft.irfft(spectrum, len(time))
    return np.asarray(noise / (1e-12 + noise.std()) * 0.6)


_SINE = _tones((1, 1.0))
_HOLLOW = _tones(*((n, 1 / n) for n in range(1, 16, 2)))
_BUZZ = _tones(*((n, 1 / n**0.5) for n in range(1, 25)))
_CHORD = _tones((1, 1.0), (1.25, 0.9), (1.5, 0.9), (2, 0.7))
_BELL = _tones((1, 1.0), (2.76, 0.8), (5.4, 0.6), (8.93, 0.4))
_OCTAVES = _tones((1, 1.0), (2, 1.0), (4, 1.0), (8, 1.0))
_DIMINISHED = _tones((1, 1.0), (1.19, 1.0), (1.41, 1.0), (1.68, 1.0))
_THIN = _tones(*((n, 1.0) for n in range(7, 13)))
KINDS = (
    Kind("disc", (_around(40),), 0, _SINE),
    Kind("square", (_box(1.6, 1.6),), 0, _HOLLOW),
    Kind("triangle", (_around(3),), 0, _BUZZ),
    Kind("star", (_star(),), 0, _BELL),
    Kind("cross", (_box(2, 0.6), _box(0.6, 2)), 0, _CHORD),
    Kind("ring", (_around(40), _around(40, 0.55)), 1, _OCTAVES),
    Kind("bar", (_box(2, 0.7),), 0, _wavering),
    Kind("column", (_box(0.7, 2),), 0, _hiss),
    Kind(
        "hourglass",
        (((-0.85, -0.95), (0.85, -0.95), (0, 0)), ((-0.85, 0.95), (0.85, 0.95), (0, 0))),
        0,
        _THIN,
    ),
    Kind(
        "dots",
        tuple(
            tuple((x + 0.34 * px, y + 0.34 * py) for px, py in _around(20))
            for x, y in ((-0.6, -0.6), (0.6, -0.6), (-0.6, 0.6), (0.6, 0.6))
        ),
        0,
        _DIMINISHED,
    ),
)


class Toy(NamedTuple):
    """What a video or a sound is of.

    Attributes:
        kind: place in `KINDS`.
        pitch: in steps, 0 to `PITCHES` - 1, and a little more or less.
        noise: in steps, 0 to `NOISES` - 1, and a little more or less.
    """

    kind: int
    pitch: float
    noise: float

    @property
    def background(self) -> float:
        """Mean brightness of the background, 0 to 255."""
        return DARKEST + (BRIGHTEST - DARKEST) * self.noise / (NOISES - 1)

    @property
    def noise_db(self) -> float:
        """Level of the noise, against that of the tone."""
        return LEAST_NOISE_DB + (MOST_NOISE_DB - LEAST_NOISE_DB) * self.noise / (NOISES - 1)


def draw_toy(generator: np.random.Generator, *, kind: int, step: int, noise: int) -> Toy:
    """One of a kind, of about a pitch and a noise."""
    pitch, loud = np.array([step, noise]) + generator.uniform(-JITTER, JITTER, 2)
    return Toy(kind, float(pitch), float(loud))


def sound_of(
    toy: Toy, samples: int, loudness: np.ndarray | float, generator: np.random.Generator
) -> np.ndarray:
    """What a toy sounds like, with noise around it: int16 `(samples,)`, 48 kHz.

    Args:
        toy: which.
        samples: how many.
        loudness: `(samples,)` or one for all, up to 1.
        generator: of the level, the sort of noise and the phases.
    """
    time = np.arange(samples) / RATE_HZ
    tone = KINDS[toy.kind].timbre(frequency_of(toy.pitch), time, generator)
    tone = loudness * tone / (1e-12 + np.sqrt(np.mean(tone**2)))
    noise = np.convolve(
        generator.standard_normal(samples), np.ones(int(generator.integers(1, 6))), "same"
    )
    noise *= 10 ** (toy.noise_db / 20) / np.sqrt(np.mean(noise**2))
    beat = np.exp(-DECAY * np.mod(beats_of(toy.pitch) * time + generator.uniform(), 1.0))
    level = 10 ** (-generator.uniform(28, 36) / 20)
    mixed = level * beat / np.sqrt(np.mean(beat**2)) * (tone + noise)
    return np.clip(np.rint(32767 * mixed), -32768, 32767).astype(np.int16)
