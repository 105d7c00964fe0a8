"""requirements.lock: what is installed is what was looked at, file by file."""

import re
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[2]
LINUX = {"python_version": "3.11", "python_full_version": "3.11.9", "implementation_name": "cpython"} | {
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
    "os_name": "posix",
    "platform_python_implementation": "CPython",
}
ENTRY = re.compile(r"([a-z0-9-]+)==([0-9][\w.+!-]*)((?: --hash=sha256:[0-9a-f]{64})*)")


def entries(text):
    """name -> (version, hashes) of a lock.

    Raises:
        ValueError: a line is something else: a URL, an index, a version without `==`.
    """
    found = {}
    joined = re.sub(r"\s*\\\n\s*", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    for line in joined.splitlines():
        match = ENTRY.fullmatch(line.strip())
        if match is None:
            raise ValueError(f"no entry of a lock: {line}")
        found[match[1]] = match[2], match[3].split()
    return found


def asked_for(*extras):
    """What setup.py asks for, extras included."""
    source = (REPOSITORY / "setup.py").read_text(encoding="utf-8")
    names = {"__file__": str(REPOSITORY / "setup.py"), "__name__": "setup"}
    exec(source.partition("\nsetup(")[0], names)  # the lists alone
    return [*names["REQUIRES"], *(each for extra in extras for each in names["EXTRAS"][extra])]


LOCK = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8")
LOCKED = entries(LOCK)


def lacking(requirements, locked):
    """Those that a lock does not have in their range."""
    found = []
    for text in requirements:
        requirement = Requirement(text)
        if not _applies(requirement):
            continue
        version, _ = locked.get(canonicalize_name(requirement.name), (None, ()))
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            found.append(text)
    return found


def _applies(requirement):
    return requirement.marker is None or requirement.marker.evaluate(LINUX | {"extra": ""})


def test_the_lock_has_all_that_setup_asks_for_in_its_ranges():
    assert lacking(asked_for("azure", "dataflow", "openvino", "s3"), LOCKED) == []


def test_every_entry_has_hashes_and_none_says_where_from():
    assert len(LOCKED) > 50
    assert [name for name, (_, hashes) in LOCKED.items() if not hashes] == []
    assert not re.search(r"://|--(extra-)?index|--find-links|--trusted-host| @ ", LOCK)


def test_the_lock_is_closed():
    """What its packages ask for is in it, too: pip refuses to install anything that has no hash."""
    known = 0
    for name in LOCKED:
        try:
            needed = requires(name) or []
        except PackageNotFoundError:  # an extra that is not installed here
            continue
        known += 1
        wanted = [each for each in map(Requirement, needed) if _applies(each)]
        lost = [str(each) for each in wanted if canonicalize_name(each.name) not in LOCKED]
        assert lost == [], name
    assert known > 50


@pytest.mark.parametrize(
    "text",
    [
        "numpy>=2\n",
        "numpy @ https://example.org/n.whl\n",
        "--index-url https://example.org\nnumpy==2.0\n",
        "numpy==2.0 --hash=md5:0123\n",
    ],
)
def test_what_is_no_pinned_entry_is_found(text):
    with pytest.raises(ValueError, match="no entry of a lock"):
        entries(text)


def test_what_a_lock_lacks_is_found():
    changed = LOCKED | {"numpy": ("1.26.0", ["x"])}
    changed.pop("soundfile")
    assert [each.partition(">")[0] for each in lacking(asked_for(), changed)] == ["numpy", "soundfile"]
