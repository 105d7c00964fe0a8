"""The job server's jars: where they are looked for, and that they are what was tested."""

import gc
import hashlib
import os
import subprocess
import warnings
import zipfile
from pathlib import Path

import pytest
from apache_beam.utils.subprocess_server import JavaJarServer
from apache_beam.version import __version__ as beam_version

from l3core.errors import FetchError, UsageError
from launch.flink import jars
from launch.flink.jars import (
    class_path,
    find_job_server,
    install,
    installed,
    installed_folder,
    write_launcher,
)
from launch.flink.java import find_java
from launch.main import main
from tests.web import web_server

JARS = {"one-1.0.jar": b"one", "two-2.0.jar": b"two"}
# stands for Maven: copies the jars beside it to where it is told to
MVN = """#!/bin/sh
for argument; do
    case "$argument" in
        -DoutputDirectory=*) to="${argument#*=}" ;;
        --file) pom=next ;;
        *) [ "$pom" = next ] && pom="$argument" ;;
    esac
done
[ -f "$pom" ] || exit 9
mkdir -p "$to" && cp "$(dirname "$0")"/repository/*.jar "$to"
"""


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """A cache, Beam's cache and a PATH of this test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path / "bin"), os.defpath]))
    monkeypatch.setattr(JavaJarServer, "JAR_CACHE", str(tmp_path / "beam"))
    listed = tmp_path / "jars.sha256"
    lines = (f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in JARS.items())
    listed.write_text("".join(lines))
    monkeypatch.setattr(jars, "CHECKSUMS", listed)
    return tmp_path


def maven(folder, script=MVN, **files):
    """Put a `mvn` in PATH that fetches these jars."""
    (folder / "bin/repository").mkdir(parents=True, exist_ok=True)
    (folder / "bin/mvn").write_text(script)
    (folder / "bin/mvn").chmod(0o755)
    for name, content in (JARS | files).items():
        if content is not None:
            (folder / "bin/repository" / name).write_bytes(content)


@pytest.fixture
def central(monkeypatch):
    """What Beam takes for Maven Central and its mirror."""
    with web_server() as server:
        monkeypatch.setattr(JavaJarServer, "MAVEN_CENTRAL_REPOSITORY", f"{server.url}/central")
        monkeypatch.setattr(JavaJarServer, "GOOGLE_MAVEN_MIRROR", f"{server.url}/mirror")
        yield server
    with warnings.catch_warnings():  # Beam does not close what answered 404
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def beam_jar(minor):
    artifact = f"beam-runners-flink-{minor}-job-server"
    return f"org/apache/beam/{artifact}/{beam_version}/{artifact}-{beam_version}.jar"


def test_installing(places):
    maven(places)
    said = []
    jar = install(said.append)
    assert jar == installed()
    assert jar.path == installed_folder() / "job-server.jar"
    assert (jar.minor, jar.origin) == ("1.19", "l3flow flink install")
    assert said == ["fetching Flink and Beam's runner by Maven, 125 MB"]
    lib = installed_folder() / "lib"
    assert {path.name: path.read_bytes() for path in lib.iterdir()} == JARS
    assert class_path() == f"{lib}/*"
    assert [path.name for path in installed_folder().parent.iterdir()] == [installed_folder().name]


def test_it_is_done_once(places):
    maven(places)
    install(lambda text: None)
    (places / "bin/mvn").unlink()
    said = []
    assert install(said.append) == installed()
    assert said == []


def test_other_jars_have_another_folder(places):
    before = installed_folder()
    assert before.parent == places / "cache/l3flow/flink"
    with jars.CHECKSUMS.open("a") as listed:
        listed.write(f"{'0' * 64}  three.jar\n")
    assert installed_folder() != before


@pytest.mark.parametrize("cache", [None, ""])
def test_without_a_cache_of_its_own_it_is_that_of_the_home_folder(places, monkeypatch, cache):
    monkeypatch.setenv("HOME", str(places / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME")
    if cache is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", cache)
    assert installed_folder().parent == places / "home/.cache/l3flow/flink"


def test_what_was_left_half_is_made_anew(places):
    maven(places)
    (installed_folder() / "lib").mkdir(parents=True)
    assert installed() is None
    assert install(lambda text: None).path.is_file()
    assert len(list((installed_folder() / "lib").iterdir())) == 2


@pytest.mark.parametrize(
    ("files", "what"),
    [
        ({"two-2.0.jar": b"other"}, "two-2.0.jar is not what it was when it was tested"),
        ({"two-2.0.jar": None}, "two-2.0.jar is missing"),
        ({"surplus.jar": b""}, "surplus.jar is none of them"),
    ],
)
def test_jars_that_are_not_those_that_were_tested(places, files, what):
    maven(places, **files)
    with pytest.raises(FetchError) as caught:
        install(lambda text: None)
    assert str(caught.value) == f"Maven fetched other jars than jars.sha256 lists: {what}"
    assert installed() is None
    assert list(installed_folder().parent.iterdir()) == []


def test_without_maven(monkeypatch, places):
    monkeypatch.setenv("PATH", str(places))
    with pytest.raises(UsageError, match="there is no mvn here: install Maven, as Debian's maven, or"):
        install(lambda text: None)
    with pytest.raises(UsageError, match="Flink is not installed: l3flow flink install fetches it"):
        class_path()


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (
            "echo '[INFO] Scanning for projects...'\n"
            "echo '[ERROR] Failed to execute goal: Could not find artifact x:jar:1 in central'\n"
            "echo '[ERROR] Re-run Maven using the -X switch to enable full debug logging.'\nexit 1",
            "Failed to execute goal: Could not find artifact x:jar:1 in central",
        ),
        (
            "echo 'The JAVA_HOME environment variable is not defined correctly,' >&2\n"
            "echo 'this environment variable is needed to run this program.' >&2\nexit 1",
            "The JAVA_HOME environment variable is not defined correctly, this environment variable is "
            "needed to run this program.",
        ),
        ("exit 7", "it says nothing and ends with 7"),
    ],
)
def test_maven_fails(places, capsys, script, why):
    maven(places, f"#!/bin/sh\n{script}\n")
    assert main(["flink", "install", "--quiet"]) == 1
    assert capsys.readouterr().err == f"l3flow: Maven could not fetch the jars of {jars.POM}: {why}\n"
    assert installed() is None


def test_the_launcher_has_the_jars_beside_it(tmp_path):
    names = [f"{'a' * 40}-{number}.jar" for number in range(12)] + ["b.jar"]
    (tmp_path / "lib").mkdir()
    for name in names:
        (tmp_path / "lib" / name).touch()
    (tmp_path / "lib/notes.txt").touch()
    write_launcher(tmp_path / "lib", tmp_path / "job-server.jar")
    with zipfile.ZipFile(tmp_path / "job-server.jar") as archive:
        text = archive.read("META-INF/MANIFEST.MF")
    assert text.endswith(b"\r\n\r\n")
    assert max(map(len, text.split(b"\r\n"))) == 72  # a reader may refuse longer ones
    attributes = dict(line.split(": ") for line in text.decode().replace("\r\n ", "").split("\r\n")[:-2])
    assert attributes == {
        "Manifest-Version": "1.0",
        "Main-Class": "org.apache.beam.runners.flink.FlinkJobServerDriver",
        "Class-Path": " ".join(f"lib/{name}" for name in sorted(names)),
    }


@pytest.mark.parametrize("length", [40, 47, 57])
def test_java_reads_the_launcher(tmp_path, length, monkeypatch):
    """However long the names of jars are: Java finds the class in the last one."""
    monkeypatch.setattr(jars, "MAIN_CLASS", "a.b.Missing")
    (tmp_path / "lib").mkdir()
    for start in "abc":
        with zipfile.ZipFile(tmp_path / "lib" / f"{start * length}.jar", "w") as archive:
            archive.writestr("a/b/Missing.class" if start == "c" else "x", b"no class")
    write_launcher(tmp_path / "lib", tmp_path / "job-server.jar")
    command = [find_java(), "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-jar", "job-server.jar"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert "ClassFormatError: Incompatible magic value" in done.stderr


def test_a_jar_that_is_named_goes_first(places):
    maven(places)
    install(lambda text: None)
    jar = places / "beam-runners-flink-1.20-job-server-2.77.0.jar"
    jar.touch()
    assert find_job_server(str(jar), "1.20") == (jar, "1.20", "given")
    assert find_job_server(str(jar), None).minor == "1.20"
    assert find_job_server(str(installed().path), "1.19").minor == "1.19"


def test_a_jar_whose_name_says_nothing_is_taken_at_its_word(places):
    (places / "my.jar").touch()
    assert find_job_server(str(places / "my.jar"), "2.1") == (places / "my.jar", None, "given")


def test_a_jar_that_is_not_there():
    with pytest.raises(UsageError) as caught:
        find_job_server("no/such.jar", None)
    assert str(caught.value) == "--flink-job-server-jar no/such.jar: there is no such file"


def test_a_jar_for_another_flink(places):
    jar = places / "beam-runners-flink-1.20-job-server-2.77.0.jar"
    jar.touch()
    with pytest.raises(UsageError) as caught:
        find_job_server(str(jar), "1.19")
    assert str(caught.value) == (
        f"--flink-job-server-jar {jar} is for Flink 1.20, the cluster is 1.19: both must be of one "
        "minor version"
    )


@pytest.mark.parametrize("minor", [None, "1.19"])
def test_what_is_installed_goes_before_a_download(places, central, minor):
    maven(places)
    install(lambda text: None)
    assert find_job_server(None, minor) == installed()
    assert central.log == []


@pytest.mark.parametrize(("install_first", "minor"), [(True, "1.20"), (False, "1.20"), (False, None)])
def test_beams_own_download(places, central, install_first, minor):
    if install_first:  # which is for another Flink
        maven(places)
        install(lambda text: None)
    wanted = beam_jar(minor or "1.19")
    central.files[f"/central/{wanted}"] = b"a jar"
    for _ in range(2):  # the second time it is there
        found = find_job_server(None, minor)
        assert (found.minor, found.origin) == (minor or "1.19", "Beam's download")
        assert found.path == places / "beam" / Path(wanted).name
        assert found.path.read_bytes() == b"a jar"
    assert central.log == [f"GET /central/{wanted}"]


def test_a_download_that_fails(central):
    with pytest.raises(UsageError) as caught:
        find_job_server(None, "1.20")
    assert str(caught.value) == (
        "there is no job server for Flink 1.20: l3flow flink install makes one for 1.19, "
        "--flink-job-server-jar names one, and Beam's download failed (Unable to fetch remote "
        f"job server jar at {central.url}/central/{beam_jar('1.20')}: HTTP Error 404: Not Found)"
    )
    assert central.log == [f"GET /{place}/{beam_jar('1.20')}" for place in ("central", "mirror")]


def test_the_real_list_names_each_jar_once(monkeypatch):
    monkeypatch.undo()
    text = jars.CHECKSUMS.read_text()
    assert len(jars.checksums()) == len(text.splitlines()) > 100
    assert all(len(digest) == 64 for digest in jars.checksums().values())
