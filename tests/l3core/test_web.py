"""Objects on the web, against a server that is slow, wrong, away, or sends us elsewhere."""

import errno
import gzip
import io
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import soundfile
from aiohttp.resolver import ThreadedResolver

from l3core import storage, urls, web
from l3core.clip_ids import clip_id_of
from l3core.downloads import limit_downloads
from l3core.errors import AudioError, UsageError
from l3core.listing import common_root, list_inputs, parse_input
from l3core.pinned import open_pinned
from l3core.storage import StoredObject
from l3core.stores import filesystem
from tests.corpus import listed, noise, read
from tests.emulators import free_port
from tests.web import etag, make_certificate, web_server


@pytest.fixture
def server(web_running, monkeypatch):
    """A server with one file, that nobody waits for."""
    web_running.clear()
    web_running.files = {"/a.wav": CONTENT}
    monkeypatch.setattr(web, "BACKOFF_S", 0.01)
    yield web_running
    limit_downloads(None)


@pytest.fixture
def all_public(monkeypatch):
    """Redirects lead to other machines: here there is only this one."""
    monkeypatch.setattr(urls, "is_local", lambda host: False)


def wav(seconds, seed=0):
    content = io.BytesIO()
    soundfile.write(content, noise(seconds, seed=seed), 8_000, format="WAV")
    return content.getvalue()


CONTENT, OTHER = wav(1.0), wav(1.0, seed=1)


def trouble(found):
    """Status and error of what cannot be read."""
    with pytest.raises(AudioError) as caught:
        read(found)
    assert "\n" not in str(caught.value)
    return caught.value.status, str(caught.value)


def test_one_request_to_list_and_one_to_read(server):
    found = listed(f"{server.url}/a.wav")
    assert (found.uri, found.size_bytes) == (f"{server.url}/a.wav", len(CONTENT))
    assert server.log == ["HEAD /a.wav"]
    assert read(found) == CONTENT
    assert server.log == ["HEAD /a.wav", "GET /a.wav"]


def test_what_was_listed_is_not_asked_for_again(server):
    server.files |= {f"/{number}.wav": CONTENT for number in range(40)}
    inputs = [parse_input(f"{server.url}/{number}.wav") for number in range(40)]
    for _ in range(2):
        assert len(list(list_inputs(inputs))) == 40
    assert sorted(server.log) == sorted(f"HEAD /{number}.wav" for number in range(40))


def test_a_name_is_asked_for_as_it_is_written(server):
    names = [
        "a%20b.wav",
        "%41.wav",
        "a+b&c=d.wav",
        "get?x=1/2&y=%2F",
        "what?.wav",
        "x//y.wav",
        "~'()!.wav",
    ]
    server.files = {f"/{name}": name.encode() for name in names}
    server.files["/K%C3%B6ln%201%25.wav"] = "Köln 1%.wav".encode()
    for name in [*names, "Köln 1%.wav"]:
        assert read(listed(f"{server.url}/{name}")) == name.encode()


@pytest.mark.parametrize(
    ("headers", "version"),
    [
        ({"ETag": '"1"'}, '"1"'),
        ({"ETag": None}, "Thu, 01 Jan 1970 00:00:00 GMT"),
        ({"ETag": None, "Last_Modified": None}, ""),
    ],
)
def test_the_version_is_the_etag_or_the_time_or_none(server, headers, version):
    server.on("/a.wav", lambda handler: handler.give(CONTENT, **headers))
    found = listed(f"{server.url}/a.wav")
    assert found.version == version
    assert found.checksum is None  # an ETag of the web is no MD5, even where it looks like one
    assert read(found) == CONTENT


@pytest.mark.parametrize("status", [403, 405, 501])
def test_a_server_that_refuses_to_describe(server, status):
    def only_get(handler):
        handler.give(CONTENT) if handler.command == "GET" else handler.answer(status)

    server.on("/a.wav", only_get)
    found = listed(f"{server.url}/a.wav")
    assert found.size_bytes == len(CONTENT)
    assert read(found) == CONTENT


