"""Storage: reading what was listed, and writing all or nothing, on a disk and in an object store."""

import errno
import gc
import hashlib
import os
import threading
import time
import uuid

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.spec import AbstractBufferedFile

from l3core import storage
from l3core.errors import AudioError
from l3core.pinned import open_pinned
from tests.corpus import Guarded
from tests.stores import ObjectStore


@pytest.fixture(params=["disk", "memory"])
def folder(request, tmp_path):
    return str(tmp_path) if request.param == "disk" else f"memory://{uuid.uuid4().hex}"


def names(folder):
    return storage.names_below(folder, suffix="")


def test_what_is_written_is_read(folder):
    uri = storage.join(folder, "a/b.bin")
    assert not storage.exists(uri)
    storage.write_bytes(uri, b"one")
    storage.write_bytes(uri, b"two!")
    assert storage.read_bytes(uri) == b"two!"
    assert storage.exists(uri)
    assert storage.exists(storage.join(folder, "a"))
    assert storage.describe(uri).size_bytes == 4
    assert names(storage.join(folder, "a")) == ["b.bin"]
    assert storage.sha256_of(uri) == hashlib.sha256(b"two!").hexdigest()


def test_reading_what_is_not_there(folder):
    with pytest.raises(FileNotFoundError):
        storage.read_bytes(storage.join(folder, "nothing"))
    with pytest.raises(FileNotFoundError):
        storage.describe(storage.join(folder, "nothing"))
    storage.remove(storage.join(folder, "nothing"))  # is fine
    assert names(storage.join(folder, "nothing")) == []


def test_names_below(folder):
    for name in ("b.json", "a.json", "c.txt", "d/e.json"):
        storage.write_bytes(storage.join(folder, name), b"")
    assert storage.names_below(folder, suffix=".json") == ["a.json", "b.json"]
    assert names(folder) == ["a.json", "b.json", "c.txt", "d"]


def test_a_write_that_fails_leaves_what_was(tmp_path):
    uri = str(tmp_path / "a.bin")
    storage.write_bytes(uri, b"old")

    def write_half():
        with storage.writing(uri) as file:
            file.write(b"half")
            file.flush()
            assert storage.read_bytes(uri) == b"old"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert storage.read_bytes(uri) == b"old"
    assert names(str(tmp_path)) == ["a.bin"]


def test_create_only_if_absent(folder):
    uri = storage.join(folder, "journal/1.json")
    assert storage.create(uri, b"first")
    assert not storage.create(uri, b"second")
    assert storage.read_bytes(uri) == b"first"
    assert names(storage.join(folder, "journal")) == ["1.json"]


def test_of_many_who_create_one_succeeds(tmp_path):
    start = threading.Barrier(8)
    won = []

    def work(number):
        start.wait()
        if storage.create(str(tmp_path / "x"), b"%d" % number * 10_000):
            won.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert (tmp_path / "x").read_bytes() == b"%d" % won[0] * 10_000
    assert names(str(tmp_path)) == ["x"]


def test_moving_can_be_repeated(folder):
    source, target = storage.join(folder, "a/x"), storage.join(folder, "b/y")
    storage.write_bytes(source, b"x")
    storage.move(source, target)
    storage.move(source, target)
    assert storage.read_bytes(target) == b"x"
    assert not storage.exists(source)
    storage.write_bytes(source, b"new")
    storage.move(source, target)
    assert storage.read_bytes(target) == b"new"


def test_several_may_move_the_same_objects(tmp_path):
    """A commit is published by its run and by whoever comes across it."""
    for number in range(300):
        storage.write_bytes(str(tmp_path / f"a/{number}"), b"x")
    start = threading.Barrier(4)
    errors = []

    def work():
        start.wait()
        for number in range(300):
            try:
                storage.move(str(tmp_path / f"a/{number}"), str(tmp_path / f"b/{number}"))
            except OSError as error:
                errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(names(str(tmp_path / "b"))) == 300


def test_removing(folder):
    for name in ("a/x", "a/b/y", "c"):
        storage.write_bytes(storage.join(folder, name), b"")
    storage.remove(storage.join(folder, "c"))
    storage.remove_folder(storage.join(folder, "a"))
    assert names(folder) == []


