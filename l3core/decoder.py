"""Processes that decode: what crashes, hangs or grows in one of them is lost alone.

A process decodes one recording at a time, and is used again for the next one. There are at most as many
as recordings have been open at the same time. They end with this process, however it ends.
"""

import atexit
import ctypes
import fcntl
import json
import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from l3core import decoding_child as child
from l3core.errors import RunError

# Between two messages of a process there are milliseconds, and so there are in a step (a seek, some
# frames), but opening may read all of an MP3 of a week. Time that the store takes does not count.
SILENT_S = 60.0
STEP_S = 600.0
# Waiting is counted in slices: while this process is stopped, no more than one passes.
SLICE_S = 1
# Longer words than libsndfile has.
MOST_WORDS_BYTES = 2**20
# What the dynamic loader needs to find a libsndfile of the system; credentials stay here.
ENVIRONMENT = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
# With -I -S: nothing of the user's environment, and no packages but those that this process finds.
START = (
    "import sys; sys.path.append(sys.argv[1]); from decoding_child import main; sys.path.pop(); "
    "main(sys.argv[2:])"
)
HERE = Path(__file__).parent
# Of Linux: not every Python has names for them.
MFD_CLOEXEC, MFD_ALLOW_SEALING = 1, 2
F_ADD_SEALS, F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW = 1033, 1, 2, 4


class DecoderLostError(Exception):
    """The decoder is no more; the message says why.

    Attributes:
        may_pass: whether another one may fare better.
    """

    def __init__(self, message: str, *, may_pass: bool) -> None:
        super().__init__(message)
        self.may_pass = may_pass


