"""Stores: options, credentials that are missing, and errors that are one line within seconds."""

import io
import json
import os
import re
import socket
import sys
import time

import pytest
import soundfile
from fsspec.registry import _registry

from l3core import atomic, pinned, ranges, storage
from l3core.errors import AudioError, CredentialsError, StorageError, UsageError
from l3core.listing import list_inputs, parse_input
from l3core.pinned import open_pinned
from l3core.storage_options import CONFIGURED, configure
from l3core.store_errors import translating
from l3core.stores import filesystem, reach
from tests.corpus import listed, noise, read
from tests.emulators import S3_CODES


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch):
    monkeypatch.setenv(CONFIGURED, "{}")


@pytest.mark.parametrize(
    ("uri", "advice"),
    [
        (
            "gs://bucket/a.wav",
            r"Google credentials were not found: run `gcloud auth application-default",
        ),
        ("s3://bucket/a.wav", r"AWS credentials were not found: set AWS_ACCESS_KEY_ID"),
    ],
)
def test_without_credentials_it_is_said_what_to_do(nobody, uri, advice):
    start = time.monotonic()
    with pytest.raises(CredentialsError, match=advice) as caught:
        reach(uri)
    assert time.monotonic() - start < 10
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(uri)


def test_a_wrong_bucket_is_said_to_be_one(bucket):
    reach(f"{bucket}/nothing/there")
    reach(f"{bucket}/nothing/*.wav")
    wrong = bucket[:-4] + "zzzz"
    with pytest.raises(UsageError, match=f"{wrong}/x: there is no bucket {wrong[5:]}"):
        reach(f"{wrong}/x")


@pytest.mark.parametrize("end", ["", "/"])
def test_a_bucket_is_no_object_that_can_be_written(bucket, end):
    with pytest.raises(IsADirectoryError, match="it is a bucket, and needs an object in it"):
        storage.write_bytes(bucket + end, b"x")
    with pytest.raises(IsADirectoryError), storage.writing(bucket + end) as file:
        file.write(b"x")
    assert storage.names_below(bucket, suffix="") == []
    storage.write_bytes(f"{bucket}/x", b"x")
    assert storage.names_below(bucket, suffix="") == ["x"]


@pytest.mark.parametrize("uri", ["gs://", "gs:///x", "gs://*/x.wav", "s3://b[12]/x", "s3://"])
def test_what_names_no_bucket_is_refused(gcs, s3, uri):
    with pytest.raises(UsageError) as caught:
        reach(uri)
    assert str(caught.value) == f"{uri} names no bucket"


def test_what_is_forbidden_is_said_to_be(gcs):
    gcs.fault("^GET", status=403)
    with pytest.raises(
        UsageError, match="gs://secret/x: forbidden: these credentials may not look there"
    ):
        reach("gs://secret/x")
    gcs.clear()


def test_a_store_that_does_not_answer(monkeypatch):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(StorageError, match="gs://b/x: no answer within 1 s"):
            reach("gs://b/x", seconds=1)


@pytest.mark.parametrize(
    ("uri", "client", "extra"), [("s3://b/t", "s3fs", "s3"), ("az://b/t", "adlfs", "azure")]
)
def test_a_client_that_is_not_installed_is_named_with_what_installs_it(monkeypatch, uri, client, extra):
    monkeypatch.delitem(_registry, uri.partition(":")[0], raising=False)
    monkeypatch.setitem(sys.modules, client, None)
    with pytest.raises(
        UsageError, match=re.escape(f"{uri}: needs {client}: pip install 'l3flow[{extra}]'")
    ):
        filesystem(uri)


def test_a_place_on_a_disk_is_not_asked_for():
    reach("/nothing/there")
    reach("memory://nothing")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("novalue", "needs KEY=VALUE"),
        ("=x", "needs KEY=VALUE"),
        ("secret=abc", "a secret is given as secret=env:NAME or secret=file:PATH"),
        ("aws_session_token=abc", "a secret is given as"),
        ("account_key=abc", "a secret is given as"),
    ],
)
def test_options_that_are_refused(option, message):
    with pytest.raises(UsageError, match=message) as caught:
        configure([option])
    assert "abc" not in str(caught.value)


