"""Recordings: what a file says of itself, and its samples as mono float32, any part of it.

Decoding is libsndfile's (soundfile). Several channels are averaged before anything else is done with
them, as openl3 and the paper's code do.
"""

from types import TracebackType
from typing import BinaryIO, NamedTuple, Protocol

import numpy as np
import soundfile

from l3core.errors import AudioError

# Extensions that libsndfile reads, for a folder given as input; a pattern may name any file.
EXTENSIONS = frozenset(
    [
        ".wav",
        ".wave",
        ".flac",
        ".ogg",
        ".oga",
        ".opus",
        ".mp3",
        ".aif",
        ".aiff",
        ".aifc",
        ".caf",
        ".w64",
        ".rf64",
        ".au",
        ".snd",
    ]
)
# libsndfile reads the rates and channel counts of a header as they are; beyond these it is a lie.
MAX_SAMPLE_RATE_HZ = 4_000_000
MAX_CHANNELS = 1024


class AudioInfo(NamedTuple):
    """What a decoder says of a recording.

    Attributes:
        sample_rate_hz: frames per second.
        channels: number of channels.
        frames: samples of each channel.
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


class Source(Protocol):
    """Anything with mono samples to embed: a decoded file, or an array in memory."""

    @property
    def info(self) -> AudioInfo:
        """Rate, channels and length."""

    def read(self, start: int, stop: int) -> np.ndarray:
        """Frames `[start, stop)`, averaged over channels, float32 `(stop - start,)`."""


class ArraySource:
    """An array `(samples,)` or `(samples, channels)` as a source."""

    def __init__(self, audio: np.ndarray, sample_rate_hz: int) -> None:
        if audio.ndim not in (1, 2):
            raise ValueError(
                f"audio must have shape (samples,) or (samples, channels), got {audio.shape}"
            )
        if not np.issubdtype(audio.dtype, np.floating):
            raise ValueError(f"audio must be floating point in [-1, 1], got dtype {audio.dtype}")
        mono = audio if audio.ndim == 1 else audio.mean(axis=1)
        self._mono = np.ascontiguousarray(mono, dtype=np.float32)
        channels = 1 if audio.ndim == 1 else audio.shape[1]
        self.info = AudioInfo(sample_rate_hz, channels, len(mono), "array")

    def read(self, start: int, stop: int) -> np.ndarray:
        """Samples `[start, stop)`."""
        return self._mono[start:stop]


class Recording:
    """An audio file, open for reading; a context manager.

    Args:
        file: a seekable binary file object; not closed here.

    Raises:
        AudioError: `empty` for a file without bytes or frames, `unreadable` for one that is no audio
            that libsndfile knows.
    """

    def __init__(self, file: BinaryIO) -> None:
        if not file.read(1):
            raise AudioError("empty", "the file has no bytes")
        file.seek(0)
        try:
            self._file = soundfile.SoundFile(file)
        except (soundfile.LibsndfileError, TypeError) as error:
            # TypeError: a raw format (.raw) is told by its file name, and asks for parameters
            raise AudioError("unreadable", f"not audio that can be decoded: {error}") from None
        info = AudioInfo(
            self._file.samplerate,
            self._file.channels,
            self._file.frames,
            f"{self._file.format}/{self._file.subtype}",
        )
        self.info = info
        self._position = 0
        if not 1 <= info.sample_rate_hz <= MAX_SAMPLE_RATE_HZ:
            raise AudioError("unreadable", f"the header claims {info.sample_rate_hz} Hz")
        if not 1 <= info.channels <= MAX_CHANNELS:
            raise AudioError("unreadable", f"the header claims {info.channels} channels")
        if info.frames <= 0:
            raise AudioError("empty", "the file has a header but no samples")

    def __enter__(self) -> "Recording":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def read(self, start: int, stop: int) -> np.ndarray:
        """Frames `[start, stop)`, averaged over channels, float32.

        Raises:
            AudioError: `truncated` where the file ends or breaks before `stop`, `unreadable` for
                samples that are no numbers.
        """
        try:
            if start != self._position:
                self._file.seek(start)
            frames = self._file.read(stop - start, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            self._position = -1
            raise AudioError("truncated", f"decoding broke after frame {start}: {error}") from None
        self._position = start + len(frames)
        if len(frames) < stop - start:
            raise AudioError(
                "truncated", f"the file ends after {self._position} of {self.info.frames} frames"
            )
        mono = frames[:, 0] if frames.shape[1] == 1 else frames.mean(axis=1, dtype=np.float32)
        if not np.isfinite(mono).all():
            raise AudioError("unreadable", f"NaN or infinite samples after frame {start}")
        return mono
