"""Fetching weights from a real server on this machine that is sometimes a bad one."""

import hashlib
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from l3core.errors import WeightsError
from l3core.models import PublishedFile
from l3core.published import address, cache_dir, digest_of, fetch, git_blob_sha1, record, state

CONTENT = bytes(range(256)) * 2_000  # 512 kB: several chunks
FILE = PublishedFile("w.h5.gz", "http://weights.invalid/", git_blob_sha1(CONTENT), "MIT", "nothing")
PATIENCE_S = 6.0  # a server that keeps a client waiting gives up itself, so that no test hangs


class Mirror(ThreadingHTTPServer):
    """Answers request n with reply n of `replies`, the last one for all further ones."""

    daemon_threads = True

    def __init__(self, *replies):
        super().__init__(("127.0.0.1", 0), Handler)
        self.replies = replies
        self.paths = []
        self.stopped = threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/models"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.paths.append(self.path)
        reply = self.server.replies[min(len(self.server.paths), len(self.server.replies)) - 1]
        with suppress(BrokenPipeError, ConnectionResetError):  # the client has had enough
            reply(self)

    def head(self, code, **headers):
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def log_message(self, *_):
        pass


def whole(handler):
    handler.head(200, Content_Length=len(CONTENT))
    handler.wfile.write(CONTENT)


def cut(handler):
    handler.head(200, Content_Length=len(CONTENT))
    handler.wfile.write(CONTENT[:300_000])


def altered(handler):
    handler.head(200, Content_Length=len(CONTENT))
    handler.wfile.write(CONTENT[:1_000] + b"\x00" + CONTENT[1_001:])


def redirect(handler):
    handler.head(302, Location="/elsewhere/w.h5.gz", Content_Length=0)


def refuse(code):
    return lambda handler: handler.head(code, Content_Length=0)


def stall(handler):
    handler.head(200, Content_Length=len(CONTENT))
    handler.server.stopped.wait(PATIENCE_S)


def drip(handler):
    handler.head(200, Content_Length=len(CONTENT))
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until and not handler.server.stopped.wait(0.05):
        handler.wfile.write(b"\x00")
        handler.wfile.flush()


@pytest.fixture
def mirror(monkeypatch, tmp_path):
    """Start a mirror with some replies; the cache is an empty folder."""
    started = []

    def start(*replies):
        server = Mirror(*replies)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
        started.append(server)
        monkeypatch.setenv("L3FLOW_WEIGHTS_URL", server.url)
        return server

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    yield start
    for server in started:
        server.stopped.set()
        server.shutdown()
        server.server_close()


