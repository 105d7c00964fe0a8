"""What there is of this machine: with and without a container's limit."""

import os

import pytest

from l3core import machine

PHYSICAL = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_this_machine_has_some():
    assert 2**28 < machine.usable_memory() <= PHYSICAL
    assert 1 <= machine.usable_cores() <= os.cpu_count()


@pytest.mark.parametrize(
    ("limits", "most"),
    [
        ([], PHYSICAL),
        (["max\n"], PHYSICAL),
        (["1000000\n"], 1_000_000),
        (["max", str(2**63 - 1)], PHYSICAL),
    ],
)
def test_a_containers_limit_counts(tmp_path, monkeypatch, limits, most):
    files = [tmp_path / str(number) for number in range(len(limits))]
    for file, text in zip(files, limits):
        file.write_text(text)
    monkeypatch.setattr(machine, "_LIMITS", (*map(str, files), str(tmp_path / "none")))
    found = machine.usable_memory()
    assert found <= most
    assert found == most or most == PHYSICAL
