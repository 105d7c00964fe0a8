"""What is put in place takes the place of files, and of nothing else."""

import os
import stat

import pytest

from l3core import storage


@pytest.mark.parametrize("kind", ["pipe", "link to a pipe", "link to standard output", "folder"])
def test_no_file_takes_the_place_of_what_is_no_file(tmp_path, kind):
    place = tmp_path / "place"
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "link to a pipe":
        os.mkfifo(tmp_path / "pipe")
        place.symlink_to(tmp_path / "pipe")
    elif kind == "link to standard output":  # /dev/stdout, which may itself lead to a file
        place.symlink_to("/proc/self/fd/1")
    else:
        place.mkdir()
    before = stat.S_IFMT(os.lstat(place).st_mode)
    with pytest.raises(OSError, match="no regular file"), storage.writing(str(place)):
        raise AssertionError("it is told before there is anything to write")
    assert stat.S_IFMT(os.lstat(place).st_mode) == before
    assert {each.name for each in tmp_path.iterdir()} <= {"place", "pipe"}


@pytest.mark.parametrize("target", ["there", "gone"])
def test_a_link_is_replaced_and_what_it_leads_to_is_left(tmp_path, target):
    (tmp_path / "there").write_bytes(b"old")
    (tmp_path / "place").symlink_to(tmp_path / target)
    with storage.writing(str(tmp_path / "place")) as file:
        file.write(b"new")
    assert not (tmp_path / "place").is_symlink()
    assert (tmp_path / "place").read_bytes() == b"new"
    assert (tmp_path / "there").read_bytes() == b"old"