def test_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert storage.absolute("a/../b c#%.wav") == f"{tmp_path}/b c#%.wav"
    assert storage.absolute("file:///x/y") == "/x/y"
    assert storage.absolute("memory://x/y") == "memory:///x/y"
    assert storage.absolute(storage.absolute("memory://x/y")) == "memory:///x/y"
    assert storage.absolute("a::b.wav") == f"{tmp_path}/a::b.wav"


def pinned(uri, act=lambda: None):
    """Read what was listed, and do something in between."""
    listed = storage.describe(uri)
    with open_pinned(listed) as file:
        act()
        return file.read()


def test_an_unchanged_object_is_read(folder):
    uri = storage.join(folder, "a.wav")
    storage.write_bytes(uri, b"samples")
    assert pinned(uri) == b"samples"


def failing(status, uri, act=lambda: None, listed=None):
    listed = listed or storage.describe(uri)
    with pytest.raises(AudioError) as caught, open_pinned(listed):
        act()
    assert caught.value.status == status


def test_replaced_after_it_was_listed(folder):
    uri = storage.join(folder, "a.wav")
    storage.write_bytes(uri, b"samples")
    listed = storage.describe(uri)
    time.sleep(0.01)
    storage.write_bytes(uri, b"SAMPLES")  # of the same size
    failing("changed", uri, listed=listed)


def test_replaced_while_it_is_read(folder):
    uri = storage.join(folder, "a.wav")
    storage.write_bytes(uri, b"samples")
    time.sleep(0.01)
    failing("changed", uri, lambda: storage.write_bytes(uri, b"others"))


def test_vanished(folder):
    uri = storage.join(folder, "a.wav")
    storage.write_bytes(uri, b"samples")
    listed = storage.describe(uri)
    failing("vanished", uri, lambda: storage.remove(uri))
    failing("vanished", uri, listed=listed)


@pytest.mark.parametrize("change", ["append", "cut", "replace"])
def test_decoding_trouble_of_a_file_that_changed_is_called_changed(tmp_path, change):
    """Else an old good row would lose its windows to a file that somebody is just copying."""
    path = tmp_path / "a.wav"
    path.write_bytes(b"samples" * 100)
    os.utime(path, ns=(10**18, 10**18))

    def act():
        if change == "append":
            path.write_bytes(b"samples" * 200)
        elif change == "cut":
            os.truncate(path, 10)
        else:
            path.unlink()
            path.write_bytes(b"other")
        raise AudioError("truncated", "decoding broke")

    failing("changed", str(path), act)


def test_decoding_trouble_of_a_file_that_did_not_change_stays(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"samples")

    def act():
        raise AudioError("truncated", "decoding broke")

    failing("truncated", str(tmp_path / "a.wav"), act)


def test_no_permission_and_a_broken_store():
    Guarded.register()
    for name, status in [("secret.wav", "forbidden"), ("broken.wav", "storage-error")]:
        uri = f"guarded://x/{name}"
        storage.write_bytes(uri, b"samples")
        failing(status, uri)


def test_versions(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"x")
    os.utime(path, ns=(5, 1_700_000_000_123_456_789))
    assert storage.describe(str(path)).version == "1700000000123456789"  # to the nanosecond
    assert storage.version_of({"name": "x", "generation": 17, "etag": "e", "mtime": 3}) == "17"
    assert storage.version_of({"name": "x", "ETag": '"abc"', "LastModified": 3}) == '"abc"'
    assert storage.version_of({"name": "x"}) == ""


def test_reading_any_part_of_an_object(folder):
    storage.write_bytes(f"{folder}/a", b"0123456789")
    with storage.reading(f"{folder}/a") as file:
        file.seek(4)
        assert file.read(3) == b"456"
    with pytest.raises(FileNotFoundError), storage.reading(f"{folder}/none"):
        pass


class Inherited(ObjectStore):
    """A store whose client has no way of its own to create an object."""

    protocol = "inherited"
    pipe_file = fsspec.AbstractFileSystem.pipe_file


