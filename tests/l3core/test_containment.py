"""What may be read below a root: nothing that only seems to lie there."""

import os

import pytest

from l3core.containment import contained, open_below
from l3core.errors import AudioError
from l3core.listing import list_inputs, parse_input
from l3core.pinned import open_pinned
from l3core.storage import StoredObject, write_bytes


@pytest.fixture
def root(tmp_path):
    """A folder with a file, and a secret beside it."""
    folder = tmp_path / "base"
    (folder / "deep/er").mkdir(parents=True)
    (folder / "a.wav").write_bytes(b"inside")
    (folder / "deep/er/b.wav").write_bytes(b"deep inside")
    (tmp_path / "base2").mkdir()  # begins with the same letters
    (tmp_path / "base2/secret.wav").write_bytes(b"secret")
    return folder


def listed(root, name):
    (found,) = contained(list_inputs([parse_input(f"{root}/{name}")]), str(root))
    return found


def read(found):
    with open_pinned(found) as file:
        return file.read()


def assert_forbidden(found, root):
    with pytest.raises(AudioError) as caught:
        read(found)
    assert caught.value.status == "forbidden"
    assert str(caught.value) == f"a link that leads out of --root {root}"


def link(place, target):
    place.symlink_to(target)
    return place.name


LINKS = {
    "a file": lambda root: link(root / "x.wav", root.parent / "base2/secret.wav"),
    "a relative one": lambda root: link(root / "x.wav", "../base2/secret.wav"),
    "a folder": lambda root: link(root / "x", root.parent / "base2") + "/secret.wav",
    "a folder below": lambda root: "deep/" + link(root / "deep/x", "../../base2") + "/secret.wav",
    "a chain": lambda root: link(
        root / "x.wav", link(root / "y.wav", link(root / "z.wav", root.parent / "base2/secret.wav"))
    ),
    "by way of inside": lambda root: link(root / "x.wav", f"{root}/deep/../../base2/secret.wav"),
    "unicode": lambda root: link(root / "Köln 日本.wav", root.parent / "base2/secret.wav"),
}


@pytest.mark.parametrize("kind", LINKS)
def test_a_link_that_leads_out_is_neither_described_nor_read(root, kind):
    found = listed(root, LINKS[kind](root))
    assert found[1:] == (0, "", None, str(root))
    assert_forbidden(found, root)


def test_a_link_to_nowhere_outside_does_not_tell_that_there_is_nothing(root):
    (root / "x.wav").symlink_to(root.parent / "nothing.wav")
    (root / "y.wav").symlink_to(root / "nothing.wav")
    found = contained(list_inputs([parse_input(f"{root}/*.wav")]), str(root))
    assert [(each.uri.removeprefix(f"{root}/"), each.absent) for each in found] == [
        ("a.wav", False),
        ("x.wav", False),
        ("y.wav", True),
    ]


@pytest.mark.parametrize("target", ["a.wav", "deep/er/b.wav", "again.wav"])
def test_a_link_that_stays_inside_is_followed(root, target):
    (root / "again.wav").symlink_to(root / "deep/er/b.wav")
    (root / "here").symlink_to(root / "deep")
    (root / "x.wav").symlink_to(target)
    assert read(listed(root, "x.wav")) == (root / target).read_bytes()
    assert read(listed(root, "here/er/b.wav")) == b"deep inside"


def test_a_root_may_itself_be_a_link(root, tmp_path):
    (tmp_path / "alias").symlink_to(root)
    (root / "x.wav").symlink_to(root / "deep/er/b.wav")
    (root / "y.wav").symlink_to(tmp_path / "base2/secret.wav")
    assert read(listed(tmp_path / "alias", "x.wav")) == b"deep inside"
    assert_forbidden(listed(tmp_path / "alias", "y.wav"), tmp_path / "alias")


def test_names_of_any_bytes(root):
    name = os.fsencode(root) + b"/caf\xe9.wav"
    os.rename(root / "a.wav", name)
    assert read(listed(root, "caf*.wav")) == b"inside"


@pytest.mark.parametrize("place", ["a.wav", "deep", "deep/er"])
def test_a_link_that_was_put_there_after_the_listing(root, tmp_path, place):
    name = place if place.endswith(".wav") else "deep/er/b.wav"
    found = listed(root, name)
    outside = tmp_path / "base2" / place.rpartition("/")[2]
    (root / place).rename(outside)
    (root / place).symlink_to(outside)  # of the same size and time
    assert_forbidden(found, root)
    assert read(found._replace(within=None))  # without --root it is followed


@pytest.mark.parametrize("place", ["a.wav", "deep", "deep/er"])
def test_a_link_that_is_put_there_while_the_file_is_opened(root, tmp_path, monkeypatch, place):
    """After the real path was looked up, and before the file is open."""
    name = place if place.endswith(".wav") else "deep/er/b.wav"
    outside = tmp_path / "base2" / place.rpartition("/")[2]
    opening = os.open

    def swap_first(*args, **kwargs):
        if not outside.exists():
            (root / place).rename(outside)
            (root / place).symlink_to(outside)
        return opening(*args, **kwargs)

    monkeypatch.setattr(os, "open", swap_first)
    with pytest.raises(AudioError, match="a link that leads out") as caught:
        open_below(f"{root}/{name}", str(root))
    assert caught.value.status == "forbidden"


def test_no_descriptor_is_left_open(root):
    before = len(os.listdir("/dev/fd"))
    for _ in range(5):
        open_below(f"{root}/deep/er/b.wav", str(root)).close()
        with pytest.raises(FileNotFoundError):
            open_below(f"{root}/deep/er/none.wav", str(root))
    assert len(os.listdir("/dev/fd")) == before


def test_a_whole_disk_as_root(root):
    found = listed(root, "a.wav")._replace(within="/")
    assert read(found) == b"inside"


@pytest.mark.parametrize(
    ("uri", "inside"),
    [
        ("gs://b/base/x.wav", True),
        ("gs://b/base//x.wav", True),
        ("gs://b/base/..x/a..wav", True),
        ("gs://b/base/a/../x.wav", True),
        ("gs://b/base/../x.wav", False),
        ("gs://b/base/../base2/x.wav", False),
        ("gs://b/base/a/../../x.wav", False),
        ("gs://b/base/../../../b/base2/x.wav", False),
    ],
)
def test_names_in_a_store_that_are_others_than_they_seem(uri, inside):
    given = StoredObject(uri, 10, "1")
    (found,) = contained([given], "gs://b/base")
    assert found == (given if inside else StoredObject(uri, 0, ""))._replace(within="gs://b/base")
    if not inside:
        with pytest.raises(AudioError, match="a name that leads out of --root gs://b/base") as caught:
            read(found)
        assert caught.value.status == "forbidden"


def test_dots_in_a_query_are_no_way_out():
    given = StoredObject("https://example.org/get?file=/../../../x", 10, "1")
    (found,) = contained([given], "https://example.org")
    assert found == given._replace(within="https://example.org")


def test_objects_in_a_store(root):
    write_bytes("memory://base/x.wav", b"inside")
    found = list_inputs([parse_input("memory://base/*")])
    assert [read(each) for each in contained(found, "memory:///base")] == [b"inside"]
