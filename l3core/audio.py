"""Recordings: what a file says of itself, and its samples as mono float32, any part of it.

Decoding is libsndfile's, in another process (`l3core.decoder`). Several channels are averaged before
anything else is done with them, as openl3 and the paper's code do, or the first one is taken, where a
model wants that.
"""

from types import TracebackType
from typing import BinaryIO, NamedTuple, Protocol

import numpy as np

from l3core.channels import Mix, to_mono
from l3core.decoded import DecodedFile, DecodingError
from l3core.decoder import DecoderLostError
from l3core.decoding_child import DECODE_FRAMES
from l3core.durations import max_duration, too_long
from l3core.errors import AudioError
from l3core.headers import claimed_frames, has_last_ogg_page

# Extensions that libsndfile reads, for a folder given as input; a pattern may name any file.
EXTENSIONS = frozenset(
    {".wav", ".wave", ".w64", ".rf64", ".flac", ".ogg", ".oga", ".opus", ".mp3"}
    | {".aif", ".aiff", ".aifc", ".caf", ".au", ".snd"}
)
# libsndfile reads the rates and channel counts of a header as they are; beyond these it is a lie.
MAX_SAMPLE_RATE_HZ = 4_000_000
MAX_CHANNELS = 1024
MAX_FRAMES = 2**63 - 1  # the ledger holds no more
LARGEST_SAMPLE = 1e15  # full scale is 1; far beyond, numbers overflow in a network
# Decoders whose samples after a seek differ from those of reading on: measured with libsndfile 1.2.2,
# a few of a hundred seeks in Vorbis are off by up to a thousand samples, MP3 by rounding.
READ_ON_ONLY = ("VORBIS", "MPEG")


class AudioInfo(NamedTuple):
    """What a decoder says of a recording.

    Attributes:
        sample_rate_hz: frames per second.
        channels: number of channels.
        frames: samples of each channel, as the header promises.
        codec: libsndfile's words, as "WAV/PCM_16".
    """

    sample_rate_hz: int
    channels: int
    frames: int
    codec: str

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.frames / self.sample_rate_hz


def seeks_exactly(info: AudioInfo) -> bool:
    """Whether samples after a seek are those of reading on."""
    return not any(name in info.codec for name in READ_ON_ONLY)


class Source(Protocol):
    """Anything with mono samples to embed: a decoded file, or an array in memory."""

    mix: Mix
    """How channels become one; to be set before anything is read."""

    @property
    def info(self) -> AudioInfo:
        """Rate, channels and length."""

    @property
    def damage(self) -> str | None:
        """Why `read` gave less than it was asked for; None while it has not."""

    def read(self, start: int, stop: int) -> np.ndarray:
        """Frames `[start, stop)`, mono, float32; less where the recording breaks."""


