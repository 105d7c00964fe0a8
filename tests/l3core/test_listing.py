"""Listing: what patterns mean, in which order, and what they share."""

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from l3core.clip_ids import clip_id_of
from l3core.errors import UsageError
from l3core.listing import common_root, list_inputs, parse_pattern
from l3core.storage import describe, write_bytes
from tests.corpus import upload


def make(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def listed(folder, *patterns):
    """Paths below `folder` of what the patterns name."""
    found = list_inputs([parse_pattern(f"{folder}/{pattern}".rstrip("/")) for pattern in patterns])
    return [one.uri.removeprefix(f"{folder}/") for one in found]


ORDER = ["A.wav", "a b.wav", "a-b.wav", "a.wav", "a/b.wav", "a/b/c.wav", "a0.wav", "é.wav"]


def test_the_order_is_that_of_whole_paths(tmp_path):
    make(tmp_path, *ORDER)
    assert sorted(ORDER) == ORDER  # "-" < "." < "/" < "0"
    assert listed(tmp_path, "") == ORDER
    assert listed(tmp_path, "**/*.wav") == ORDER
    assert listed(tmp_path, "a/**", "*.wav", "") == ORDER


@given(
    st.sets(st.text("ab-./0", min_size=1, max_size=6).map(lambda text: text + ".wav"), min_size=1),
)
def test_any_names_are_in_order(names):
    fs = fsspec.filesystem("memory")
    if fs.exists("/order"):
        fs.rm("/order", recursive=True)
    kept = {fs._strip_protocol("/order/" + name) for name in names}
    kept = {name for name in kept if "/." not in name and "//" not in name}
    files = {name for name in kept if not any(other.startswith(name + "/") for other in kept)}
    for name in files:
        fs.pipe_file(name, b"x")
    found = [one.uri for one in list_inputs([parse_pattern("memory://order/**")])]
    assert found == sorted("memory://" + name for name in files)


@pytest.mark.parametrize("store", ["disk", "memory"])
def test_an_object_is_what_the_store_says_of_it(tmp_path, store):
    uri = f"{tmp_path}/a.wav" if store == "disk" else "memory:///said/a.wav"
    write_bytes(uri, b"12345")
    (found,) = list_inputs([parse_pattern(uri)])
    assert found == describe(uri)  # or it would count as changed when it is opened
    assert (found.uri, found.size_bytes) == (uri, 5)
    if store == "disk":
        assert found.version == str((tmp_path / "a.wav").stat().st_mtime_ns)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.wav", ["a.wav", "b1.wav", "b2.wav"]),
        ("b?.wav", ["b1.wav", "b2.wav"]),
        ("b[2-9].wav", ["b2.wav"]),
        ("b[!2].wav", ["b1.wav"]),
        ("a.wav", ["a.wav"]),
        ("*/x.wav", ["sub/x.wav"]),
        ("**/x.wav", ["sub/deep/x.wav", "sub/x.wav"]),
        ("sub/**", ["sub/deep/x.wav", "sub/notes.txt", "sub/x.wav"]),
        ("sub", ["sub/deep/x.wav", "sub/x.wav"]),  # a folder: audio only
        ("sub/notes.txt", ["sub/notes.txt"]),  # named: whatever it is
        ("a?wav", ["a.wav"]),
        ("sub?x.wav", []),  # no wildcard but ** crosses folders
        ("sub[/]x.wav", []),
        ("s*x.wav", []),
        ("none/*.wav", []),
        ("none.wav", []),
    ],
)
def test_patterns(tmp_path, pattern, names):
    make(tmp_path, "a.wav", "b1.wav", "b2.wav", "sub/x.wav", "sub/deep/x.wav", "sub/notes.txt")
    assert listed(tmp_path, pattern) == names


def test_extensions_of_a_folder_are_of_any_case(tmp_path):
    make(tmp_path, "a.WAV", "b.Flac", "c.mp3", "d.ogg", "e.txt", "f", "wav")
    assert listed(tmp_path, "") == ["a.WAV", "b.Flac", "c.mp3", "d.ogg"]


def test_names_with_brackets_and_stars_may_be_spelled_literally(tmp_path):
    make(tmp_path, "take [1].wav", "take 1.wav", "what?.wav", "whats.wav", "in [x]/a.wav")
    assert listed(tmp_path, "take [1].wav") == ["take [1].wav"]
    assert listed(tmp_path, "what?.wav") == ["what?.wav"]
    assert listed(tmp_path, "in [x]") == ["in [x]/a.wav"]
    assert listed(tmp_path, "take [[]1].wav") == ["take [1].wav"]


def test_hidden_names_count_only_where_the_dot_is_spelled(tmp_path):
    make(tmp_path, "a.wav", ".b.wav", ".c/d.wav", "e/.f.wav")
    assert listed(tmp_path, "") == ["a.wav"]
    assert listed(tmp_path, "**/*.wav") == ["a.wav"]
    assert listed(tmp_path, ".*.wav") == [".b.wav"]
    assert listed(tmp_path, ".b.wav") == [".b.wav"]
    assert listed(tmp_path, ".c/*.wav") == [".c/d.wav"]
    assert listed(tmp_path, ".c") == [".c/d.wav"]