@pytest.mark.parametrize("length", [None, "0"])
def test_a_size_that_is_not_told_is_not_that_of_an_empty_file(server, length):
    def untold(handler):
        told = length if handler.command == "HEAD" else None
        handler.give(CONTENT, Content_Length=told)

    server.on("/a.wav", untold)
    found = listed(f"{server.url}/a.wav")
    assert found.size_bytes == 0
    assert read(found) == CONTENT


@pytest.mark.parametrize(
    "headers",
    [{}, {"ETag": None}, {"ETag": None, "Last_Modified": "Fri, 02 Jan 1970 00:00:00 GMT"}],
    ids=["etag", "no etag any more", "time"],
)
def test_another_object_than_was_listed_is_not_read(server, headers):
    if headers.get("Last_Modified"):
        server.on("/a.wav", lambda handler: handler.give(CONTENT, ETag=None), times=1)
    found = listed(f"{server.url}/a.wav")
    server.on("/a.wav", lambda handler: handler.give(OTHER, **headers))
    assert trouble(found) == ("changed", "the file was replaced after it was listed")


def test_an_object_of_another_size_than_was_listed_is_not_read(server):
    def give(content, length):
        return lambda handler: handler.give(
            content, ETag=None, Last_Modified=None, Content_Length=length
        )

    server.on("/a.wav", give(CONTENT, str(len(CONTENT))), times=1)
    server.on("/a.wav", give(CONTENT[:-10], str(len(CONTENT) - 10)), times=1)
    server.on("/a.wav", give(CONTENT[:-10], None), times=1)  # which shows only at the end
    found = listed(f"{server.url}/a.wav")
    assert trouble(found)[0] == "changed"
    assert trouble(found)[0] == "changed"


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (404, "vanished"),
        (410, "vanished"),
        (401, "forbidden"),
        (403, "forbidden"),
        (418, "storage-error"),
    ],
)
def test_what_is_not_given_after_it_was_listed(server, code, status):
    found = listed(f"{server.url}/a.wav")
    server.fail("/a.wav", code)
    said = trouble(found)
    assert said[0] == status
    assert status == "vanished" or str(code) in said[1]
    assert len(server.log) == 2  # none of these is tried again


def test_what_is_told_only_when_it_is_listed_cannot_be_another(server):
    untold = {"ETag": None, "Last_Modified": None, "Content_Length": None}
    found = listed(f"{server.url}/a.wav")
    server.on("/a.wav", lambda handler: handler.give(CONTENT, **untold))
    assert read(found) == CONTENT


def test_what_is_not_there_when_it_is_listed(server):
    assert listed(f"{server.url}/none.wav").absent


@pytest.mark.parametrize("code", [403, 503])
def test_of_what_cannot_be_listed_the_reader_says_why(server, code):
    server.fail("/a.wav", code)
    found = listed(f"{server.url}/a.wav")
    assert found == StoredObject(f"{server.url}/a.wav", 0, "")
    assert str(code) in trouble(found)[1]
    server.clear()
    assert read(found) == CONTENT


@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_server_that_is_busy_is_asked_again(server, code):
    server.fail("/a.wav", code, times=2)
    found = listed(f"{server.url}/a.wav")
    assert found.size_bytes == len(CONTENT)
    server.fail("/a.wav", code, times=2)
    assert read(found) == CONTENT
    assert server.log == ["HEAD /a.wav"] * 3 + ["GET /a.wav"] * 3


def test_a_server_that_is_always_busy(server):
    found = listed(f"{server.url}/a.wav")
    server.fail("/a.wav", 503)
    assert trouble(found) == ("storage-error", "reading failed: the server answered 503")
    assert server.log.count("GET /a.wav") == web.TRIES