def test_an_option_that_the_client_does_not_know_is_refused(s3):
    configure(["endpoint=here"])
    told = (
        "s3://bucket/x: its client cannot use --storage-option endpoint: .*unexpected keyword argument"
    )
    with pytest.raises(UsageError, match=told):
        reach("s3://bucket/x")


def test_secrets_are_resolved_where_they_are_used(tmp_path, monkeypatch):
    (tmp_path / "secret").write_text("from a file\n")
    monkeypatch.setenv("A_SECRET", "from the environment")
    configure(["key=env:A_SECRET", f"secret=file:{tmp_path}/secret", "anon=false"])
    assert "from" not in os.environ[CONFIGURED]
    fs = filesystem("s3://bucket/x")[0]
    assert (fs.key, fs.secret, fs.anon) == ("from the environment", "from a file", False)
    configure(["key=env:NO_SUCH"])
    with pytest.raises(UsageError, match="--storage-option key: there is no env:NO_SUCH"):
        filesystem("s3://bucket/x")


def put(uri, content):
    fs, path = filesystem(uri)
    fs.pipe_file(path, content)


def wav(seconds, seed=0):
    content = io.BytesIO()
    soundfile.write(content, noise(seconds, seed=seed), 8_000, format="WAV")
    return content.getvalue()


def test_a_small_object_is_read_in_one_request(gcs):
    uri = gcs.make_bucket("whole-reads") + "/a b.wav"
    content = wav(1.0)
    put(uri, content)
    found = listed(uri)
    assert found.checksum.startswith("crc32c:")
    gcs.clear()
    assert read(found) == content
    # not counting the listing that went out beside the question what there is, and was given up
    assert len(gcs.requests("/o/a b.wav")) == 1


def test_replaced_or_deleted_between_listing_and_reading(bucket):
    for name in ("replaced", "deleted"):
        put(f"{bucket}/{name}.wav", wav(1.0))
    replaced, deleted = listed(f"{bucket}/replaced.wav"), listed(f"{bucket}/deleted.wav")
    put(f"{bucket}/replaced.wav", wav(1.0, seed=1))
    fs, path = filesystem(f"{bucket}/deleted.wav")
    fs.rm(path)
    for found, status in ((replaced, "changed"), (deleted, "vanished")):
        with pytest.raises(AudioError) as caught:
            read(found)
        assert caught.value.status == status


def test_a_large_object_that_is_replaced_while_it_is_read(bucket, monkeypatch):
    """In ranges: what was read may be of both, so it is not used."""
    monkeypatch.setattr(pinned, "WHOLE_BYTES", 1_000)
    uri = f"{bucket}/a.wav"
    put(uri, wav(20.0))
    found = listed(uri)

    def read_in_parts():
        with open_pinned(found) as file:
            file.read(100)
            put(uri, wav(20.0, seed=1))
            file.seek(200_000)
            file.read(100)

    with pytest.raises(AudioError) as caught:
        read_in_parts()
    assert caught.value.status == "changed"


