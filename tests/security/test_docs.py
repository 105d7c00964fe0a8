"""docs/security.md names tests: each of them exists, and each test of a threat is named."""

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs/security.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`(tests/[\w/]+\.py)(?:::(test_\w+))?`", PAGE)


def names_in(path):
    """Names of a file's tests."""
    tree = ast.parse((REPOSITORY / path).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_a_test_that_is_named_exists(path, name):
    assert (REPOSITORY / path).is_file()
    assert not name or name in names_in(path)


def test_every_threat_has_its_parts_and_tests():
    threats = [part for part in re.split(r"^###? ", PAGE, flags=re.MULTILINE) if "**Attacker**" in part]
    assert len(threats) >= 9
    for threat in threats:
        title = threat.partition("\n")[0]
        for part in ("**Attacker**: ", "**We do**: ", "**We do not**: ", "**Tests**: "):
            assert threat.count(part) == 1, (title, part)
        assert re.search(r"`tests/\S+::test_\w+`", threat.partition("**Tests**")[2]), title


def test_every_file_of_hostile_tests_is_named():
    files = {path.relative_to(REPOSITORY).as_posix() for path in Path(__file__).parent.glob("test_*.py")}
    assert files == {path for path, _ in NAMED if path.startswith("tests/security/")}