def test_a_server_that_says_how_long_to_wait(server):
    found = listed(f"{server.url}/a.wav")
    server.on("/a.wav", lambda handler: handler.answer(503, **{"Retry-After": "1"}), 1)
    start = time.monotonic()
    assert read(found) == CONTENT
    assert time.monotonic() - start > 0.9


def test_no_try_begins_after_the_deadline(server, monkeypatch):
    monkeypatch.setattr(web, "DEADLINE_S", 0.015)  # the first wait is 10 ms, the next one 20 ms
    found = listed(f"{server.url}/a.wav")
    server.fail("/a.wav", 503)
    assert trouble(found)[0] == "storage-error"
    assert server.log.count("GET /a.wav") < web.TRIES


def cut(handler):
    """Half of what is promised."""
    handler.give(CONTENT[:8_000], ETag=etag(CONTENT), Content_Length=str(len(CONTENT)))


def test_a_body_that_is_cut_is_read_again(server):
    found = listed(f"{server.url}/a.wav")
    server.on("/a.wav", cut, times=2)
    assert read(found) == CONTENT


def test_a_body_that_is_always_cut_is_no_shorter_clip(server):
    found = listed(f"{server.url}/a.wav")
    server.on("/a.wav", cut)
    assert trouble(found) == ("storage-error", "reading failed: the answer broke off")


def test_what_a_server_sends_beyond_the_length_that_it_tells_is_never_read(server):
    """As it comes, the client sees that there is more, or it does not."""
    short = len(CONTENT) // 2
    server.on("/a.wav", lambda handler: handler.give(CONTENT, Content_Length=str(short)))
    found = listed(f"{server.url}/a.wav")
    try:
        assert read(found) == CONTENT[:short]
    except AudioError as error:
        assert str(error) == "reading failed: what the server answers is not HTTP"  # noqa: PT017


def test_what_is_packed_for_the_way_is_unpacked(server):
    packed = gzip.compress(CONTENT)
    server.on("/a.wav", lambda handler: handler.give(packed, **{"Content-Encoding": "gzip"}))
    found = listed(f"{server.url}/a.wav")
    assert found.size_bytes == 0  # its length is that of what was packed
    assert read(found) == CONTENT


def test_a_large_object_is_kept_on_disk(server, monkeypatch):
    monkeypatch.setattr(web, "MEMORY_BYTES", 1_000)
    with open_pinned(listed(f"{server.url}/a.wav")) as file:
        assert file._rolled
        file.seek(8_000)
        assert file.read(8_000) == CONTENT[8_000:16_000]


def endless(handler):
    """Zeros until the other side has enough."""
    handler.answer(200)
    if handler.command == "HEAD":
        return
    while True:
        handler.wfile.write(bytes(10_000))
        handler.server.sent += 10_000


def test_an_object_that_is_larger_than_allowed_is_not_asked_for(server):
    limit_downloads(16_000)
    expected = "too-large", "larger than 16,000 bytes: --max-download allows more"
    assert trouble(listed(f"{server.url}/a.wav")) == expected
    assert server.log == ["HEAD /a.wav"]
    limit_downloads(len(CONTENT))
    assert read(listed(f"{server.url}/a.wav")) == CONTENT


def test_reading_ends_at_the_limit_whatever_the_server_says(server):
    limit_downloads(1_000_000)
    server.sent = 0
    server.on("/a.wav", endless)
    assert trouble(listed(f"{server.url}/a.wav"))[0] == "too-large"
    assert server.sent < 10_000_000  # what was on its way

    bomb = gzip.compress(bytes(50_000_000))

    def larger_than_listed(handler):
        length = 20 if handler.command == "HEAD" else 2_000_000
        handler.give(bytes(length), ETag='"1"')

    server.on("/bomb.wav", lambda handler: handler.give(bomb, **{"Content-Encoding": "gzip"}))
    assert trouble(listed(f"{server.url}/bomb.wav"))[0] == "too-large"
    server.on("/lies.wav", larger_than_listed)
    assert trouble(listed(f"{server.url}/lies.wav"))[0] == "changed"