def test_a_large_object_is_read_in_ranges_of_its_version(gcs, monkeypatch):
    monkeypatch.setattr(pinned, "WHOLE_BYTES", 1_000)
    uri = gcs.make_bucket("ranged-reads") + "/a.wav"
    content = wav(60.0)
    put(uri, content)
    found = listed(uri)
    gcs.clear()
    assert read(found) == content
    asked = gcs.requests("/o/a.wav")
    assert [line for line in asked if f"generation={found.version}" not in line] == []
    assert 2 <= len(asked) <= -(-len(content) // ranges.FIRST_BYTES)  # and nothing but ranges
    fs, path = filesystem(uri)
    fs.rm(path)
    with pytest.raises(AudioError) as caught:
        read(found)
    assert caught.value.status == "vanished"


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "fault",
    [
        {"corrupt": True, "times": 1},
        {"corrupt": True, "times": 2},
        {"short": 1, "times": 1},
        {"status": 503, "times": 1},
        {"status": 503, "times": 2},
        {"status": 429, "times": 1},
        {"reset": True, "times": 1},
        {"cut": 1_000, "times": 1},
        {"torn": 1_000, "times": 1},
        {"delay_s": 0.05},
    ],
)
def test_what_goes_wrong_once_is_read_again(store, fault):
    emulator, bucket = store
    content = wav(1.0)
    put(f"{bucket}/a.wav", content)
    found = listed(f"{bucket}/a.wav")
    injected = emulator.fault(emulator.reading("a.wav"), **fault)
    assert read(found) == content
    assert injected.hits == fault.get("times", 1)


def test_a_byte_that_is_flipped_every_time_is_no_audio(store, caplog):
    emulator, bucket = store
    put(f"{bucket}/a.wav", wav(1.0))
    found = listed(f"{bucket}/a.wav")
    emulator.fault(emulator.reading("a.wav"), corrupt=True)
    with pytest.raises(AudioError, match="checksum") as caught:
        read(found)
    assert caught.value.status == "storage-error"
    said = [json.loads(each.getMessage()) for each in caplog.records if each.name == "l3core"]
    assert said == 3 * [{"event": "wrong_content", "uri": f"{bucket}/a.wav"}]


def test_of_several_creations_one_succeeds(bucket):
    assert storage.create(f"{bucket}/1.json", b"mine")
    assert not storage.create(f"{bucket}/1.json", b"another's")
    assert storage.read_bytes(f"{bucket}/1.json") == b"mine"


@pytest.mark.parametrize(("conflicts", "there"), [(2, False), (2, True), (None, False)])
def test_while_another_creation_is_under_way_s3_is_asked_again(s3, monkeypatch, conflicts, there):
    monkeypatch.setattr(atomic, "CONFLICT_S", (0.01,) * 3)
    uri = s3.make_bucket(f"conflicts-{conflicts}-{there}".lower()) + "/1.json"
    if there:
        storage.write_bytes(uri, b"another's")
    conflict = s3.fault("^PUT", status=409, times=conflicts)
    if conflicts:
        assert storage.create(uri, b"mine") == (not there)
        assert storage.read_bytes(uri) == (b"another's" if there else b"mine")
    else:
        with pytest.raises(OSError, match="injected"):
            storage.create(uri, b"mine")
    s3.clear()
    assert conflict.hits == (conflicts or 4)


def test_an_upload_that_fails_leaves_nothing(bucket):
    def write_half():
        with storage.writing(f"{bucket}/x.parquet") as file:
            file.write(b"half of it" * 50_000)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert not storage.exists(f"{bucket}/x.parquet")
    storage.write_bytes(f"{bucket}/x.parquet", b"whole")
    assert storage.read_bytes(f"{bucket}/x.parquet") == b"whole"


@pytest.mark.parametrize("name", ["take::a.wav", "a[1].wav", "a#1.wav", "+ %41.wav"])
def test_any_name_is_that_of_one_object(bucket, name):
    put(f"{bucket}/{name}", wav(0.5))
    (found,) = list_inputs([parse_input(bucket)])
    assert found.uri == f"{bucket}/{name}"
    assert read(found) == wav(0.5)
    assert filesystem(f"{bucket}/x::v2")[1].endswith("/x::v2")


