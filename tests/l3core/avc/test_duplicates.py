"""Videos that are there under several names."""

import hashlib

import fsspec
import pytest

from l3core.avc.duplicates import Content, find_duplicates
from l3core.checksums import checksum_of
from l3core.storage import describe


@pytest.fixture
def content(tmp_path):
    """Makes a file, and tells of it as if it were listed."""

    def make(name, text, checksum=None):
        (tmp_path / name).write_text(text)
        return Content(name, describe(str(tmp_path / name)), checksum)

    return make


def crc32c_of(content):
    with open(content.listed.uri, "rb") as file:
        return checksum_of(file)


def test_later_ones_are_the_same_as_the_first(content):
    later = [content(*each) for each in (("b", "one"), ("a", "two"), ("c", "one"), ("d", "three"))]
    found = find_duplicates([], later)
    assert found.first == {"c": "b"}
    # of another size nothing had to be read
    assert found.checksums == {each.video_id: crc32c_of(each) for each in later[:3]}


def test_what_is_there_was_first(content):
    before = [content("z", "one")]
    found = find_duplicates(before, [content("a", "one")])
    assert found.first == {"a": "z"}
    # nothing new of its size: nothing is read
    assert find_duplicates(before, [content("b", "other")]).checksums == {}


def test_what_is_there_is_no_duplicate_of_itself(content):
    before = [content("y", "one"), content("z", "one")]
    assert find_duplicates(before, [content("a", "one")]).first == {"a": "y"}


def test_checksums_of_a_store_are_believed(content):
    """So they are not computed: these are wrong."""
    found = find_duplicates(
        [],
        [
            content("a", "one", "md5:" + "0" * 32),
            content("b", "two", "md5:" + "0" * 32),
            content("c", "six", "etag:" + "1" * 32),
            content("d", "ten", "etag:" + "1" * 32),
        ],
    )
    assert found.first == {"b": "a", "d": "c"}
    assert found.checksums["d"] == "md5:" + "1" * 32


def test_etags_of_several_parts_are_no_checksums(content):
    """The same content in other parts has another one: so contents are read."""
    found = find_duplicates([], [content("a", "one", "etag:0-2"), content("b", "one", "etag:1-3")])
    assert found.first == {"b": "a"}


def test_checksums_of_several_kinds_are_not_compared(content):
    md5 = "md5:" + hashlib.md5(b"one").hexdigest()
    same = content("b", "one")
    found = find_duplicates([], [content("a", "one", md5), same._replace(checksum=crc32c_of(same))])
    assert found.first == {"b": "a"}


def test_what_cannot_be_read_is_the_same_as_nothing(content, tmp_path):
    later = [content("a", "one"), content("b", "one")]
    (tmp_path / "b").unlink()
    assert find_duplicates([], later).first == {}


def test_empty_files_are_compared_with_nothing(content):
    assert find_duplicates([], [content("a", ""), content("b", "")]) == ({}, {})


def test_objects_of_a_store():
    fs = fsspec.filesystem("memory")
    for name, text in (("a", b"one"), ("b", b"two"), ("c", b"one")):
        fs.pipe_file(f"/duplicates/{name}", text)
    later = [Content(n, describe(f"memory:///duplicates/{n}"), None) for n in "abc"]
    assert find_duplicates([], later).first == {"c": "a"}