def test_a_length_beyond_the_limit_is_believed_at_once(server):
    limit_downloads(1_000_000)

    def promise(handler):
        if handler.command == "HEAD":
            handler.answer(503)
            return
        handler.give(b"RIFF", Content_Length=str(10**12))
        time.sleep(3)

    server.on("/a.wav", promise)
    start = time.monotonic()
    assert trouble(listed(f"{server.url}/a.wav"))[0] == "too-large"
    assert time.monotonic() - start < 2


def test_a_server_that_nobody_is_at(server):
    nobody = f"http://127.0.0.1:{free_port()}"
    found = listed(f"{nobody}/a.wav")
    assert found == StoredObject(f"{nobody}/a.wav", 0, "")
    status, error = trouble(found)
    assert status == "storage-error"
    assert "Cannot connect to host 127.0.0.1" in error


def test_a_server_that_cannot_be_reached_is_left_alone_for_a_while(server, monkeypatch):
    """Or a list of ten thousand of its URLs would be waited for one by one."""
    nobody = f"http://127.0.0.1:{free_port()}"
    assert trouble(StoredObject(f"{nobody}/a.wav", 0, ""))[0] == "storage-error"
    monkeypatch.setattr(web, "BACKOFF_S", 60)
    start = time.monotonic()
    assert "Cannot connect to host" in trouble(StoredObject(f"{nobody}/b.wav", 0, ""))[1]
    assert time.monotonic() - start < 5
    assert read(listed(f"{server.url}/a.wav")) == CONTENT  # another server on the same machine


def test_a_name_that_no_server_has(server):
    for name in ("nobody.invalid", "a..b", "-"):
        assert trouble(listed(f"http://{name}/a.wav"))[0] == "storage-error"


def test_a_server_that_does_not_speak_tls_is_asked_once(server, monkeypatch):
    monkeypatch.setattr(web, "BACKOFF_S", 5)
    start = time.monotonic()
    status, error = trouble(listed(server.url.replace("http:", "https:") + "/a.wav"))
    assert status == "storage-error"
    assert "SSL" in error
    assert server.log == []
    assert time.monotonic() - start < 4


REPOSITORY = Path(__file__).parents[2]
READER = """
import sys
from l3core.storage import read_bytes
for uri in sys.argv[1:]:
    try:
        print(len(read_bytes(uri)))
    except OSError as error:
        print(error)
"""


def test_a_server_that_speaks_tls_is_who_it_says(tmp_path):
    certificate = make_certificate(tmp_path)

    def read_all(*names, **environment):
        """In another process: whom it trusts is found out once."""
        urls = [f"{server.url}/{name}" for name in names]
        said = subprocess.run(
            [sys.executable, "-c", READER, *urls],
            cwd=REPOSITORY,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return said.stdout.splitlines()

    with web_server(certificate) as server:
        server.files["/a.wav"] = CONTENT
        server.redirect("/plain.wav", "http://example.org/a.wav")
        trusted = read_all("a.wav", "plain.wav", SSL_CERT_FILE=str(certificate))
        assert trusted[0] == str(len(CONTENT))
        assert "it redirects from https to http (example.org)" in trusted[1]
        server.log.clear()
        (refused,) = read_all("a.wav")
        assert "CERTIFICATE_VERIFY_FAILED" in refused
        assert server.log == []


@pytest.fixture
def impatient(server, monkeypatch):
    """A web of its own, that waits for a fifth of a second."""
    monkeypatch.setattr(web, "SILENCE_S", 0.2)
    web._web_files.cache_clear()
    yield server
    web._web_files.cache_clear()


def test_a_server_that_falls_silent(impatient):
    found = listed(f"{impatient.url}/a.wav")

    def fall_silent(handler):
        cut(handler)
        time.sleep(1)

    impatient.on("/a.wav", fall_silent, times=1)
    assert read(found) == CONTENT
    impatient.on("/a.wav", lambda handler: time.sleep(0.5))
    assert trouble(found) == ("storage-error", "reading failed: the server is silent")


def test_a_server_that_sends_hardly_anything(server, monkeypatch):
    monkeypatch.setattr(web, "SLOW_AFTER_S", 0.0)
    monkeypatch.setattr(web, "SLOWEST", 1e9)
    status, error = trouble(listed(f"{server.url}/a.wav"))
    assert status == "storage-error"
    assert "bytes a second" in error


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "127.1", "[::1]", "\uff11\uff12\uff17.0.0.1", "169.254.169.254"]
)
def test_a_redirect_to_a_local_address_is_not_followed(server, host):
    target = f"http://{host}:{server.server_port}/b.wav"
    server.files["/b.wav"] = OTHER
    server.redirect("/a.wav", target)
    status, error = trouble(listed(f"{server.url}/a.wav"))
    assert status == "forbidden"
    assert error.startswith("it redirects to the local address")
    assert "GET /b.wav" not in server.log
    assert "HEAD /b.wav" not in server.log


