"""A sound file that another process decodes; its bytes are read here."""

from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from l3core import decoding_child as child
from l3core.decoder import decoders

# A process whose shared memory has grown for more than so many is not used again.
FEW_CHANNELS = 16


class DecodingError(Exception):
    """What libsndfile says of a file, in its words."""


class DecodedFile:
    """A sound file, open in a process.

    What reading the file raises is raised as it is, by whatever method had it read.

    Args:
        file: a seekable binary file object; not closed here.

    Attributes:
        samplerate, channels, frames, format, subtype, extra_info: as soundfile has them.

    Raises:
        DecodingError: it is no audio that libsndfile knows.
        DecoderLostError: the process crashed, hung or grew; from the other methods, too.
        RunError: no process can be started.
    """

    channels = 0

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = file.seek(0, 2)
        self._process = decoders.take()
        self._closed = self._busy = False
        try:
            file.seek(0)
            self._ask(child.INFO, child.OPEN, self._size, file.read(child.WANT_BYTES))
        except BaseException:
            self.close()
            raise
        self._busy = False

    def _learn(self, facts: Any) -> None:
        try:
            self.samplerate, self.channels = int(facts["samplerate"]), int(facts["channels"])
            self.frames = int(facts["frames"])
            self.format, self.subtype = str(facts["format"]), str(facts["subtype"])
            self.extra_info = str(facts["extra_info"])
        except (KeyError, TypeError, ValueError, OverflowError):
            raise self._process.broken() from None

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):  # one that nobody closed
            self._process.end()

    def seek(self, frame: int) -> None:
        """Go to a frame.

        Raises:
            DecodingError: the decoder cannot.
        """
        self._ask(child.DONE, child.SEEK, frame)
        self._busy = False

    def read(self, count: int) -> Iterator[np.ndarray]:
        """The next `count` frames in parts, float32 `(frames, channels)`; less where the file ends.

        A part is memory that the process may change: it has to be copied before it is looked at.

        Raises:
            DecodingError: the decoder broke.
        """
        while count > 0:
            found = self._ask(child.FRAMES, child.READ, count)
            self._busy = False
            if not found:
                return
            samples = found * self.channels
            if found > count or 4 * samples > child.FRAMES_BYTES:
                raise self._process.broken()
            shared = np.frombuffer(self._process.shared, np.float32, samples, child.WANT_BYTES)
            frames = shared.reshape(-1, self.channels)
            for first in range(0, found, child.DECODE_FRAMES):
                yield frames[first : first + child.DECODE_FRAMES]
            count -= found

    def close(self) -> None:
        """Close the file; its process is free for another one, or ended if it is not done with this."""
        if self._closed:
            return
        self._closed = True
        if self._busy or self.channels > FEW_CHANNELS:  # the shared memory has grown
            self._process.end()
        else:
            decoders.give_back(self._process)

    def _ask(self, answer: bytes, kind: bytes, number: int = 0, content: bytes = b"") -> int:
        """Ask for something; returns the number that the answer holds."""
        self._busy = True
        self._process.begin_step()
        self._process.send(kind, number, content)
        return self._answer(answer)

    def _answer(self, awaited: bytes) -> int:
        while True:
            kind, number, size = self._process.receive()
            if kind == child.WANT and number <= self._size:
                self._file.seek(number)
                self._process.send(child.BYTES, 0, self._file.read(child.WANT_BYTES))
            elif kind == child.WRONG:
                words = str(self._process.receive_value(size))
                self._busy = False
                raise DecodingError(words)
            elif kind == awaited:
                if kind == child.INFO:
                    self._learn(self._process.receive_value(size))
                return number
            else:
                raise self._process.broken()
