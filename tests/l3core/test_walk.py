"""Walking a store: in the order of whole paths, page by page, several prefixes at once."""

import threading
import time
from itertools import islice

import pytest

from l3core import walk as module
from l3core.errors import StorageError, UsageError
from l3core.stores import filesystem
from l3core.walk import files_below, walk

NAMES = [
    *("a.wav", "a/1.wav", "a/2.wav", "a/b/3.wav", "a-b.wav", "a/ü.wav", "zz%20=' #1.wav"),
    *("b/.hidden.wav", "b/x.wav", "😀/y.wav", "ﬀ/z.wav", "c//empty part.wav"),
    *(f"many/{number:02d}.wav" for number in range(12)),
]


def put(bucket, names):
    fs, path = filesystem(bucket)
    for name in names:
        fs.pipe_file(f"{path}/{name}", name.encode())


def names_of(infos, folder):
    return [info["name"].removeprefix(folder + "/") for info in infos]


def walked(uri, *, deep=True, hidden=True):
    fs, path = filesystem(uri)
    return names_of(walk(fs, path, deep=deep, hidden=hidden), path)


@pytest.mark.parametrize("page", [1, 2, 5, 1000])
def test_the_order_is_that_of_whole_paths(bucket, monkeypatch, page):
    monkeypatch.setattr(module, "PAGE_OBJECTS", page)
    put(f"{bucket}/top", NAMES)
    put(bucket, ["top.wav", "top-1.wav", "other/x.wav"])
    assert walked(f"{bucket}/top") == sorted(NAMES)
    assert walked(f"{bucket}/top", hidden=False) == sorted(set(NAMES) - {"b/.hidden.wav"})
    assert walked(f"{bucket}/top", deep=False) == sorted(n for n in NAMES if "/" not in n)
    assert walked(f"{bucket}/nothing") == []
    assert len(walked(bucket)) == len(NAMES) + 3


def test_an_object_that_stands_for_a_folder_is_none(bucket):
    put(bucket, ["top/a.wav"])
    fs, path = filesystem(bucket)
    fs.pipe_file(f"{path}/top/", b"")
    fs.pipe_file(f"{path}/top/sub/", b"")
    assert walked(f"{bucket}/top") == ["a.wav"]


def test_descriptions_say_what_single_ones_say(bucket):
    put(bucket, ["x/a b.wav"])
    fs, path = filesystem(bucket)
    (found,) = walk(fs, path, deep=True, hidden=False)
    single = fs.info(f"{path}/x/a b.wav")
    for key in ("name", "size", "type", "generation", "crc32c", "ETag"):
        assert found.get(key) == single.get(key)


def test_a_page_is_asked_for_when_it_is_needed(gcs, monkeypatch):
    monkeypatch.setattr(module, "PAGE_OBJECTS", 10)
    bucket = gcs.make_bucket("pages-of-ten")
    put(bucket, [f"{number:02d}.wav" for number in range(60)])
    gcs.clear()
    fs, path = filesystem(bucket)
    infos = walk(fs, path, deep=True, hidden=False)
    assert names_of(islice(infos, 3), path) == ["00.wav", "01.wav", "02.wav"]
    time.sleep(0.2)
    assert len(gcs.log) <= 3  # two, and one ahead
    infos.close()


def test_several_prefixes_are_listed_at_once(gcs):
    bucket = gcs.make_bucket("many-prefixes")
    put(bucket, [f"p{number:02d}/a.wav" for number in range(20)])
    inside, most, lock = [0], [0], threading.Lock()

    def slowly():
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        time.sleep(0.1)
        with lock:
            inside[0] -= 1

    gcs.fault("prefix=p", call=slowly)
    assert len(walked(bucket)) == 20
    assert most[0] >= module.FOLDERS_AHEAD // 2
    gcs.clear()


def test_a_store_that_lists_in_another_order_is_refused():
    pages = [[module._Entry("b", {})], [module._Entry("a", {})]]
    with pytest.raises(StorageError, match="a is listed behind b"):
        list(module._in_order(pages))


def test_folders_that_a_page_names_too_early_wait_for_their_place():
    """As the emulator pages; Google counts them to the page's entries."""
    pages = [["a", "c", "d/", "f/"], ["e", "f/", "g"], ["h/", "i/"]]
    entries = module._in_order([[module._Entry(name, {}) for name in page] for page in pages])
    assert [entry.name for page in entries for entry in page] == [
        *("a", "c", "d/", "e", "f/", "g", "h/", "i/")
    ]


def test_a_folder_that_cannot_be_listed_is_no_empty_one(gcs):
    bucket = gcs.make_bucket("partly-forbidden")
    put(bucket, ["top/a.wav", "top/sub/b.wav", "top/.hidden/c.wav"])
    assert files_below(f"{bucket}/top") == ["a.wav", "sub/b.wav"]
    gcs.fault("prefix=top/sub/", status=403)
    with pytest.raises(PermissionError):
        files_below(f"{bucket}/top")
    gcs.clear()
    with pytest.raises(UsageError, match="nothing is no folder"):
        files_below(f"{bucket}/nothing")