def test_every_address_of_a_name_must_be_public(server, monkeypatch):
    """A name may have several, and another one each time it is asked for."""
    asked = []

    async def resolve(self, host, port=0, family=socket.AF_UNSPEC):
        asked.append(host)
        found = {"hostname": host, "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}
        return [found | {"host": address} for address in ("93.184.216.34", "127.0.0.1")]

    monkeypatch.setattr(ThreadedResolver, "resolve", resolve)
    server.redirect("/a.wav", f"http://files.example:{server.server_port}/b.wav")
    said = trouble(StoredObject(f"{server.url}/a.wav", 0, ""))
    assert said == ("forbidden", "it redirects to the local address 127.0.0.1")
    assert asked == ["files.example"]


def test_a_redirect_is_followed(server, all_public):
    server.redirect("/a.wav", "/b/c.wav?X-Amz-Signature=1#part")
    server.redirect("/b/c.wav", f"http://localhost:{server.server_port}/d.wav")
    server.files["/d.wav"] = OTHER
    found = listed(f"{server.url}/a.wav")
    assert found.uri == f"{server.url}/a.wav"
    assert found.size_bytes == len(OTHER)
    assert read(found) == OTHER
    assert server.log[-3:] == ["GET /a.wav", "GET /b/c.wav?X-Amz-Signature=1", "GET /d.wav"]


def test_what_a_redirect_leads_to_is_pinned_too(server, all_public):
    server.redirect("/a.wav", "/b.wav")
    server.files["/b.wav"] = OTHER
    found = listed(f"{server.url}/a.wav")
    server.files["/b.wav"] = CONTENT
    assert trouble(found)[0] == "changed"


def test_five_redirects_are_followed_and_no_more(server, all_public):
    for number in range(6):
        server.redirect(f"/{number}", f"/{number + 1}")
    server.files["/6"] = OTHER
    assert read(listed(f"{server.url}/1")) == OTHER
    error = "reading failed: it redirects more than 5 times"
    assert trouble(listed(f"{server.url}/0")) == ("storage-error", error)
    server.redirect("/loop", "/loop")
    assert trouble(listed(f"{server.url}/loop")) == ("storage-error", error)


def test_a_secret_in_a_redirect_is_not_told(server, all_public):
    server.redirect("/a.wav", f"http://127.0.0.1:{free_port()}/b.wav?X-Amz-Signature=hush")
    assert "hush" not in trouble(listed(f"{server.url}/a.wav"))[1]
    server.redirect("/b.wav", "http://nobody.invalid/%zz\udcff?X-Amz-Signature=hush")
    assert "hush" not in trouble(listed(f"{server.url}/b.wav"))[1]


def test_no_cookie_is_kept(server):
    seen = []

    def with_cookie(handler):
        seen.append(handler.headers.get("Cookie"))
        handler.give(CONTENT, **{"Set-Cookie": "session=1"})

    server.on("/a.wav", with_cookie)
    read(listed(f"{server.url.replace('127.0.0.1', 'localhost')}/a.wav"))
    assert seen == [None, None]


def test_a_list_of_urls_and_a_list_that_is_on_the_web(server, tmp_path):
    server.files |= {"/b/1.wav": CONTENT, "/b/2.wav": OTHER}
    names = f"{server.url}/b/2.wav\n{server.url.upper().replace('HTTP', 'http')}/b/1.wav\n"
    (tmp_path / "list.txt").write_text(names)
    server.files["/list.txt"] = names.encode()
    inputs = [f"@{tmp_path}/list.txt", f"@{server.url}/list.txt", f"{server.url}/a.wav"]
    inputs = [parse_input(text) for text in inputs]
    assert common_root(inputs) == server.url
    assert [found.uri for found in list_inputs(inputs)] == [
        f"{server.url}/{name}" for name in ("a.wav", "b/1.wav", "b/2.wav")
    ]
    assert inputs[0].names(f"{server.url}/b/1.wav")
    assert not inputs[0].names(f"{server.url}/b/3.wav")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("https://user:hush@example.org/a.wav", "a user or password"),
        ("https://example.org/a.wav?sig=hush", "looks like a secret"),
        ("https://example.org/*.wav", "is no pattern"),
    ],
)
def test_a_list_with_a_url_that_is_refused(tmp_path, line, problem):
    (tmp_path / "list.txt").write_text(f"https://example.org/b.wav\n{line}\n")
    with pytest.raises(UsageError, match=problem) as caught:
        parse_input(f"@{tmp_path}/list.txt")
    assert f"@{tmp_path}/list.txt: " in str(caught.value)
    assert "hush" not in str(caught.value)


