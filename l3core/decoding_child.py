"""The program that decodes: a process of its own, so that a decoder that crashes takes nobody along.

`l3core.decoder` starts it without the package, with a socket as standard input and memory that both
share as standard output. It imports nothing of ours and no NumPy, opens no file, and asks for a
recording's bytes through the socket.
"""

import ctypes
import io
import json
import mmap
import os
import resource
import select
import signal
import socket
import struct
import sys
import threading
import types
from typing import Any

# A message's kind, a number and the size of what follows.
HEAD = struct.Struct("<cQI")
# From the parent: open (bytes of the file, and how many of them are there), go to (frame), read
# (frames), close; and how many of the bytes wanted are there.
OPEN, SEEK, READ, CLOSE, BYTES = b"o", b"s", b"r", b"c", b"b"
# To it: bytes wanted (place, size), facts of the file, frames, done, what is wrong with it, ready.
WANT, INFO, FRAMES, DONE, WRONG, READY = b"w", b"i", b"f", b"d", b"e", b"y"
# Frames decoded in one call: where decoding breaks, at most so many good ones before it are lost.
DECODE_FRAMES = 16_384
# Memory that both share: bytes of the file, and behind them the frames of one call of the decoder, of
# more calls while they take no more than a few bytes. What is never used of it takes no memory.
WANT_BYTES = 2**16
FRAMES_BYTES = 4 * DECODE_FRAMES * 1024
FEW_BYTES = 2**18
SHARED_BYTES = WANT_BYTES + FRAMES_BYTES
# Address space. An idle decoder has 100 MB, mostly for the frames; 1024 channels, FLAC's largest blocks
# and an MP3 whose tags hold pictures need less than 400.
MEMORY_BYTES = 2**30
PR_SET_NO_NEW_PRIVS = 38


class Wanted(io.RawIOBase):
    """A recording's bytes, which lie with the parent; a part of them is in the shared memory."""

    def __init__(self, parent: socket.socket, shared: memoryview, size: int, first: int) -> None:
        self._parent = parent
        self._shared = shared
        self.size = size
        self._place = 0
        self._start, self._content = 0, shared[:first]

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place; `Callbacks` knows no other way."""
        self._place = offset if whence == 0 else self._place + offset
        return self._place

    def readinto(self, buffer: Any) -> int:
        """Some bytes; none at the end."""
        try:
            if self._place >= self.size:
                return 0
            if not 0 <= self._place - self._start < len(self._content):
                self._load()
            begin = self._place - self._start
            part = self._content[begin : begin + len(buffer)]
            memoryview(buffer)[: len(part)] = part
            self._place += len(part)
            return len(part)
        except BaseException:  # the caller is C and would take it for the end of the file
            os.abort()

    def _load(self) -> None:
        self._start = self._place
        send(self._parent, WANT, self._place)
        _, _, size = receive(self._parent)
        self._content = self._shared[:size]


class Callbacks(io.BufferedReader):
    """The same as libsndfile reads them: in small parts, and before the beginning of broken files."""

    raw: Wanted

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place, or to the beginning where it would lie before that."""
        if whence:
            offset += self.tell() if whence == 1 else self.raw.size
        return super().seek(max(0, offset))


def receive(parent: socket.socket) -> tuple[bytes, int, int]:
    """The head of a message."""
    head = bytearray(HEAD.size)
    if parent.recv_into(head, 0, socket.MSG_WAITALL) < len(head):
        os._exit(0)  # the process ends with its parent
    kind, number, size = HEAD.unpack(head)
    return kind, number, size


def send(parent: socket.socket, kind: bytes, number: int = 0, size: int = 0) -> None:
    """A message that is a head only."""
    parent.sendall(HEAD.pack(kind, number, size))


def say(parent: socket.socket, kind: bytes, what: object) -> None:
    """A message with a JSON value."""
    content = json.dumps(what).encode()
    parent.sendall(HEAD.pack(kind, 0, len(content)) + content)


