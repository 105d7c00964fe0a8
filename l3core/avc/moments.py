"""Moments of a video: a second of its sound, and a frame that is shown while it sounds."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from shutil import copyfileobj
from tempfile import TemporaryFile
from typing import BinaryIO, NamedTuple

import numpy as np

from l3core.avc import augment
from l3core.avc.errors import VideoError
from l3core.avc.process import Decoded, Looked, own_process
from l3core.avc.seconds import MARGIN_S
from l3core.avc.video import SAMPLE_RATE_HZ, SECOND, Choices, Chosen, VideoFacts, VideoLimits
from l3core.errors import AudioError
from l3core.pinned import open_pinned
from l3core.storage import StoredObject

COPY_BYTES = 2**20
FLAT = 8  # of 255: a frame whose colours differ by no more shows nothing


class Moment(NamedTuple):
    """A frame and the second of sound that it lies in, both augmented.

    Attributes:
        image: uint8 `(224, 224, 3)`, RGB.
        audio: int16 `(48000,)`, mono, 48 kHz.
        audio_start_s: presentation time of the second's first sample.
        image_s: presentation time of the frame, `audio_start_s <= image_s < audio_start_s + 1`.
        gain: that the sound was multiplied with.
        box: (x, y) of the crop in the frame whose smaller side is 256.
        flipped: whether left became right.
        saturation: that of HSV was multiplied with it.
        brightness: added to the colours in [0, 1].
    """

    image: np.ndarray
    audio: np.ndarray
    audio_start_s: float
    image_s: float
    gain: float
    box: tuple[int, int]
    flipped: bool
    saturation: float
    brightness: float


class SampledVideo(NamedTuple):
    """What was taken of a video.

    Attributes:
        facts: of it.
        moments: as many as were asked for, or those before it is damaged.
        note: why there are fewer, or what else is wrong with the file; None if nothing is.
    """

    facts: VideoFacts
    moments: tuple[Moment, ...]
    note: str | None


@dataclass(frozen=True, kw_only=True)
class MomentSettings:
    """Which moments are taken.

    Attributes:
        per_video: how many of each video.
        seed: of all that is random.
        augmented: whether they are flipped, recoloured and amplified; they are cropped in any case, at a
            random place, as the paper's are for validation, too.
    """

    per_video: int = 16
    seed: int = 0
    augmented: bool = True

    def __post_init__(self) -> None:
        if self.per_video < 1:
            raise ValueError(f"per_video needs at least 1, got {self.per_video}")


def sample_video(
    listed: StoredObject, video_id: str, settings: MomentSettings, limits: VideoLimits
) -> SampledVideo:
    """Take moments of a video, the same ones whenever it is asked for.

    The video is decoded in a process of its own, which the calling thread keeps for its next video.

    Args:
        listed: where it is.
        video_id: what the random numbers are drawn from, with the seed and the moment's number: so one
            moment does not depend on the others.
        settings: how many, and how.
        limits: what it may cost.

    Raises:
        VideoError: there are none.
        RunError: no process can be started.
        UsageError: PyAV is not installed.
    """
    refuse_too_many_bytes(listed.size_bytes, limits)
    try:
        with open_pinned(listed) as file, _descriptor(file) as descriptor:
            return _sampled(descriptor, video_id, settings, limits)
    except AudioError as error:
        raise VideoError(error.status, str(error)) from None


def refuse_too_many_bytes(size: int, limits: VideoLimits) -> None:
    """Hold that a file may be decoded.

    Raises:
        VideoError: `too-large`.
    """
    if limits.bytes is not None and size > limits.bytes:
        raise VideoError("too-large", f"the file has {size} bytes; at most {limits.bytes} are decoded")


@contextmanager
def _descriptor(file: BinaryIO) -> Iterator[int]:
    """A descriptor of the content: the file's own, or that of a copy on disk."""
    try:
        number = file.fileno()
    except OSError:  # it is not on a disk
        with TemporaryFile() as copy:
            copyfileobj(file, copy, COPY_BYTES)
            copy.flush()
            yield copy.fileno()
        return
    yield number


