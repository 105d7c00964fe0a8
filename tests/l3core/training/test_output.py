"""Whose a folder is, and what is remembered of how it came about."""

from dataclasses import replace

import pytest

from l3core.errors import UsageError
from l3core.training.output import Identity, OutputPaths, check_identity, claim, read_identity
from l3core.training.settings import TrainingSettings

BEGUN = Identity(TrainingSettings(epochs=3), "pairs", "abc", 10, {"keras": "3.1"}, 4)


@pytest.fixture
def paths(tmp_path):
    found = OutputPaths(str(tmp_path))
    assert claim(found, BEGUN) == BEGUN
    return found


def test_another_number_of_devices_is_refused(paths):
    assert BEGUN.devices == "4, normalising 16 pairs each (the paper: 4, 16 each)"
    assert check_identity(paths, replace(BEGUN, replicas=None)) == BEGUN  # it does not say
    with pytest.raises(UsageError, match=r"^--devices: 1 here, .* was begun on 4, each normalising"):
        claim(paths, replace(BEGUN, replicas=1))


def test_versions_that_it_goes_on_with_are_remembered(paths):
    for keras in ("3.1", "3.2", "3.2", "3.1"):
        claim(paths, replace(BEGUN, versions={"keras": keras}))
    found = read_identity(paths)
    assert found.versions == {"keras": "3.1"}
    assert found.resumed == ({"keras": "3.2"}, {"keras": "3.1"})


@pytest.mark.parametrize(("asked", "done", "kept"), [(5, 3, 5), (2, 3, 3), (2, 1, 2)])
def test_its_epochs_are_those_that_are_asked_for_and_never_fewer_than_are_done(paths, asked, done, kept):
    claim(paths, replace(BEGUN, settings=TrainingSettings(epochs=asked)), epochs_done=done)
    assert read_identity(paths).settings.epochs == kept
