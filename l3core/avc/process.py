"""Processes that decode videos: what crashes, hangs or grows in one of them costs that video alone.

Each thread has one, which is used again for its next video, and ends with the thread or this process.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from l3core.avc import child
from l3core.avc.errors import VIDEO_STATUSES, VideoError
from l3core.avc.video import Chosen, VideoFacts, VideoLimits
from l3core.errors import RunError, UsageError

START_S = 120.0  # to load NumPy and PyAV, from a slow disk
MOST_BYTES = 2**27  # of a message
START = (
    "import sys; sys.path.append(sys.argv[1]); from l3core.avc.child import main; sys.path.pop(); "
    "main(sys.argv[2:])"
)
ROOT = Path(__file__).parents[2]
# What the dynamic loader needs to find libraries; credentials stay here.
ENVIRONMENT = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class Looked(NamedTuple):
    """What a video holds.

    Attributes:
        facts: of it.
        spans_s: float64 `(n, 2)`, parts of the sound without a gap.
        frames_s: float64 `(n,)`, when frames are shown, in order.
        problem: why the file could not be read to its end.
    """

    facts: VideoFacts
    spans_s: np.ndarray
    frames_s: np.ndarray
    problem: str | None


class Decoded(NamedTuple):
    """A moment as it was decoded.

    Attributes:
        number: which of those that were wanted.
        image_s: presentation time of the frame.
        image: uint8 `(height, width, 3)`.
        samples: float32 `(n,)`: the second and what is around it.
        rate: of the samples, in Hz.
    """

    number: int
    image_s: float
    image: np.ndarray
    samples: np.ndarray
    rate: int


class VideoProcess:
    """A process that decodes one video at a time.

    Raises:
        RunError: it cannot be started, which is no video's fault.
    """

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        self._owner = os.getpid()
        self._limits = VideoLimits(seconds=START_S)
        self._deadline_s = time.monotonic() + START_S
        with theirs:
            try:
                self._process = _start(theirs)
            except OSError as error:
                self._socket.close()
                raise RunError(f"a video decoder cannot be started: {error}") from None
        self.end = weakref.finalize(self, _end, self._owner, self._process, self._socket)
        _ours.add(self)
        try:
            kind, content = self._receive()
        except VideoError as error:
            raise RunError(f"a video decoder cannot be started: {error}") from None
        if kind != child.READY:
            self.end()
            raise RunError(f"a video decoder cannot be started: {content.decode(errors='replace')}")

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def usable(self) -> bool:
        """Whether it lives, and is this process's own: in a fork it is not."""
        return self.end.alive and self._owner == os.getpid() and self._process.poll() is None

    def look(self, descriptor: int, limits: VideoLimits) -> Looked:
        """See what a video holds; `take` has to follow.

        Args:
            descriptor: of the file.
            limits: of both.

        Raises:
            VideoError: it cannot be decoded, not within the limits, or not at all.
        """
        self._limits = limits
        self._deadline_s = time.monotonic() + limits.seconds
        try:
            self._socket.settimeout(limits.seconds)
            socket.send_fds(self._socket, [child.HEAD.pack(child.LOOK, limits.memory_mb)], [descriptor])
        except OSError:
            raise self._lost() from None
        facts, problem = self._value(child.FACTS)
        spans_s = self._array(child.SPANS, np.float64)
        frames_s = self._array(child.FRAMES, np.float64)
        return Looked(VideoFacts(**facts), spans_s.reshape(-1, 2), frames_s, problem)

    def take(self, chosen: Sequence[Chosen], problems: list[str]) -> Iterator[Decoded]:
        """Decode moments of the video, in any order; of those that lack, `problems` says why.

        Raises:
            VideoError: as `look`.
        """
        content = json.dumps(chosen).encode()
        try:
            self._socket.sendall(child.HEAD.pack(child.TAKE, len(content)) + content)
        except OSError:
            raise self._lost() from None
        while True:
            kind, content = self._receive()
            if kind != child.MOMENT:
                break
            number, image_s, rate, height, width = json.loads(content)
            samples = self._array(child.SOUND, np.float32)
            image = self._array(child.PICTURE, np.uint8).reshape(height, width, 3)
            yield Decoded(number, image_s, image, samples, rate)
        problem = self._checked(child.DONE, kind, content)
        if problem is not None:
            problems.append(problem)

    def _value(self, kind: bytes) -> Any:
        return self._checked(kind, *self._receive())

    def _array(self, kind: bytes, dtype: type) -> np.ndarray:
        found, content = self._receive()
        if found != kind:
            self._checked(kind, found, content)
        return np.frombuffer(content, dtype)

    def _checked(self, wanted: bytes, kind: bytes, content: bytes) -> Any:
        """The value of a message of the kind that is wanted."""
        value = json.loads(content)
        if kind == child.WRONG:
            status, message = value
            if status == "out-of-memory":  # what is left of its memory is in pieces
                self.end()
                message = f"{message}: {self._limits.memory_mb} MiB"
            raise VideoError(status if status in VIDEO_STATUSES else "unreadable", message)
        if kind != wanted:
            self.end()
            raise VideoError("unreadable", "the decoder does not keep to its protocol")
        return value

    def _receive(self) -> tuple[bytes, bytes]:
        kind, size = child.HEAD.unpack(self._filled(child.HEAD.size))
        if size > MOST_BYTES:
            self.end()
            raise VideoError("unreadable", "the decoder does not keep to its protocol")
        return kind, self._filled(size)

    def _filled(self, size: int) -> bytes:
        content = bytearray(size)
        rest = memoryview(content)
        while rest:
            left_s = self._deadline_s - time.monotonic()
            try:
                if left_s <= 0:
                    raise TimeoutError
                self._socket.settimeout(left_s)
                count = self._socket.recv_into(rest)
            except TimeoutError:
                self.end()
                took = f"decoding takes longer than {self._limits.seconds:g} s"
                raise VideoError("timeout", took) from None
            except OSError:
                count = 0
            if not count:
                raise self._lost()
            rest = rest[count:]
        return bytes(content)

    def _lost(self) -> VideoError:
        """Why the process has ended by itself."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        code = self._process.poll()
        self.end()
        if code == -signal.SIGKILL:
            return VideoError("out-of-memory", "the decoder was killed, as systems do that lack memory")
        name = f"exit code {code}"
        with suppress(ValueError, TypeError):  # not ended by a signal
            name = signal.Signals(-code).name  # type: ignore[operator]
        return VideoError("unreadable", f"the decoder crashed ({name})")

    def leave(self) -> None:
        """In a fork: close this end of the socket, so that the process can see its parent go."""
        self._socket.close()


_ours: "weakref.WeakSet[VideoProcess]" = weakref.WeakSet()
_own = threading.local()


def own_process() -> VideoProcess:
    """The process of this thread; a new one if there is none, or it had to go.

    Raises:
        RunError: it cannot be started.
        UsageError: PyAV is not installed.
    """
    process: VideoProcess | None = getattr(_own, "process", None)
    if process is None or not process.usable:
        if find_spec("av") is None:
            raise UsageError("decoding videos needs PyAV: pip install 'l3flow[video]'")
        process = _own.process = VideoProcess()
    return process


def end_own_process() -> None:
    """End the process of this thread, if there is one."""
    process: VideoProcess | None = getattr(_own, "process", None)
    if process is not None:
        process.end()
        del _own.process


def _start(theirs: socket.socket) -> "subprocess.Popen[bytes]":
    if not sys.executable:  # as in a program that has Python built in
        raise FileNotFoundError("sys.executable does not say where Python is")
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", START, str(ROOT), *map(os.path.abspath, sys.path)],
        stdin=theirs.fileno(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={name: os.environ[name] for name in ENVIRONMENT if name in os.environ} | ONE_THREAD,
    )


def _end(owner: int, process: "subprocess.Popen[bytes]", ours: socket.socket) -> None:
    ours.close()
    if owner == os.getpid():
        process.kill()
        process.wait()


def _forget() -> None:
    """In a fork of this process: they are not its own."""
    for process in list(_ours):
        process.leave()


os.register_at_fork(after_in_child=_forget)
