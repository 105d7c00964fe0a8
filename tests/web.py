"""A web server on this machine, which answers as it is told to."""

import email.utils
import hashlib
import http.server
import ssl
import threading
from collections import defaultdict
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def etag(content):
    """What a server says of some content."""
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def handle_any(self):
        self.server.log.append(f"{self.command} {self.path}")
        behaviours = self.server.behaviours[self.path.partition("?")[0]]
        if behaviours:
            behaviour, times = behaviours[0]
            behaviours[0] = (behaviour, times - 1)
            if times == 1:
                del behaviours[0]
            behaviour(self)
        else:
            self.give(self.server.files.get(self.path))

    def do_POST(self):
        self.server.posts.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.handle_any()

    def give(self, content, **headers):
        """Answer with a file; `ETag=None` and the like leave a header out, others replace it."""
        if content is None:
            self.answer(404)
            return
        told = {
            "ETag": etag(content),
            "Last-Modified": email.utils.formatdate(0, usegmt=True),
            "Content-Length": str(len(content)),
        }
        self.answer(200, content, **told | {name.replace("_", "-"): to for name, to in headers.items()})

    def answer(self, status, content=b"", **headers):
        """Any answer; without a Content-Length the connection's end is that of the body."""
        self.send_response(status)
        if status != 200:
            headers.setdefault("Content-Length", str(len(content)))
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, value.encode("utf-8", "surrogateescape").decode("latin-1"))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
        length = headers.get("Content-Length")
        self.close_connection = length is None or length != str(len(content))

    do_GET = do_HEAD = handle_any  # noqa: N815

    def handle(self):
        with suppress(OSError):  # a client may go away
            super().handle()

    def finish(self):
        with suppress(OSError):
            super().finish()


class WebServer(http.server.ThreadingHTTPServer):
    """Attributes: `url`; `files`, content by path; `log` of requests; `posts`, their bodies."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.files = {}
        self.log = []
        self.posts = []
        self.behaviours = defaultdict(list)

    def on(self, path, behaviour, times=-1):
        """Let a function of the handler answer the next requests for a path, or all."""
        self.behaviours[path].append((behaviour, times))

    def redirect(self, path, target):
        """Let a path lead elsewhere."""
        self.on(path, lambda handler: handler.answer(302, Location=target))

    def fail(self, path, status, times=-1):
        """Let the next requests for a path fail, or all."""
        self.on(path, lambda handler: handler.answer(status), times)

    def clear(self):
        """Forget requests, and how they were to be answered."""
        self.log.clear()
        self.behaviours.clear()


def make_certificate(folder):
    """A key and a certificate for this machine, which signs itself, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tests")])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    file = folder / "certificate.pem"
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    file.write_bytes(private + certificate.public_bytes(pem))
    return file


@contextmanager
def web_server(certificate=None):
    """Start a server; with a certificate's file it speaks TLS, as https://localhost."""
    server = WebServer()
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.url = f"https://localhost:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
