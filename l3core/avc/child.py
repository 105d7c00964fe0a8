"""The program that decodes videos: a process of its own, with limits, killed with what hangs in it.

`l3core.avc.process` starts it with a socket as standard input. It gets a video as a descriptor, can open
no other file and no connection, and answers in JSON and plain bytes. It ends when its parent does.
"""

import ctypes
import errno
import gc
import json
import os
import pkgutil
import resource
import select
import signal
import socket
import struct
import sys
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any

from l3core.avc.errors import VideoError

if TYPE_CHECKING:
    from l3core.avc.decoding import Looked

# A message's kind and a number: the size of what follows or, to open, the MiB that may be used.
HEAD = struct.Struct("<cI")
# From the parent: look at the video whose descriptor comes with it; take moments of it.
LOOK, TAKE = b"l", b"t"
# To it: ready; facts, arrays of seconds; a moment, its sound, its picture; all done; what is wrong.
READY, FACTS, SPANS, FRAMES = b"y", b"f", b"s", b"p"
MOMENT, SOUND, PICTURE, DONE, WRONG = b"m", b"a", b"i", b"d", b"e"
PR_SET_NO_NEW_PRIVS = 38


def send(parent: socket.socket, kind: bytes, content: bytes) -> None:
    """A message with bytes."""
    parent.sendall(HEAD.pack(kind, len(content)))
    parent.sendall(content)


def say(parent: socket.socket, kind: bytes, what: object) -> None:
    """A message with a JSON value."""
    send(parent, kind, json.dumps(what).encode())


def receive(parent: socket.socket) -> Any:
    """The JSON value that the parent says."""
    _, size = HEAD.unpack(_filled(parent, HEAD.size))
    return json.loads(_filled(parent, size))


def _filled(parent: socket.socket, size: int) -> bytes:
    content = bytearray(size)
    if size and parent.recv_into(content, 0, socket.MSG_WAITALL) < size:
        os._exit(0)  # the process ends with its parent
    return bytes(content)


def serve(parent: socket.socket) -> None:
    """Decode one video after the other for as long as the parent lives."""
    while True:
        head, files, _, _ = socket.recv_fds(parent, HEAD.size, 1)
        if len(head) < HEAD.size or not files:
            os._exit(0)
        if sys.platform == "linux":  # macOS refuses what is less than a process has mapped
            _limit(resource.RLIMIT_AS, HEAD.unpack(head)[1] * 2**20)
        with os.fdopen(files[0], "rb") as file:
            _decode(parent, file)
        gc.collect()  # frames of that one may be in cycles, and count for the next one


def _decode(parent: socket.socket, file: Any) -> None:
    """One video; what is wrong with it is told."""
    try:
        _take(parent, file, _look(parent, file))
    except VideoError as error:
        say(parent, WRONG, [error.status, error.message])
    except MemoryError:
        say(parent, WRONG, ["out-of-memory", "decoding needs more memory than it may have"])
    except Exception as error:  # whatever a library makes of a broken file
        number = getattr(error, "errno", None)
        status = "out-of-memory" if number == errno.ENOMEM else "unreadable"
        say(parent, WRONG, [status, f"cannot be decoded: {type(error).__name__}: {error}"])


def _look(parent: socket.socket, file: Any) -> "Looked":
    from l3core.avc.decoding import look

    looked = look(file)
    say(parent, FACTS, [looked.facts, looked.problem])
    send(parent, SPANS, looked.spans_s.tobytes())
    send(parent, FRAMES, looked.frames_s.tobytes())
    return looked


def _take(parent: socket.socket, file: Any, looked: "Looked") -> None:
    from l3core.avc.taking import take
    from l3core.avc.wanted import Wanted

    wanted = [Wanted(*one) for one in receive(parent)]
    problems: list[str] = []
    for taken in take(file, wanted, looked.keyframes, problems) if wanted else ():
        height, width, _ = taken.image.shape
        say(parent, MOMENT, [taken.number, taken.image_s, taken.rate, height, width])
        send(parent, SOUND, taken.samples.tobytes())
        send(parent, PICTURE, taken.image.tobytes())
    say(parent, DONE, problems[0] if problems else None)


def _limit(what: int, most: int) -> None:
    """Lower a limit, or raise it as far as it may be."""
    _, hard = resource.getrlimit(what)
    resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def restrict() -> None:
    """Give up what decoding does not need: above all, to open anything by a name."""
    free = os.dup(0)
    os.close(free)
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: free + 1,  # those that are open, and the video
    }
    for what, most in limits.items():
        resource.setrlimit(what, (most, most))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def load() -> None:
    """Import all that will be needed, much of which PyAV loads late: no file can be opened later on."""
    import av

    from l3core.avc import decoding, taking  # noqa: F401  # that they are loaded is the point

    for module in pkgutil.walk_packages(av.__path__, "av."):
        if not module.name.endswith(("__", ".datasets")):  # programs of their own
            import_module(module.name)
    av.logging.set_level(av.logging.PANIC)


def end_with_parent() -> None:
    """End the process when the other end of the socket is gone, also while FFmpeg is at work."""
    poll = select.poll()
    poll.register(0, 0)  # hang-ups are always told
    poll.poll()
    os._exit(0)


def main(paths: list[str]) -> None:
    """Serve the parent at standard input; `paths` are where PyAV and NumPy are found."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the parent says when it is over
    parent = socket.socket(fileno=0)
    sys.path += paths
    try:
        load()
        threading.Thread(target=end_with_parent, daemon=True).start()
        restrict()
    except Exception as error:  # whatever it is, the parent has to tell it
        say(parent, WRONG, f"{type(error).__name__}: {error}")
        return
    say(parent, READY, None)
    serve(parent)