class ArraySource:
    """An array `(samples,)` or `(samples, channels)` as a source."""

    damage: str | None = None

    def __init__(self, audio: np.ndarray, sample_rate_hz: int) -> None:
        if audio.ndim not in (1, 2) or 0 in audio.shape[1:]:
            raise ValueError(
                f"audio must have shape (samples,) or (samples, channels), got {audio.shape}"
            )
        if not np.issubdtype(audio.dtype, np.floating):
            raise ValueError(f"audio must be floating point in [-1, 1], got dtype {audio.dtype}")
        self._audio = audio
        self._take("mean")
        channels = 1 if audio.ndim == 1 else audio.shape[1]
        self.info = AudioInfo(sample_rate_hz, channels, len(audio), "array")

    @property
    def mix(self) -> Mix:
        """See `Source`."""
        return self._mix

    @mix.setter
    def mix(self, mix: Mix) -> None:
        if mix != self._mix:
            self._take(mix)

    def _take(self, mix: Mix) -> None:
        self._mix: Mix = mix
        self._mono = np.ascontiguousarray(to_mono(self._audio, mix), dtype=np.float32)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Samples `[start, stop)`."""
        return self._mono[start:stop]


class Recording:
    """An audio file, open for reading; a context manager.

    Samples are the same whatever part is asked for: a decoder that does not seek exactly is read on
    from the beginning instead. What was read last is kept, so that blocks with context on both sides
    are decoded once.

    Args:
        file: a seekable binary file object; not closed here.

    Raises:
        AudioError: `empty` for a file without bytes or frames, `unreadable` for one that is no audio
            that libsndfile knows or one that its decoder cannot bear, `too-large` for more than
            `max_duration`.
    """

    def __init__(self, file: BinaryIO) -> None:
        magic = file.read(4)
        if not magic:
            raise AudioError("empty", "the file has no bytes")
        self._lacks_end = magic == b"OggS" and not has_last_ogg_page(file)
        self._bytes = file
        self._lost = False  # whether a decoder has crashed already
        self._file = self._open()
        try:
            self.info = self._believed()
        except AudioError:
            self._file.close()
            raise
        self.damage: str | None = None
        self.mix: Mix = "mean"
        self._seeks = seeks_exactly(self.info)
        self._kept: np.ndarray = np.empty(0, np.float32)  # what was read last
        self._kept_start = 0
        self._position = 0  # of the decoder, and the end of what is kept

    def __enter__(self) -> "Recording":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def _open(self) -> DecodedFile:
        while True:
            try:
                return DecodedFile(self._bytes)
            except DecodingError as error:
                words = f"not audio that can be decoded: {_reason(error)}"
                raise AudioError("unreadable", words) from None
            except DecoderLostError as error:
                self._bear(error)

    def _believed(self) -> AudioInfo:
        """What the file says of itself, if that can be."""
        file = self._file
        frames = claimed_frames(file.frames, file.extra_info)
        info = AudioInfo(file.samplerate, file.channels, frames, f"{file.format}/{file.subtype}")
        if not 1 <= info.sample_rate_hz <= MAX_SAMPLE_RATE_HZ:
            raise AudioError("unreadable", f"the header claims {info.sample_rate_hz} Hz")
        if not 1 <= info.channels <= MAX_CHANNELS:
            raise AudioError("unreadable", f"the header claims {info.channels} channels")
        if frames > MAX_FRAMES:
            raise AudioError("unreadable", f"the header claims {frames} frames")
        if frames <= 0:
            raise AudioError("empty", "the file has a header but no samples")
        if file.frames > 3600 * max_duration() * info.sample_rate_hz:  # not what a header claims only
            raise AudioError("too-large", too_long())
        return info

    def _bear(self, error: DecoderLostError) -> None:
        """Let a decoder crash once: what killed it may have been something else than this file.

        Raises:
            AudioError: `unreadable`, the second time.
        """
        if self._lost or not error.may_pass:
            raise AudioError("unreadable", str(error)) from None
        self._lost = True

    def read(self, start: int, stop: int) -> np.ndarray:
        """Frames `[start, stop)`, mono, float32.

        Where the file ends or breaks before `stop` there are less, and `damage` says why.

        Raises:
            AudioError: `unreadable` for samples that are no numbers.
        """
        stop = min(stop, self.info.frames)
        if not self._kept_start <= start <= self._position:
            self._go_to(start)
        kept = self._kept[start - self._kept_start :]
        new = self._decode(stop - self._position)
        self._kept = np.concatenate([kept, new]) if len(new) else kept
        self._kept_start = start
        found = self._kept[: max(0, stop - start)]
        if self._lacks_end and self._position == self.info.frames:
            self.damage = "the last Ogg page is missing, so the file was cut"
        return found

    def _go_to(self, frame: int) -> None:
        """Bring the decoder to a frame, or as near as the file goes."""
        sought = self._seeks and self.damage is None and self._seek(min(frame, self._file.frames))
        if not sought:
            self._read_on(frame)
        self._kept = np.empty(0, np.float32)
        self._kept_start = self._position

    def _seek(self, frame: int) -> bool:
        """Let the decoder go to a frame; False if it cannot, as in a FLAC that is damaged."""
        try:
            self._file.seek(frame)
        except DecoderLostError as error:
            self._begin_anew(error)
            return self._seek(frame)
        except DecodingError:
            self._seeks = False
            self._position = self.info.frames + 1  # nobody knows where: reading on begins anew
            return False
        self._position = frame
        return True

    def _read_on(self, frame: int) -> None:
        """Decode and throw away until `frame`, from the beginning if the decoder is past it."""
        if frame < self._position:
            self._begin_anew()
        while self._position < frame and len(self._decode(min(DECODE_FRAMES, frame - self._position))):
            pass

    def _begin_anew(self, error: DecoderLostError | None = None) -> None:
        """Open the file again, after a crash in another process."""
        self._file.close()
        if error is not None:
            self._bear(error)
        self._file = self._open()
        self._position = 0
        self.damage = None

    def _decode(self, count: int) -> np.ndarray:
        """The next `count` frames, mono; less where the file breaks."""
        parts: list[np.ndarray] = []
        stop = self._position + count
        while self._position < stop and self.damage is None:
            try:
                for frames in self._file.read(stop - self._position):
                    parts.append(self._mono(frames))
                    self._position += len(frames)
                if self._position < stop:
                    self.damage = f"the file ends after {self._position} of {self.info.frames} frames"
            except DecodingError as error:
                self.damage = f"decoding broke after frame {self._position}: {_reason(error)}"
            except DecoderLostError as error:
                self._come_back(error)
        return np.concatenate(parts) if parts else np.empty(0, np.float32)

    def _come_back(self, error: DecoderLostError) -> None:
        """Bring another decoder to where one crashed."""
        frame = self._position
        self._begin_anew(error)
        if not (self._seeks and self._seek(frame)):
            self._read_on(frame)
        if self._position != frame:
            raise AudioError("unreadable", f"{error}, and decodes otherwise each time")

    def _mono(self, frames: np.ndarray) -> np.ndarray:
        mono = to_mono(frames, self.mix)
        peak = float(np.abs(mono).max(initial=0.0))
        if not peak <= LARGEST_SAMPLE:
            large = f"samples of {peak:.1g}, where 1 is full scale,"
            what = large if np.isfinite(peak) else "NaN or infinite samples"
            raise AudioError("unreadable", f"{what} after frame {self._position}")
        return mono


def _reason(error: DecodingError) -> str:
    """Libsndfile's words."""
    return str(error).removeprefix("Error : ").rstrip(".")
