"""Which Java is taken, and which is refused."""

import os

import pytest

from l3core.errors import UsageError
from launch.flink.java import find_java, java_version


def fake(folder, version, name="java"):
    """A program that says its version as Java does, on standard error."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\ncat >&2 <<'END'\n{version}\nEND\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """No Java in PATH, and no JAVA_HOME; `cat` is there."""
    (tmp_path / "none").mkdir()
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path / "bin"), str(tmp_path / "none")]))
    return tmp_path


@pytest.fixture(autouse=True)
def shell(monkeypatch, nowhere):
    os.symlink("/bin/cat", nowhere / "none/cat")


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ('java version "1.8.0_392"\nJava(TM) SE Runtime Environment (build 1.8.0_392-b08)', 8),
        ('openjdk version "11.0.21" 2023-10-17', 11),
        ('openjdk version "17.0.15" 2025-04-15\nOpenJDK Runtime Environment', 17),
        ('openjdk version "21" 2023-09-19', 21),
        ('openjdk version "24-ea" 2025-03-18', 24),
        ('Picked up JAVA_TOOL_OPTIONS: -Xmx1g\nopenjdk version "17.0.15" 2025-04-15', 17),
    ],
)
def test_versions(nowhere, said, version):
    assert java_version(fake(nowhere, said)) == version


def test_the_real_one(monkeypatch):
    monkeypatch.setenv("PATH", os.defpath)
    assert java_version(find_java()) >= 11


@pytest.mark.parametrize("version", ["11.0.21", "17.0.15", "21"])
def test_the_java_of_the_path(nowhere, version):
    java = fake(nowhere / "bin", f'openjdk version "{version}"')
    assert find_java() == java


def test_an_old_one_is_refused(nowhere):
    java = fake(nowhere / "bin", 'java version "1.8.0_392"')
    with pytest.raises(UsageError, match=f"Flink needs Java 11 or later, and {java} is 8: install"):
        find_java()


def test_java_home_goes_first(nowhere, monkeypatch):
    fake(nowhere / "bin", 'java version "1.8.0_392"')
    java = fake(nowhere / "home/bin", 'openjdk version "17.0.15"')
    monkeypatch.setenv("JAVA_HOME", str(nowhere / "home"))
    assert find_java() == java


def test_a_java_home_without_java(nowhere, monkeypatch):
    fake(nowhere / "bin", 'openjdk version "17.0.15"')  # it is not what was asked for
    monkeypatch.setenv("JAVA_HOME", "/no/such/folder")
    with pytest.raises(UsageError, match="JAVA_HOME is /no/such/folder, and there is no /no/such/f"):
        find_java()


def test_no_java():
    with pytest.raises(UsageError, match="there is no java here: install one, as Debian's openjdk-17"):
        find_java()


def test_something_else_is_no_java(nowhere):
    java = fake(nowhere / "bin", "Error: no VM\n  in this image")
    with pytest.raises(UsageError) as caught:
        find_java()
    assert str(caught.value) == f"{java} is no Java that can be run: Error: no VM in this image"


def test_something_that_says_nothing(nowhere):
    java = fake(nowhere, "")
    with open(java, "a") as script:
        script.write("exit 3\n")
    with pytest.raises(UsageError, match="it says nothing and ends with 3"):
        java_version(java)


def test_a_file_that_cannot_be_run(nowhere, monkeypatch):
    java = nowhere / "home/bin/java"
    fake(java.parent, "")
    java.chmod(0o644)
    monkeypatch.setenv("JAVA_HOME", str(nowhere / "home"))
    with pytest.raises(UsageError, match="is no Java that can be run: Permission denied"):
        find_java()
    java.write_bytes(b"\x7fELF")
    java.chmod(0o755)
    with pytest.raises(UsageError, match="is no Java that can be run: Exec format error"):
        find_java()