def test_a_list_on_the_web_names_nothing_on_this_machine(server):
    server.files["/list.txt"] = b"/etc/passwd\n"
    with pytest.raises(UsageError, match="a list on the web names URLs only, has '/etc/passwd'"):
        parse_input(f"@{server.url}/list.txt")
    with pytest.raises(UsageError, match=r"cannot read the list: .*no such object"):
        parse_input(f"@{server.url}/none.txt")
    with pytest.raises(UsageError, match="a user or password") as caught:
        parse_input("@https://user:hush@example.org/list.txt")
    assert "hush" not in str(caught.value)


def test_ids_of_clips_of_several_servers():
    inputs = [parse_input(f"https://{host}/x/a.wav") for host in ("a.example", "b.example")]
    assert common_root(inputs) == "https://"
    assert clip_id_of("https://a.example/x/a.wav", "https://") == "a.example/x/a.wav"
    assert common_root([parse_input("https://a.example/x//y/a.wav")]) == "https://a.example/x//y"
    with pytest.raises(UsageError, match="several stores"):
        common_root([*inputs, parse_input("http://a.example/x/a.wav")])


def test_it_is_a_file_system_for_reading(server):
    fs, path = filesystem(f"{server.url}/a.wav")
    assert storage.read_bytes(path) == CONTENT
    assert storage.exists(path)
    assert not storage.exists(f"{server.url}/none.wav")
    with storage.reading(path) as file:
        assert file.read() == CONTENT
    with pytest.raises(OSError, match="does not take files") as caught:
        storage.write_bytes(f"{server.url}/b.wav", b"x")
    assert caught.value.errno == errno.EROFS
    with pytest.raises(OSError, match="do not list"):
        fs.ls(server.url)
    server.redirect("/secret.h5", f"{server.url}/a.wav")
    with pytest.raises(PermissionError, match="local address"):
        storage.read_bytes(f"{server.url}/secret.h5")