def test_git_blob_sha1_is_gits():
    # printf 'hello\n' | git hash-object --stdin; and git's well-known empty blob
    assert git_blob_sha1(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"
    assert git_blob_sha1(b"") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"


def test_the_cache_is_where_xdg_says(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "l3flow" / "weights"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "l3flow" / "weights"


def test_a_mirror_takes_the_place_of_the_address(monkeypatch):
    monkeypatch.delenv("L3FLOW_WEIGHTS_URL", raising=False)
    assert address(FILE) == "http://weights.invalid/w.h5.gz"
    monkeypatch.setenv("L3FLOW_WEIGHTS_URL", "https://mirror/x/")
    assert address(FILE) == "https://mirror/x/w.h5.gz"


def test_a_file_is_fetched_once(mirror):
    server = mirror(whole)
    steps = []
    assert state(FILE) == "not fetched"
    path = fetch(FILE, progress=lambda done, total: steps.append((done, total)))
    assert path == cache_dir() / "w.h5.gz"
    assert path.read_bytes() == CONTENT
    assert state(FILE) == "cached"
    assert steps[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in steps] == sorted({done for done, _ in steps})
    assert fetch(FILE) == path
    assert server.paths == ["/models/w.h5.gz"]
    assert [entry.name for entry in cache_dir().iterdir()] == ["w.h5.gz"]  # no leftovers


def test_a_redirect_is_followed(mirror):
    server = mirror(redirect, whole)
    assert fetch(FILE).read_bytes() == CONTENT
    assert server.paths == ["/models/w.h5.gz", "/elsewhere/w.h5.gz"]


@pytest.mark.parametrize(
    "replies",
    [(refuse(503), refuse(503), whole), (refuse(429), whole), (cut, whole), (altered, whole)],
    ids=["503 twice", "429", "cut", "altered"],
)
def test_what_may_pass_is_tried_again(mirror, replies):
    server = mirror(*replies)
    assert fetch(FILE).read_bytes() == CONTENT
    assert len(server.paths) == len(replies)


@pytest.mark.parametrize(
    ("reply", "requests", "problem"),
    [
        (cut, 3, "IncompleteRead"),
        (altered, 3, f"got 512000 bytes with git blob sha1 .*, expected {FILE.git_blob_sha1}"),
        (refuse(503), 3, "503"),
        (refuse(404), 1, "404"),  # it will not be there in a second either
        (refuse(403), 1, "403"),
    ],
    ids=["cut", "altered", "503", "404", "403"],
)
def test_what_does_not_pass_is_told(mirror, reply, requests, problem):
    server = mirror(reply)
    with pytest.raises(WeightsError, match=problem) as caught:
        fetch(FILE)
    assert len(server.paths) == requests
    assert f"could not fetch {server.url}/w.h5.gz" in str(caught.value)
    assert f"put w.h5.gz at {cache_dir() / 'w.h5.gz'}" in str(caught.value)
    assert "--weights FILE.h5" in str(caught.value)
    assert not cache_dir().exists() or not list(cache_dir().iterdir())


def test_nobody_answers(mirror, monkeypatch):
    server = mirror(whole)
    monkeypatch.setenv("L3FLOW_WEIGHTS_URL", "http://127.0.0.1:1/")  # tcpmux: nobody listens there
    with pytest.raises(WeightsError, match=r"could not fetch http://127.0.0.1:1/w.h5.gz .*refused"):
        fetch(FILE)
    assert server.paths == []


@pytest.mark.parametrize("reply", [stall, drip])
def test_a_server_that_never_ends_is_left_at_the_deadline(mirror, reply):
    mirror(reply)
    begun = time.monotonic()
    with pytest.raises(WeightsError, match="could not fetch"):
        fetch(FILE, deadline_s=1.0)
    assert time.monotonic() - begun < 3.0


def test_no_request_is_made_after_the_deadline(mirror):
    server = mirror(refuse(503))
    with pytest.raises(WeightsError, match="503"):
        fetch(FILE, deadline_s=0.5)
    assert len(server.paths) == 1  # the second would be a second later


@pytest.mark.parametrize(
    "damage", [b"", CONTENT[:-1], b"\xff" + CONTENT[1:]], ids=["empty", "short", "flip"]
)
def test_a_damaged_cache_is_fetched_again(mirror, damage):
    server = mirror(whole)
    cache_dir().mkdir(parents=True)
    (cache_dir() / "w.h5.gz").write_bytes(damage)
    assert state(FILE) == "damaged"
    assert fetch(FILE).read_bytes() == CONTENT
    assert len(server.paths) == 1


def test_a_file_put_there_by_hand_needs_no_network(mirror):
    server = mirror(refuse(500))
    cache_dir().mkdir(parents=True)
    (cache_dir() / "w.h5.gz").write_bytes(CONTENT)
    assert fetch(FILE) == cache_dir() / "w.h5.gz"
    assert server.paths == []


def test_two_at_a_time_leave_one_whole_file(mirror):
    mirror(whole)
    threads = [threading.Thread(target=fetch, args=(FILE,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert state(FILE) == "cached"
    assert [entry.name for entry in cache_dir().iterdir()] == ["w.h5.gz"]


KNOWN_BY_MD5 = FILE._replace(git_blob_sha1=None, md5=hashlib.md5(CONTENT).hexdigest())
UNKNOWN = FILE._replace(git_blob_sha1=None)
BY_HAND = UNKNOWN._replace(base_url=None, page="https://page.invalid/")
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def put(content):
    cache_dir().mkdir(parents=True, exist_ok=True)
    (cache_dir() / FILE.name).write_bytes(content)


def test_a_file_may_be_known_by_its_md5(mirror):
    server = mirror(altered, whole)
    assert fetch(KNOWN_BY_MD5).read_bytes() == CONTENT
    assert len(server.paths) == 2
    assert digest_of(KNOWN_BY_MD5).pinned
    assert [entry.name for entry in cache_dir().iterdir()] == ["w.h5.gz"]


def test_the_digest_of_a_first_fetch_is_kept_and_holds(mirror):
    server = mirror(whole)
    assert digest_of(UNKNOWN) is None
    path = fetch(UNKNOWN)
    assert record(UNKNOWN).read_text() == f"{SHA256}  w.h5.gz\n"
    assert (state(UNKNOWN), digest_of(UNKNOWN).pinned) == ("cached", False)
    path.write_bytes(CONTENT[1:])
    assert state(UNKNOWN) == "damaged"
    assert fetch(UNKNOWN).read_bytes() == CONTENT
    assert len(server.paths) == 2


def test_a_file_that_is_another_than_at_first_is_refused(mirror):
    mirror(whole, altered)
    path = fetch(UNKNOWN)
    path.unlink()
    with pytest.raises(WeightsError, match=f"expected {SHA256} as first used here; remove ") as caught:
        fetch(UNKNOWN)
    assert str(record(UNKNOWN)) in str(caught.value)
    assert not path.exists()
    record(UNKNOWN).unlink()
    assert fetch(UNKNOWN).read_bytes() != CONTENT  # somebody has decided so


@pytest.mark.parametrize("text", ["", "0" * 64, "not a digest"])
def test_a_record_that_says_something_else_is_believed(mirror, text):
    mirror(whole)
    put(CONTENT)
    record(UNKNOWN).write_text(text)
    assert state(UNKNOWN) == "damaged"
    with pytest.raises(WeightsError, match="as first used here"):
        fetch(UNKNOWN)


def test_a_file_that_only_people_can_fetch(mirror, monkeypatch):
    monkeypatch.delenv("L3FLOW_WEIGHTS_URL", raising=False)
    with pytest.raises(WeightsError, match=r"by hand only \(https://page.invalid/\): put ") as caught:
        fetch(BY_HAND._replace(name="w.npy"))
    assert str(caught.value).endswith(", or name a weights file with --weights FILE.npy")
    put(CONTENT)
    assert state(BY_HAND) == "unheld"
    assert fetch(BY_HAND) == cache_dir() / FILE.name
    assert state(BY_HAND) == "cached"
    put(CONTENT[:-1])
    with pytest.raises(WeightsError, match="another than when it was first used; remove"):
        fetch(BY_HAND)


def test_a_mirror_may_have_what_only_people_can_fetch(mirror):
    mirror(whole)
    assert fetch(BY_HAND).read_bytes() == CONTENT
