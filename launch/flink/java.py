"""The Java that runs Flink here."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from l3core.errors import UsageError

# Flink 1.19 needs 11; what is tested is 17.
OLDEST = 11
# Flink reaches into the JDK; its own start scripts open the same packages (FLINK-25002).
OPENED = (
    "java.lang",
    "java.lang.invoke",
    "java.lang.reflect",
    "java.net",
    "java.io",
    "java.nio",
    "java.time",
    "java.text",
    "java.util",
    "java.util.concurrent",
    "java.util.concurrent.atomic",
    "java.util.concurrent.locks",
    "sun.nio.ch",
)
ADD_OPENS = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPENED]


def find_java() -> str:
    """The `java` of JAVA_HOME, else of PATH.

    Raises:
        UsageError: there is none, or it is too old.
    """
    java = _java()
    version = java_version(java)
    if version < OLDEST:
        raise UsageError(
            f"Flink needs Java {OLDEST} or later, and {java} is {version}: install a newer one "
            "and point JAVA_HOME at it"
        )
    return java


def java_version(java: str) -> int:
    """The major version of a `java`: 8, 11, 17, ...

    Raises:
        UsageError: it is none.
    """
    try:
        done = subprocess.run(
            [java, "-version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise UsageError(f"{java} is no Java that can be run: {error.strerror}") from None
    said = done.stderr + done.stdout
    found = re.search(r'version "(?:1\.)?(\d+)', said)
    if found is None:
        why = " ".join(said.split()) or f"it says nothing and ends with {done.returncode}"
        raise UsageError(f"{java} is no Java that can be run: {why}")
    return int(found[1])


def _java() -> str:
    home = os.environ.get("JAVA_HOME")
    if home:
        java = Path(home) / "bin" / "java"
        if not java.is_file():
            raise UsageError(f"JAVA_HOME is {home}, and there is no {java}")
        return str(java)
    found = shutil.which("java")
    if found is None:
        raise UsageError(
            "Flink needs Java, and there is no java here: install one, as Debian's "
            "openjdk-17-jre-headless, or set JAVA_HOME"
        )
    return found