@pytest.mark.parametrize("protocol", ["objects", "inherited", "memory", ""])
def test_of_several_creations_one_succeeds_whatever_the_store(tmp_path, protocol):
    fsspec.register_implementation("inherited", Inherited, clobber=True)
    uri = f"{protocol}://{tmp_path}/journal/1.json" if protocol else f"{tmp_path}/journal/1.json"
    start = threading.Barrier(8)
    won = []

    def create(number):
        start.wait()
        if storage.create(uri, b"%d" % number):
            won.append(b"%d" % number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [storage.read_bytes(uri)]


def test_an_upload_that_fails_leaves_nothing(tmp_path):
    uri = f"objects://{tmp_path}/x.parquet"

    def write_half():
        with storage.writing(uri) as file:
            file.write(b"half of it")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    gc.collect()
    assert not storage.exists(uri)
    storage.write_bytes(uri, b"whole")
    assert storage.read_bytes(uri) == b"whole"


class Buffered(AbstractBufferedFile):
    """fsspec's own kind of upload: closing it uploads what there is."""

    def _initiate_upload(self):
        self.parts = []

    def _upload_chunk(self, final=False):
        self.parts.append(self.buffer.getvalue())
        if final and self.autocommit:
            self.commit()
        return True

    def commit(self):
        BufferedStore.uploaded[self.path] = b"".join(self.parts)


class BufferedStore(fsspec.AbstractFileSystem):
    protocol = "buffered"
    uploaded = {}  # noqa: RUF012  (fsspec's way)

    def _open(self, path, mode="rb", **kwargs):
        return Buffered(self, path, mode, **kwargs)


def test_an_upload_that_fails_is_not_finished_when_it_is_closed():
    fsspec.register_implementation("buffered", BufferedStore, clobber=True)

    def write_half():
        with storage.writing("buffered://b/x.parquet") as file:
            file.write(b"half of it")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    gc.collect()
    assert BufferedStore.uploaded == {}
    storage.write_bytes("buffered://b/x.parquet", b"whole")
    assert BufferedStore.uploaded == {"b/x.parquet": b"whole"}


def test_a_dead_claim_is_taken_over(tmp_path, monkeypatch):
    """Without hard links: who died between claiming a name and filling it blocks nobody."""

    def refuse(*paths):
        raise OSError(errno.EPERM, "no hard links")

    monkeypatch.setattr(os, "link", refuse)
    uri = f"{tmp_path}/1.json"
    (tmp_path / "1.json").touch()
    assert not storage.create(uri, b"mine")
    os.utime(tmp_path / "1.json", (0, 0))
    assert storage.create(uri, b"mine")
    assert not storage.create(uri, b"another's")
    assert storage.read_bytes(uri) == b"mine"


def test_what_cannot_be_there_is_absent(tmp_path):
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    (tmp_path / "file").touch()
    for name in ("loop.wav", "file/below.wav", "x" * 300, "nothing.wav"):
        assert storage.named(f"{tmp_path}/{name}").absent, name
    assert not storage.named(f"{tmp_path}/file").absent


def test_a_versioned_bucket_lists_and_describes_the_same_version():
    """S3 tells a VersionId only when asked for one object."""
    listed = storage.version_of({"ETag": '"1"', "LastModified": 5})
    assert listed == storage.version_of({"ETag": '"1"', "VersionId": "abc"})


class Counting(LocalFileSystem):
    """A file system of somebody's own upon a disk: it wants to see what is done."""

    protocol = "counting"
    calls = []  # noqa: RUF012  (fsspec's way)

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(str(path).removeprefix("counting://"))

    def unstrip_protocol(self, name):
        return "counting://" + self._strip_protocol(name)

    def open(self, path, mode="rb", **kwargs):
        self.calls.append(mode)
        return super().open(path, mode, **kwargs)


def test_what_is_built_upon_a_disk_is_used_as_it_is(tmp_path):
    fsspec.register_implementation("counting", Counting, clobber=True)
    uri = f"counting://{tmp_path}"
    assert storage.absolute(uri) == uri
    storage.write_bytes(f"{uri}/a/x", b"whole")
    assert storage.create(f"{uri}/a/y", b"mine")
    assert not storage.create(f"{uri}/a/y", b"another's")
    storage.move(f"{uri}/a/x", f"{uri}/b/x")
    assert Counting.calls == ["wb", "xb", "xb"]
    assert storage.read_bytes(f"{uri}/b/x") == b"whole"
    assert storage.names_below(f"{uri}/a", suffix="") == ["y"]
    storage.remove_folder(f"{uri}/a")
    assert not storage.exists(f"{uri}/a/y")
