"""The program that decodes: a process of its own, so that a decoder that crashes takes nobody along.

`l3core.decoder` starts it without the package, with a socket as standard input. It imports nothing of
ours and no NumPy, opens no file, and asks for a recording's bytes through the socket.
"""

import ctypes
import json
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
# From the parent: open (bytes of the file, the first of which follow), go to (frame), read (frames),
# close; and the bytes wanted.
OPEN, SEEK, READ, CLOSE, BYTES = b"o", b"s", b"r", b"c", b"b"
# To it: bytes wanted (place, size), facts of the file, frames, done, what is wrong with it, ready.
WANT, INFO, FRAMES, DONE, WRONG, READY = b"w", b"i", b"f", b"d", b"e", b"y"
# Frames decoded in one call: where decoding breaks, at most so many good ones before it are lost.
DECODE_FRAMES = 16_384
# Bytes wanted at once.
WANT_BYTES = 2**16
# Address space. An idle decoder has 30 MB; 1024 channels, FLAC's largest blocks and an MP3 whose tags
# hold pictures need less than 300.
MEMORY_BYTES = 2**30
# Exit codes.
NO_MEMORY, NOT_STARTED = 3, 4
PR_SET_NO_NEW_PRIVS = 38


class Wanted:
    """A recording's bytes as libsndfile's callbacks read them; they lie with the parent.

    libsndfile also seeks before the beginning of broken files, and takes fewer bytes than it asked for
    as the end of the file.
    """

    def __init__(self, parent: socket.socket, size: int, first: memoryview) -> None:
        self._parent = parent
        self._size = size
        self._place = 0
        self._start, self._content = 0, first

    def tell(self) -> int:
        """The place."""
        return self._place

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place, or to the beginning where it would lie before that."""
        self._place = max(0, (0, self._place, self._size)[whence] + offset)
        return self._place

    def readinto(self, buffer: memoryview) -> int:
        """Fill a buffer, as far as the file goes."""
        try:
            filled = 0
            while filled < len(buffer) and self._place < self._size:
                begin = self._place - self._start
                if not 0 <= begin < len(self._content):
                    self._load()
                    begin = self._place - self._start
                part = self._content[begin : begin + len(buffer) - filled]
                if not part:  # the file is shorter than it was
                    break
                buffer[filled : filled + len(part)] = part
                filled += len(part)
                self._place += len(part)
            return filled
        except MemoryError:  # the caller is C and would take it for the end of the file
            os._exit(NO_MEMORY)

    def _load(self) -> None:
        self._start = self._place
        send(self._parent, WANT, self._place, WANT_BYTES)
        _, _, size = receive(self._parent)
        self._content = receive_bytes(self._parent, size)


def receive(parent: socket.socket) -> tuple[bytes, int, int]:
    """The head of a message."""
    kind, number, size = HEAD.unpack(receive_bytes(parent, HEAD.size))
    return kind, number, size


def receive_bytes(parent: socket.socket, size: int) -> memoryview:
    """So many bytes; the process ends with its parent."""
    content = rest = memoryview(bytearray(size))
    while rest:
        count = parent.recv_into(rest, 0, socket.MSG_WAITALL)
        if not count:
            os._exit(0)
        rest = rest[count:]
    return content


def send(parent: socket.socket, kind: bytes, number: int = 0, size: int = 0) -> None:
    """A message, or the head of one."""
    parent.sendall(HEAD.pack(kind, number, size))


def say(parent: socket.socket, kind: bytes, what: object) -> None:
    """A message with a JSON value."""
    content = json.dumps(what).encode()
    parent.sendall(HEAD.pack(kind, 0, len(content)) + content)


def serve(parent: socket.socket, soundfile: types.ModuleType) -> None:
    """Do what the parent asks for, one recording at a time, for as long as it lives."""
    file: Any = None
    while True:
        kind, number, size = receive(parent)
        try:
            if kind == OPEN:
                file = soundfile.SoundFile(Wanted(parent, number, receive_bytes(parent, size)))
                say(parent, INFO, facts(file))
            elif kind == SEEK:
                file.seek(number)
                send(parent, DONE)
            elif kind == READ:
                read(parent, file, number)
            elif kind == CLOSE:
                opened, file = file, None
                if opened is not None:
                    opened.close()
                send(parent, DONE)
        except soundfile.LibsndfileError as error:
            say(parent, WRONG, error.error_string)
        except TypeError:  # a raw format is told by its file name, and asks for parameters
            say(parent, WRONG, "raw samples without a header")


def facts(file: Any) -> dict[str, object]:
    """What the parent wants to know of an open file."""
    names = ("samplerate", "channels", "frames", "format", "subtype", "extra_info")
    return {name: getattr(file, name) for name in names}


def read(parent: socket.socket, file: Any, count: int) -> None:
    """Send so many frames in several messages, of which an empty one says that the file ends."""
    width = 4 * file.channels
    buffer = memoryview(bytearray(min(count, DECODE_FRAMES) * width))
    while count > 0:
        wanted = min(count, DECODE_FRAMES)
        if file.seekable():
            wanted = min(wanted, file.frames - file.tell())
        found = file.buffer_read_into(buffer[: wanted * width], dtype="float32") if wanted > 0 else 0
        send_all(parent, HEAD.pack(FRAMES, found, found * width), buffer[: found * width])
        if not found:
            return
        count -= found


def send_all(parent: socket.socket, head: bytes, content: memoryview) -> None:
    """A head and what follows it, in one call if there is place."""
    sent = parent.sendmsg([head, content])
    if sent < len(head):
        parent.sendall(head[sent:])
    parent.sendall(content[max(0, sent - len(head)) :])


def restrict() -> None:
    """Give up what decoding does not need."""
    limits = {
        resource.RLIMIT_AS: MEMORY_BYTES,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: 3,  # those that are open
        resource.RLIMIT_NPROC: 0,
    }
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
    sys.path += paths
    # soundfile needs NumPy for the annotations of functions that are not called here
    stub = types.ModuleType("numpy")
    stub.__getattr__ = lambda name: list  # type: ignore[method-assign]
    sys.modules["numpy"] = stub
    try:
        import soundfile

        threading.Thread(target=end_with_parent, daemon=True).start()
        restrict()
    except Exception as error:  # whatever it is, the parent has to tell it
        say(parent, WRONG, f"{type(error).__name__}: {error}")
        os._exit(NOT_STARTED)
    send(parent, READY)
    try:
        serve(parent, soundfile)
    except MemoryError:
        os._exit(NO_MEMORY)