def test_an_etag_of_what_s3_encrypts_is_no_checksum(s3):
    bucket = s3.make_bucket("encrypted")
    fs, path = filesystem(f"{bucket}/a.wav")
    fs.pipe_file(path, wav(1.0), ServerSideEncryption="aws:kms", SSEKMSKeyId="key")
    found = listed(f"{bucket}/a.wav")._replace(checksum=f"etag:{'0' * 32}")  # moto has the MD5
    assert read(found) == wav(1.0)
    fs.pipe_file(path, wav(1.0))
    plain = listed(f"{bucket}/a.wav")._replace(checksum=f"etag:{'0' * 32}")
    with pytest.raises(AudioError, match="does not have the checksum"):
        read(plain)


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidAccessKeyId", "SignatureDoesNotMatch"])
def test_credentials_that_end_are_no_forbidden_object(s3, code, monkeypatch):
    monkeypatch.setitem(S3_CODES, 403, code)
    uri = s3.make_bucket("expired") + "/a.wav"
    put(uri, wav(0.5))
    found = listed(uri)
    s3.fault("^GET .*a.wav", status=403)
    with pytest.raises(CredentialsError, match="AWS credentials were refused"):
        read(found)
    s3.clear()


def test_an_account_that_is_limited_is_no_forbidden_object():
    with pytest.raises(OSError, match="exceeded its quota") as caught, translating("gs://b/x"):
        raise OSError("Forbidden: https://x/quota\nthe project exceeded its quota")
    assert not isinstance(caught.value, PermissionError)
    with pytest.raises(PermissionError), translating("gs://b/quota.wav"):
        raise OSError("Forbidden: https://x/quota.wav\nno access")


def test_a_client_that_has_no_word_for_it_raises_an_error_of_the_store():
    with pytest.raises(OSError, match="gs://b/x: Bucket is requester pays"), translating("gs://b/x"):
        raise ValueError("Bucket is requester pays. Set `requester_pays=True`")


def test_who_may_list_and_not_ask_for_a_name(s3):
    bucket = s3.make_bucket("prefix-only")
    put(f"{bucket}/c/a.wav", wav(0.5))
    s3.fault(rf"^HEAD [^ ]*{bucket[5:]}/c(\?| |$)", status=403)
    reach(f"{bucket}/c/*.wav")
    assert [found.uri for found in list_inputs([parse_input(f"{bucket}/c")])] == [f"{bucket}/c/a.wav"]
    s3.clear()


def test_a_listed_name_that_is_forbidden_is_found_out_by_its_reader(store):
    emulator, bucket = store
    for name in "ab":
        put(f"{bucket}/{name}.wav", wav(0.5))
    put(f"{bucket}/list.txt", f"{bucket}/a.wav\n{bucket}/b.wav\n".encode())
    emulator.fault(r"/b\.wav", status=403)
    good, other = list_inputs([parse_input(f"@{bucket}/list.txt")])
    assert read(good) == wav(0.5)
    with pytest.raises(AudioError) as caught:
        read(other)
    assert caught.value.status == "forbidden"
    emulator.clear()
    assert read(other) == wav(0.5)  # it may be read by then


def test_a_request_that_takes_too_long_is_ended(gcs, monkeypatch):
    monkeypatch.setattr(pinned, "DEADLINE_S", 0.3)
    uri = gcs.make_bucket("too-slow") + "/a.wav"
    put(uri, wav(0.5))
    found = listed(uri)
    gcs.fault("alt=media", delay_s=1.0)
    with pytest.raises(AudioError, match="no answer within 0 s") as caught:
        read(found)
    assert caught.value.status == "storage-error"
    gcs.clear()
    assert read(found) == wav(0.5)


def test_a_folder_with_brackets_is_removed(bucket):
    for name in ("my[1]/x/a", "my[1]/b", "my1/x/c"):
        put(f"{bucket}/{name}", b"x")
    storage.remove_folder(f"{bucket}/my[1]")
    storage.remove_folder(f"{bucket}/my[1]")
    fs, path = filesystem(bucket)
    assert fs.find(path) == [f"{path}/my1/x/c"]


def test_an_object_that_stands_for_a_folder_is_no_name_in_it(bucket):
    put(f"{bucket}/t/staging/", b"")
    put(f"{bucket}/t/staging/run1/x", b"x")
    assert storage.names_below(f"{bucket}/t/staging", suffix="") == ["run1"]
