"""The job server: the Java program that hands Beam's pipelines to Flink, and is a whole Flink besides.

It is looked for in three places: a jar that is named, what `l3flow flink install` has made from the
`pom.xml` beside this file, and Beam's own download.
"""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from l3core.errors import FetchError, UsageError

HERE = Path(__file__).parent
POM = HERE / "pom.xml"
CHECKSUMS = HERE / "jars.sha256"
INSTALLED_MINOR = "1.19"
MAIN_CLASS = "org.apache.beam.runners.flink.FlinkJobServerDriver"
# One line of a manifest has at most 72 bytes; longer ones go on after a space (the JAR specification).
MANIFEST_LINE = 72
MAVEN = ["--batch-mode", "--no-transfer-progress"]


class JobServerJar(NamedTuple):
    """A job server.

    Attributes:
        path: of a jar that `java -jar` runs.
        minor: of the Flink it is made for, as 1.19; None: not known.
        origin: where it comes from, in words.
    """

    path: Path
    minor: str | None
    origin: str


def installed_folder() -> Path:
    """Where `install` puts the jars: a folder of the user's cache, named after their checksums."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    digest = hashlib.sha256(POM.read_bytes() + CHECKSUMS.read_bytes()).hexdigest()[:16]
    return Path(base) / "l3flow" / "flink" / f"{INSTALLED_MINOR}-{digest}"


def installed() -> JobServerJar | None:
    """What `install` has made; None if it has not."""
    jar = installed_folder() / "job-server.jar"
    return JobServerJar(jar, INSTALLED_MINOR, "l3flow flink install") if jar.is_file() else None


def class_path() -> str:
    """Class path of a Flink cluster of the installed jars.

    Raises:
        UsageError: they are not installed.
    """
    if installed() is None:
        raise UsageError("Flink is not installed: l3flow flink install fetches it, 125 MB")
    return str(installed_folder() / "lib" / "*")


def install(say: Callable[[str], None]) -> JobServerJar:
    """Fetch the jars by Maven and hold them against their checksums; once.

    Args:
        say: told what goes on.

    Raises:
        UsageError: there is no Maven.
        FetchError: it failed, or a jar is not what it was.
    """
    if there := installed():
        return there
    maven = shutil.which("mvn")
    if maven is None:
        raise UsageError(
            "there is no mvn here: install Maven, as Debian's maven, or name a job server's jar of Beam "
            "with --flink-job-server-jar"
        )
    folder = installed_folder()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".install-") as work:
        made = Path(work) / "made"
        say("fetching Flink and Beam's runner by Maven, 125 MB")
        _fetch(maven, made / "lib")
        _check(made / "lib", checksums())
        write_launcher(made / "lib", made / "job-server.jar")
        if installed() is None:  # else another installation was faster
            shutil.rmtree(folder, ignore_errors=True)
            made.rename(folder)
    return JobServerJar(folder / "job-server.jar", INSTALLED_MINOR, "l3flow flink install")


def find_job_server(given: str | None, cluster_minor: str | None) -> JobServerJar:
    """The job server for a cluster.

    Args:
        given: path that `--flink-job-server-jar` names; None: none.
        cluster_minor: of the cluster's Flink, as 1.19; None: any will do.

    Raises:
        UsageError: it is for another Flink than the cluster's, or there is none.
    """
    found = _given(given) if given else installed()
    if found is None:
        return _download(cluster_minor or INSTALLED_MINOR)
    if cluster_minor and found.minor and found.minor != cluster_minor:
        if given is None:
            return _download(cluster_minor)
        raise UsageError(
            f"--flink-job-server-jar {given} is for Flink {found.minor}, the cluster is "
            f"{cluster_minor}: both must be of one minor version"
        )
    return found


def checksums() -> dict[str, str]:
    """SHA-256 of each jar, by name."""
    lines = (line.split() for line in CHECKSUMS.read_text(encoding="ascii").splitlines())
    return {name: digest for digest, name in lines}


def write_launcher(lib: Path, jar: Path) -> None:
    """Write a jar that `java -jar` runs: a manifest with the main class, and the jars beside it.

    Args:
        lib: folder of the jars, in the folder of `jar` or below.
        jar: to write.
    """
    names = sorted(path.relative_to(jar.parent).as_posix() for path in lib.glob("*.jar"))
    lines = ["Manifest-Version: 1.0", f"Main-Class: {MAIN_CLASS}", f"Class-Path: {' '.join(names)}"]
    manifest = "".join(_folded(line) for line in lines) + "\r\n"
    with zipfile.ZipFile(jar, "w") as archive:
        archive.writestr("META-INF/MANIFEST.MF", manifest)


def _folded(line: str) -> str:
    parts = [line[:MANIFEST_LINE]]
    rest = line[MANIFEST_LINE:]
    width = MANIFEST_LINE - 1
    parts += [" " + rest[start : start + width] for start in range(0, len(rest), width)]
    return "".join(part + "\r\n" for part in parts)


def _fetch(maven: str, lib: Path) -> None:
    command = [maven, *MAVEN, "--file", str(POM), "dependency:copy-dependencies"]
    command += [f"-DoutputDirectory={lib}", "-DincludeScope=runtime"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        errors = [line for line in done.stdout.splitlines() if line.startswith("[ERROR]")]
        why = errors[0].removeprefix("[ERROR]") if errors else done.stderr
        why = " ".join(why.split()) or f"it says nothing and ends with {done.returncode}"
        raise FetchError(f"Maven could not fetch the jars of {POM}: {why}")


def _check(lib: Path, wanted: dict[str, str]) -> None:
    """Hold that the folder has these jars and no others."""
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in lib.glob("*.jar")}
    wrong = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    if wrong:
        name = wrong[0]
        what = "is not what it was when it was tested"
        if name not in found:
            what = "is missing"
        elif name not in wanted:
            what = "is none of them"
        raise FetchError(f"Maven fetched other jars than {CHECKSUMS.name} lists: {name} {what}")


def _given(text: str) -> JobServerJar:
    path = Path(text)
    minor = re.search(r"flink-(\d+\.\d+)", path.name)
    if not path.is_file():
        raise UsageError(f"--flink-job-server-jar {text}: there is no such file")
    if path.resolve() == (installed_folder() / "job-server.jar").resolve():
        return JobServerJar(path, INSTALLED_MINOR, "given")
    return JobServerJar(path, minor[1] if minor else None, "given")


def _download(minor: str) -> JobServerJar:
    """Beam's own download, which keeps what it has fetched."""
    from apache_beam.utils.subprocess_server import JavaJarServer

    target = f":runners:flink:{minor}:job-server:shadowJar"
    try:
        path = JavaJarServer.local_jar(JavaJarServer.path_to_beam_jar(target))
    except Exception as error:  # whatever a download fails with: Beam wraps it in RuntimeError
        why = str(error).partition(" Also failed")[0].removesuffix(".")
        raise UsageError(
            f"there is no job server for Flink {minor}: l3flow flink install makes one for "
            f"{INSTALLED_MINOR}, --flink-job-server-jar names one, and Beam's download failed ({why})"
        ) from None
    return JobServerJar(Path(path), minor, "Beam's download")