def _sampled(
    descriptor: int, video_id: str, settings: MomentSettings, limits: VideoLimits
) -> SampledVideo:
    refuse_too_many_bytes(os.fstat(descriptor).st_size, limits)  # it may not have been listed
    process = own_process()
    try:
        looked = process.look(descriptor, limits)
        problems = [] if looked.problem is None else [looked.problem]
        choices = Choices(looked.spans_s, looked.frames_s)
        numbers = range(settings.per_video if len(choices) else 0)
        generators = [_generator(settings.seed, video_id, number) for number in numbers]
        chosen = [choices.draw(generator) for generator in generators]
        decoded = sorted(process.take(chosen, problems), key=lambda one: one.number)
    except VideoError:
        raise
    except BaseException:  # nobody reads what it says, or says what it waits for
        process.end()
        raise
    refuse_useless(looked, decoded, choices, problems)
    moments = tuple(
        _moment(one, chosen[one.number], generators[one.number], settings.augmented) for one in decoded
    )
    return SampledVideo(looked.facts, moments, _note(problems, len(moments), settings.per_video))


def _generator(seed: int, video_id: str, number: int) -> np.random.Generator:
    text = f"{seed}\n{number}\n{video_id}"
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


def refuse_useless(
    looked: Looked, decoded: list[Decoded], choices: Choices, problems: list[str]
) -> None:
    """Hold that there is something to learn from a video.

    Raises:
        VideoError: it is too short, damaged, silent or black.
    """
    longest_s = float(np.diff(looked.spans_s).max(initial=0.0))
    why = f"; {problems[0]}" if problems else ""
    if len(looked.frames_s) < 2:
        count = "a single frame" if len(looked.frames_s) else "no frame"
        raise VideoError("no-picture", f"there is {count} that can be decoded{why}")
    if longest_s < 1:
        raise VideoError("too-short", f"needs a second of unbroken sound, has {longest_s:.3f} s{why}")
    if not len(choices):
        raise VideoError("too-short", f"no frame is shown during a whole second of sound{why}")
    if not decoded:
        raise VideoError("unreadable", problems[0] if problems else "nothing of it can be decoded")
    if not any(augment.as_int16(one.samples).any() for one in decoded):
        raise VideoError("silent", f"all of {len(decoded)} seconds are digital silence")
    if all(_is_flat(one.image) for one in decoded):
        raise VideoError("black", f"all of {len(decoded)} frames are of one colour")


def _is_flat(image: np.ndarray) -> bool:
    colours = image.reshape(-1, 3)
    return int((colours.max(axis=0) - colours.min(axis=0)).max()) <= FLAT


def _moment(decoded: Decoded, chosen: Chosen, generator: np.random.Generator, augmented: bool) -> Moment:
    """Cut a moment out of what was decoded; the random numbers are drawn in this order."""
    audio = augment.as_int16(second_of(decoded.samples, decoded.rate))
    height, width, _ = decoded.image.shape
    box = augment.draw_box(generator, width, height)
    image = augment.crop(decoded.image, box)
    gain, flipped, saturation, brightness = 1.0, False, 1.0, 0.0
    if augmented:
        gain = augment.draw_gain(generator, augment.peak_of(audio))
        flipped = bool(generator.random() < augment.FLIPPED_SHARE)
        saturation = float(generator.uniform(*augment.SATURATION))
        brightness = float(generator.uniform(-augment.BRIGHTNESS, augment.BRIGHTNESS))
        first = bool(generator.random() < 0.5)
        audio = augment.amplify(audio, gain)
        image = augment.flip(image) if flipped else image
        image = augment.recolour(
            image, saturation=saturation, brightness=brightness, saturation_first=first
        )
    image = np.ascontiguousarray(image)
    times = chosen.audio_start_s, decoded.image_s
    return Moment(image, audio, *times, gain, box, flipped, saturation, brightness)


def second_of(samples: np.ndarray, rate: int) -> np.ndarray:
    """The second between two margins, at 48 kHz: float `(48000,)`.

    Resampled by soxr (HQ), as recordings are that are embedded.
    """
    import soxr

    if rate != SAMPLE_RATE_HZ:
        samples = soxr.resample(samples, rate, SAMPLE_RATE_HZ, quality="HQ")
    first = round(MARGIN_S * SAMPLE_RATE_HZ)
    second = samples[first : first + SECOND]
    return np.pad(second, (0, SECOND - len(second)))


def _note(problems: list[str], found: int, wanted: int) -> str | None:
    if not problems:
        return None
    return f"{found} of {wanted} moments: {problems[0]}"
