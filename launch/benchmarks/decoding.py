"""What it costs that other processes decode, against soundfile in this one."""

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile

from l3core.audio import Recording
from l3core.decoder import decoders
from l3core.decoding_child import DECODE_FRAMES
from l3core.table.shard import READ_BYTES
from launch.benchmarks.figures import Figure, timed

RATE = 48_000
BLOCK = 10 * RATE  # about what a resampler asks for
KINDS = {"wav": "PCM_16", "flac": "PCM_16", "ogg": "VORBIS", "mp3": "MPEG_LAYER_III"}
CLIPS = 1_000
TRIES = 5


def decoding(folder: Path, *, scale: float) -> Iterator[Figure]:
    """CPU time of decoding here and there, by turns; starting a process, and its memory."""
    seconds = max(1, round(120 * scale))
    for extension, subtype in KINDS.items():
        path = folder / f"decoded.{extension}"
        _make(path, subtype, seconds)
        there, here = _compared(path, 1)
        note = f"{extension}, 48 kHz"
        yield Figure("decode", seconds / there, "x real time", f"{note}, CPU of both processes")
        yield Figure("decode / in this process", here / there, "", note)
    path = folder / "clip.wav"
    _make(path, "PCM_16", 1)
    there, here = _compared(path, round(CLIPS * scale))
    yield Figure("a clip of 1 s", 1e6 * there / round(CLIPS * scale), "us", "CPU of both processes")
    yield Figure("the same in this process", 1e6 * here / round(CLIPS * scale), "us", "CPU")
    (process,) = decoders.idle
    status = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii")
    yield Figure(
        "a decoder's memory", int(status.partition("Pss:")[2].split()[0]) / 1e3, "MB", "its own"
    )
    decoders.close()
    started = min(timed(lambda: _start(path)) for _ in range(TRIES))
    yield Figure("starting a decoder", 1e3 * started, "ms", "with a clip of 1 s")


def _make(path: Path, subtype: str, seconds: int) -> None:
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, RATE).astype(np.float32)
    with soundfile.SoundFile(path, "w", RATE, 1, subtype) as file:
        for _ in range(seconds):
            file.write(noise)


def _compared(path: Path, count: int) -> tuple[float, float]:
    """Seconds of CPU that it takes to read a file so many times: by a decoder, and here."""
    decoders.close()
    _start(path)
    tries = [(_cpu_s(_decode, path, count), _cpu_s(_decode_here, path, count)) for _ in range(TRIES)]
    return min(there for there, _ in tries), min(here for _, here in tries)


def _start(path: Path) -> None:
    decoders.close()
    _decode(path)


def _decode(path: Path, kind: type[Recording] = Recording) -> None:
    with _opened(path) as file, kind(file) as recording:
        for start in range(0, recording.info.frames, BLOCK):
            recording.read(start, start + BLOCK)


def _decode_here(path: Path) -> None:
    _decode(path, _RecordingHere)


class _RecordingHere(Recording):
    """The same without another process."""

    def _open(self) -> Any:
        return _DecodedHere(self._bytes)


class _DecodedHere:
    """What a recording needs of a `DecodedFile`."""

    def __init__(self, file: BinaryIO) -> None:
        self._callbacks = _Callbacks(file)
        self._sound = soundfile.SoundFile(self._callbacks)
        for name in ("samplerate", "channels", "frames", "format", "subtype", "extra_info"):
            setattr(self, name, getattr(self._sound, name))
        self.close = self._sound.close

    def read(self, count: int) -> Iterator[np.ndarray]:
        while count > 0:
            part = self._sound.read(min(count, DECODE_FRAMES), "float32", always_2d=True)
            if self._callbacks.error is not None:
                raise self._callbacks.error
            yield part
            count -= len(part)


class _Callbacks:
    """A file as libsndfile's callbacks need it: they may not raise."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.tell = file.tell
        self.error: Exception | None = None
        file.seek(0)

    def read(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except Exception as error:  # raised when libsndfile has returned
            self.error = error
            return b""

    def seek(self, offset: int, whence: int) -> int:
        try:
            return self._file.seek(offset, whence)
        except Exception as error:  # raised when libsndfile has returned
            self.error = error
            return 0


def _opened(path: Path) -> io.BufferedReader:
    return io.BufferedReader(io.FileIO(path), READ_BYTES)


def _cpu_s(action: Callable[[Path], None], path: Path, count: int) -> float:
    """Seconds of CPU of this process and of the idle decoder."""

    def clocks() -> float:
        # clock_getcpuclockid(3) of another process, which Python does not have
        return time.process_time() + sum(time.clock_gettime((~pid << 3) | 2) for pid in decoders.idle)

    began = clocks()
    for _ in range(count):
        action(path)
    return clocks() - began