class DecoderProcess:
    """A process that decodes.

    Attributes:
        shared: memory that both see; the process may change it at any time.
    """

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs, _shared_memory() as file:
            try:
                self._process = _start(theirs, file)
            except OSError:
                self._socket.close()
                raise
            self.shared = memoryview(mmap.mmap(file.fileno(), child.SHARED_BYTES))
        self._waited_s = 0.0
        # not settimeout, which asks the system twice for each message
        for way in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self._socket.setsockopt(socket.SOL_SOCKET, way, struct.pack("@ll", SLICE_S, 0))

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def is_done(self) -> bool:
        """Whether it lives and has closed the file that it was told to close."""
        try:
            kind, _, _ = self.receive()
        except DecoderLostError:
            return False
        return kind == child.DONE and self._process.poll() is None

    def begin_step(self) -> None:
        """What the process does from here on may take `STEP_S`."""
        self._waited_s = 0.0

    def send(self, kind: bytes, number: int = 0, content: bytes = b"") -> None:
        """Send a message; the content goes through the shared memory."""
        self.shared[: len(content)] = content
        head = child.HEAD.pack(kind, number, len(content))
        if self._waiting(self._socket.send, head) < len(head):
            raise self.broken()  # it takes nothing

    def receive(self) -> tuple[bytes, int, int]:
        """The head of the next message: kind, number, and how many bytes follow."""
        head: tuple[bytes, int, int] = child.HEAD.unpack(self.fill(bytearray(child.HEAD.size)))
        return head

    def receive_value(self, size: int) -> Any:
        """The JSON value that follows a head."""
        if size > MOST_WORDS_BYTES:
            raise self.broken()
        try:
            value = json.loads(self.fill(bytearray(size)))
            json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is no text
        except (ValueError, RecursionError):
            raise self.broken() from None
        return value

    def fill(self, buffer: Any) -> Any:
        """Receive as many bytes as a buffer has, and return it."""
        rest = memoryview(buffer).cast("B")
        while rest:
            count = self._waiting(self._socket.recv_into, rest, 0, socket.MSG_WAITALL)
            if not count:
                raise self._lost()
            rest = rest[count:]
        return buffer

    def _waiting(self, action: Callable[..., int], *arguments: object) -> int:
        """What a call on the socket returns; its time is counted."""
        silent_s = 0.0
        while silent_s <= SILENT_S and self._waited_s <= STEP_S:
            began = time.perf_counter()
            try:
                return action(*arguments)
            except BlockingIOError:
                silent_s += SLICE_S
            except OSError:  # the other end is gone; or this one, in a fork of the process
                raise self._lost() from None
            finally:
                self._waited_s += min(time.perf_counter() - began, SLICE_S)
        limit_s = SILENT_S if silent_s > SILENT_S else STEP_S
        raise self._killed(f"decoding took longer than {limit_s:.0f} s")

    def broken(self) -> DecoderLostError:
        """The error of a process that says what it should not; it is ended."""
        return self._killed("the decoder does not keep to its protocol")

    def _killed(self, why: str) -> DecoderLostError:
        self.end()
        return DecoderLostError(why, may_pass=False)

    def _lost(self) -> DecoderLostError:
        """Why the process has ended by itself."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(SLICE_S)
        code = self._process.poll()
        self.end()
        name = f"exit code {code}"
        with suppress(ValueError, TypeError):  # not ended by a signal
            name = signal.Signals(-code).name  # type: ignore[operator]
        return DecoderLostError(f"the decoder crashed ({name})", may_pass=True)

    def end(self) -> None:
        """End the process now."""
        self._socket.close()
        self._process.kill()
        self._process.wait()

    def leave(self) -> None:
        """Close this end of the socket: the process sees that and ends."""
        self._socket.close()


class Decoders:
    """The processes of this process that are not in use."""

    def __init__(self) -> None:
        self._idle: list[DecoderProcess] = []
        self._all: weakref.WeakSet[DecoderProcess] = weakref.WeakSet()
        self._lock = threading.Lock()

    @property
    def idle(self) -> list[int]:
        """Process ids of those that wait for a recording."""
        with self._lock:
            return [process.pid for process in self._idle]

    def take(self) -> DecoderProcess:
        """One that is free, or a new one.

        Raises:
            RunError: it cannot be started, which is no recording's fault.
        """
        while True:
            with self._lock:
                if not self._idle:
                    break
                process = self._idle.pop()
            if process.is_done():
                return process
            process.end()
        process = _started()
        with self._lock:
            self._all.add(process)
        return process

    def give_back(self, process: DecoderProcess) -> None:
        """Let a process close its file, and keep it for the next one."""
        with suppress(DecoderLostError):  # all that was wanted of the file is here: see is_done
            process.begin_step()
            process.send(child.CLOSE)
        with self._lock:
            self._idle.append(process)

    def close(self) -> None:
        """End all that are not in use."""
        with self._lock:
            idle, self._idle = self._idle, []
        for process in idle:
            process.end()

    def forget(self) -> None:
        """In a fork of this process: they are not its own."""
        self._lock = threading.Lock()
        self._idle = []
        for process in self._all:  # or they would live as long as the fork
            process.leave()


def _shared_memory() -> IO[bytes]:
    """A file without a name; the process cannot take any of it away from under this one."""
    file: IO[bytes]
    if sys.platform == "linux":
        file = os.fdopen(_memfd(), "r+b")
    else:
        file = tempfile.TemporaryFile()  # noqa: SIM115  # the caller closes it
    file.truncate(child.SHARED_BYTES)
    if sys.platform == "linux":
        fcntl.fcntl(file, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW)
    return file


def _memfd() -> int:
    """What `os.memfd_create` gives, which a Python that was built with an old glibc (conda's) lacks."""
    libc = ctypes.CDLL(None, use_errno=True)
    file = int(libc.memfd_create(b"l3flow", MFD_CLOEXEC | MFD_ALLOW_SEALING))
    if file < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return file


def _start(theirs: socket.socket, shared: IO[bytes]) -> subprocess.Popen[bytes]:
    if not sys.executable:  # as in a program that has Python built in
        raise FileNotFoundError("sys.executable does not say where Python is")
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", START, str(HERE), *map(os.path.abspath, sys.path)],
        stdin=theirs.fileno(),
        stdout=shared,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
    )


def _started() -> DecoderProcess:
    try:
        process = DecoderProcess()
    except OSError as error:
        raise RunError(f"a decoder cannot be started: {error}") from None
    try:
        kind, _, size = process.receive()
        if kind != child.READY:
            raise RunError(f"a decoder cannot be started: {process.receive_value(size)}")
    except DecoderLostError as error:
        raise RunError(f"a decoder cannot be started: {error}") from None
    except BaseException:
        process.end()
        raise
    return process


decoders = Decoders()
atexit.register(decoders.close)
os.register_at_fork(after_in_child=decoders.forget)
