"""The proxies of the emulated stores: what clients send arrives as it is, and faults are counted."""

import re
import socket

import pytest

from l3core.storage import read_bytes, write_bytes
from l3core.stores import filesystem

# as S3's clients send it when they add a checksum at the end
AWS_CHUNKED = b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n"


def chunked(*parts):
    chunks = b"".join(b"%x;extension\r\n%s\r\n" % (len(part), part) for part in parts)
    return chunks + b"0\r\nx-trailer: 1\r\nx-another: 2\r\n\r\n"


def put(emulator, uri, headers, body):
    """Put an object, its body only when it is asked for; the first line of the answer."""
    host = emulator.url.removeprefix("http://")
    lines = [f"PUT /{uri[5:]} HTTP/1.1", f"Host: {host}", *headers, "Expect: 100-continue"]
    with socket.create_connection(("127.0.0.1", emulator.server_port), timeout=10) as connection:
        connection.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode())
        with connection.makefile("rb") as answer:
            assert b"100 Continue" in answer.readline()
            assert answer.readline() == b"\r\n"
            connection.sendall(body)
            return answer.readline().decode().strip()


def test_a_body_in_chunks_with_trailers_arrives_whole(s3):
    uri = s3.make_bucket("chunked") + "/a"
    assert put(s3, uri, ["Transfer-Encoding: chunked"], chunked(b"hello", b" again")).endswith("200 OK")
    assert read_bytes(uri) == b"hello again"


@pytest.mark.parametrize("in_chunks", [False, True])
def test_chunks_within_a_body_are_the_stores_own(s3, in_chunks):
    uri = s3.make_bucket(f"aws-chunked-{in_chunks:d}") + "/a"
    headers = ["Content-Encoding: aws-chunked", "x-amz-decoded-content-length: 5"]
    headers += ["x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER"]
    headers += ["x-amz-trailer: x-amz-checksum-crc32"]
    if in_chunks:
        headers, body = [*headers, "Transfer-Encoding: chunked"], chunked(AWS_CHUNKED)
    else:
        headers, body = [*headers, f"Content-Length: {len(AWS_CHUNKED)}"], AWS_CHUNKED
    assert put(s3, uri, headers, body).endswith("200 OK")
    assert read_bytes(uri) == b"hello"


@pytest.mark.usefixtures("impatient")
def test_faults_are_counted(store):
    emulator, bucket = store
    fs, path = filesystem(f"{bucket}/a b")
    fs.pipe_file(path, b"content")
    emulator.clear()
    second = emulator.fault(emulator.reading("a b"), skip=1, times=1, reset=True)
    all_others = emulator.fault(emulator.reading("a b"), delay_s=0.01)
    assert [fs.cat_file(path) for _ in range(3)] == [b"content"] * 3
    assert (second.hits, all_others.hits) == (1, 3)
    assert len(emulator.requests(emulator.reading("a b"))) == 4


@pytest.mark.usefixtures("impatient")
def test_each_request_of_its_own_kind(store):
    emulator, bucket = store
    fs, _ = filesystem(bucket)
    once = emulator.fault("^(PUT|POST)", each=True, times=1, lost=True)
    for name in "ab":
        fs.pipe_file(f"{bucket}/{name}", b"content")
    assert once.hits == 2
    assert len(emulator.requests("^(PUT|POST)")) == 4


def test_requests_tell_the_names_that_their_bodies_tell(gcs, s3):
    for emulator in (gcs, s3):
        bucket = emulator.make_bucket("names")
        fs, path = filesystem(f"{bucket}/x y")
        fs.pipe_file(path, b"content")
        fs.rm(path)
        assert emulator.requests("^(PUT|POST).*x y$")
        assert emulator.requests("^(DELETE|POST).*x y$")
        emulator.clear()


@pytest.mark.parametrize("name", ['a "b" c', "a\\b", 'ends in "'])
def test_a_name_with_quotes_arrives_as_it_is(gcs, name):
    bucket = gcs.make_bucket(f"quotes-{len(name)}")
    gcs.clear()
    write_bytes(f"{bucket}/{name}", b"content")
    assert read_bytes(f"{bucket}/{name}") == b"content"
    assert gcs.requests(f"uploadType=multipart.* {re.escape(name)}$")