def test_a_corpus_below_a_hidden_folder_hides_its_own(tmp_path):
    make(tmp_path, ".cache/corpus/a.wav", ".cache/corpus/._a.wav", ".cache/corpus/.git/b.wav")
    assert listed(tmp_path / ".cache/corpus", "") == ["a.wav"]
    assert listed(tmp_path / ".cache/corpus", "*.wav") == ["a.wav"]
    assert listed(tmp_path / ".cache/corpus", "**/*.wav") == ["a.wav"]


def test_several_patterns_name_a_file_once(tmp_path):
    make(tmp_path, "a.wav", "b.wav", "c/d.wav")
    assert listed(tmp_path, "*.wav", "a.wav", "", "**") == ["a.wav", "b.wav", "c/d.wav"]


def test_linked_folders_are_followed_but_not_in_circles(tmp_path):
    make(tmp_path, "real/a.wav", "elsewhere/b.wav")
    (tmp_path / "real/loop").symlink_to(tmp_path / "real")
    (tmp_path / "real/up").symlink_to(tmp_path)
    (tmp_path / "real/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "real")
    assert listed(tmp_path / "real", "") == ["a.wav", "linked/b.wav", "up/elsewhere/b.wav"]
    assert listed(tmp_path / "real", "*/*.wav") == ["linked/b.wav"]


def test_it_streams(tmp_path):
    """The first object is there before later folders are looked at."""
    make(tmp_path, "a/1.wav", "b/2.wav")
    found = list_inputs([parse_pattern(str(tmp_path))])
    assert next(found).uri.endswith("a/1.wav")
    make(tmp_path, "b/1.wav")
    assert [one.uri.removeprefix(f"{tmp_path}/") for one in found] == ["b/1.wav", "b/2.wav"]


@pytest.mark.parametrize(
    ("text", "message"), [("", "empty"), ("  ", "empty"), ("/x/a**b/*.wav", r"/x/a\*\*b/\*.wav: ")]
)
def test_patterns_that_cannot_be_read(text, message):
    with pytest.raises(UsageError, match=message):
        parse_pattern(text)


@pytest.mark.parametrize(
    ("patterns", "root"),
    [
        (["/x/y/*.wav"], "/x/y"),
        (["/x/y/a.wav"], "/x/y"),
        (["/x/y/*/z/*.wav"], "/x/y"),
        (["/x/y/**", "/x/z/*.wav"], "/x"),
        (["/x/day1/*.wav", "/x/day10/*.wav"], "/x"),  # folders, not letters
        (["/x/a*/*.wav", "/y/*.wav"], "/"),
        (["/*.wav"], "/"),
        (["memory://x/y/*.wav", "memory://x/z/*.wav"], "memory:///x"),
        (["memory://x/y/*.wav", "memory://z/*.wav"], "memory:///"),
    ],
)
def test_common_root(patterns, root):
    assert common_root(map(parse_pattern, patterns)) == root


def test_the_root_of_a_folder_is_the_folder(tmp_path):
    make(tmp_path, "a/b.wav")
    assert common_root([parse_pattern(str(tmp_path / "a"))]) == str(tmp_path / "a")


@pytest.mark.parametrize("slashes", ["", "/", "//"])
def test_a_folder_of_a_store_may_end_in_slashes(store, tmp_path, slashes):
    _, bucket = store
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio/a.wav").write_bytes(b"a")
    upload(tmp_path, bucket)
    folder = parse_pattern(f"{bucket}/audio{slashes}")
    assert [one.uri for one in list_inputs([folder])] == [f"{bucket}/audio/a.wav"]
    assert folder.names(f"{bucket}/audio/b.wav")
    assert not folder.spelt_out
    assert common_root([folder]) == f"{bucket}/audio"


def test_common_root_of_two_stores():
    with pytest.raises(UsageError, match=r"several stores .*memory.*give --root"):
        common_root([parse_pattern("memory://x/*.wav"), parse_pattern("/x/*.wav")])


def test_clip_ids():
    assert clip_id_of("/x/y/z.wav", "/x") == "y/z.wav"
    assert clip_id_of("/x/y/z.wav", "/x/") == "y/z.wav"
    assert clip_id_of("/z.wav", "/") == "z.wav"
    assert clip_id_of("gs://bucket/a/z.wav", "gs://bucket") == "a/z.wav"
    assert clip_id_of("gs://bucket/a/z.wav", "gs://") == "bucket/a/z.wav"
    for outside in ("/xy/z.wav", "/x", "/z.wav", "gs://x/z.wav"):
        with pytest.raises(UsageError, match="not below the root /x"):
            clip_id_of(outside, "/x")
