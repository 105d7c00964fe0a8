"""numba has a folder where it would find none; tests/launch/docker/test_layer.py loads it then."""

import os

import pytest

from l3core import numba_cache
from l3core.numba_cache import VARIABLE, find_numba_a_cache


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """No place of numba's own; and what is to be removed at the end."""
    # root may write everywhere, so that there are no places has to be said
    monkeypatch.setattr(numba_cache, "_own_places", list)
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    at_end = []
    monkeypatch.setattr("atexit.register", lambda *call: at_end.append(call))
    return at_end


def test_a_folder_of_its_own_is_named_and_removed(nowhere, tmp_path):
    find_numba_a_cache()
    (folder,) = tmp_path.iterdir()
    assert os.environ.pop(VARIABLE) == str(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    [(remove, path, process)] = nowhere
    remove(path, process + 1)  # in a process that was forked
    assert folder.exists()
    remove(path, process)
    assert not folder.exists()


def test_one_that_is_named_stays(nowhere, monkeypatch):
    monkeypatch.setenv(VARIABLE, "/here")
    find_numba_a_cache()
    assert os.environ[VARIABLE] == "/here"
    assert nowhere == []


def test_numbas_own_places_will_do(monkeypatch, tmp_path):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "new" / "cache"))
    assert numba_cache._own_places()[-1] == tmp_path / "new" / "cache"
    assert (numba_cache._own_places()[0] / "util/utils.py").is_file()  # librosa
    find_numba_a_cache()
    assert VARIABLE not in os.environ