class Decoder:
    """What the parent asks for, done with one recording at a time.

    Args:
        parent: the socket.
        shared: memory.
        soundfile: the module.
    """

    def __init__(self, parent: socket.socket, shared: memoryview, soundfile: types.ModuleType) -> None:
        self._parent = parent
        self._shared = shared
        self._soundfile = soundfile
        self._file: Any = None
        self._broke: str | None = None  # after frames that the parent has got already

    def serve(self) -> None:
        """Work for as long as the parent lives."""
        while True:
            kind, number, size = receive(self._parent)
            try:
                if kind == OPEN:
                    self._open(number, size)
                elif kind == SEEK:
                    self._broke = None
                    self._file.seek(number)
                    send(self._parent, DONE)
                elif kind == READ:
                    self._read(number)
                elif kind == CLOSE:
                    file, self._file = self._file, None
                    if file is not None:
                        file.close()
                    send(self._parent, DONE)
            except self._soundfile.LibsndfileError as error:
                say(self._parent, WRONG, error.error_string)
            except TypeError:  # a raw format is told by its file name, and asks for parameters
                say(self._parent, WRONG, "raw samples without a header")

    def _open(self, size: int, first: int) -> None:
        self._broke = None
        wanted = Wanted(self._parent, self._shared, size, first)
        file = self._soundfile.SoundFile(Callbacks(wanted, WANT_BYTES))
        names = ("samplerate", "channels", "frames", "format", "subtype", "extra_info")
        say(self._parent, INFO, {name: getattr(file, name) for name in names})
        self._file = file

    def _read(self, count: int) -> None:
        """Decode as many frames as are asked for, or the first of them; none if the file ends."""
        if self._broke is not None:
            say(self._parent, WRONG, self._broke)
            return
        width = 4 * self._file.channels
        room = self._shared[WANT_BYTES:]
        calls = max(1, FEW_BYTES // (DECODE_FRAMES * width))
        done = 0
        while calls and done < count:
            wanted = min(count - done, DECODE_FRAMES)
            try:
                found = self._decode(room[done * width : (done + wanted) * width], wanted, width)
            except self._soundfile.LibsndfileError as error:
                if not done:
                    raise
                self._broke = error.error_string
                break
            done += found
            calls = calls - 1 if found == DECODE_FRAMES else 0
        send(self._parent, FRAMES, done)

    def _decode(self, room: memoryview, wanted: int, width: int) -> int:
        """One call of the decoder; the frames that it gave."""
        if self._file.seekable():
            wanted = min(wanted, self._file.frames - self._file.tell())
        return self._file.buffer_read_into(room[: wanted * width], dtype="float32") if wanted > 0 else 0


def restrict() -> None:
    """Give up what decoding does not need."""
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: 4,  # those that are open
        resource.RLIMIT_NPROC: 0,
    }
    if sys.platform == "linux":  # macOS refuses what is less than a process has mapped
        limits[resource.RLIMIT_AS] = MEMORY_BYTES
    for what, most in limits.items():
        _, hard = resource.getrlimit(what)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def end_with_parent() -> None:
    """End the process when the other end of the socket is gone, also while libsndfile is at work."""
    poll = select.poll()
    poll.register(0, 0)  # hang-ups are always told
    poll.poll()
    os._exit(0)


def main(paths: list[str]) -> None:
    """Serve the parent at standard input; `paths` are where soundfile is found."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the parent says when it is over
    parent = socket.socket(fileno=0)
    shared = memoryview(mmap.mmap(1, SHARED_BYTES))
    os.dup2(2, 1)
    sys.path += paths
    for name in ("numpy", "typing_extensions"):
        # soundfile needs them for annotations, and NumPy for functions that are not called here
        stub = types.ModuleType(name)
        stub.__getattr__ = lambda name: list  # type: ignore[method-assign]
        sys.modules[name] = stub
    try:
        import soundfile

        threading.Thread(target=end_with_parent, daemon=True).start()
        restrict()
    except Exception as error:  # whatever it is, the parent has to tell it
        say(parent, WRONG, f"{type(error).__name__}: {error}")
        return
    send(parent, READY)
    Decoder(parent, shared, soundfile).serve()
