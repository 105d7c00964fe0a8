"""`l3flow avc fetch`: real yt-dlp and FFmpeg, on videos of a server on this machine."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from types import SimpleNamespace

import av
import fsspec
import numpy as np
import pytest

from l3core.avc.fetch_ledger import locks_of, read_fetched
from l3core.avc.fetching import LOCK
from l3core.table.lock import holding
from launch.main import main
from tests.processes import killed_at_end, wait_for_end, wait_until
from tests.web import web_server

RATE = 8000
QUICKLY = ("--rate", "60000", "--wait", "0.05", "--timeout", "60")


def make_video(path, seconds=4):
    """An MP4 of H.264 and AAC; the picture's brightness tells the second: 40, 80, 120, 160."""
    with av.open(str(path), "w", options={"movflags": "faststart"}) as file:
        picture = file.add_stream("libx264", rate=10, width=64, height=48, pix_fmt="yuv420p")
        sound = file.add_stream("aac", rate=RATE, layout="mono")
        for number in range(10 * seconds):
            gray = np.full((48, 64, 3), number // 10 * 40 + 40, np.uint8)
            file.mux(picture.encode(av.VideoFrame.from_ndarray(gray, format="rgb24")))
        tone = np.sin(np.arange(RATE * seconds) / 5)[None].astype(np.float32)
        frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
        frame.sample_rate = RATE
        file.mux(sound.encode(frame))
        for stream in (picture, sound):
            file.mux(stream.encode(None))
    return path.read_bytes()


def seconds_of(path):
    """(duration of the sound in s, gray of the first frame)."""
    with av.open(str(path)) as file:
        samples = sum(frame.samples for frame in file.decode(audio=0))
    with av.open(str(path)) as file:
        gray = next(file.decode(video=0)).to_ndarray(format="gray").mean()
    return samples / RATE, gray


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("made") / "video.mp4")


def write_subset(path, *rows):
    lines = [f"{name},{start},{end},x,train" for name, start, end in rows]
    path.write_text("\n".join(["ytid,start_s,end_s,labels,split", *lines, ""]))
    return path


def flags(server, subset, output):
    template = f"{server.url}/{{id}}.mp4"
    named = ("--subset", str(subset), "--output", str(output), "--url-template", template)
    return ["avc", "fetch", *named, *QUICKLY]


def said_last(capsys):
    """The last line of standard error: on a busy machine there is progress before it."""
    return capsys.readouterr().err.splitlines(keepends=True)[-1]


def asked(server):
    """Requests by path."""
    return Counter(line.split()[1] for line in server.log)


def answer(status, **headers):
    return lambda handler: handler.answer(status, b"no", **headers)


@pytest.fixture(scope="module")
def done(tmp_path_factory, video):
    """A run on videos of which many are not as they should be, its ledger, and what the server saw."""
    place = tmp_path_factory.mktemp("fetch")
    subset = write_subset(
        place / "subset.csv",
        ("fine", 1, 3),
        ("-dash", 0, 2),
        ("lost", 0, 2),
        ("refused", 0, 2),
        ("busy", 0, 2),
        ("page", 0, 2),
        ("text", 0, 2),
        ("short", 30, 40),
        ("two", 0, 1),
        ("two", 2, 3),
        ("inside", 0, 2),
        ("list", 0, 2),
    )
    with web_server() as server, pytest.MonkeyPatch.context() as patch:
        # what a user of yt-dlp may have: it would write to another place, and run what is there
        plugins = place / "home" / "yt-dlp" / "plugins" / "own" / "yt_dlp_plugins" / "extractor"
        plugins.mkdir(parents=True)
        (plugins / "own.py").write_text(f"open({str(place / 'ran')!r}, 'w')\n")
        (place / "home" / "yt-dlp" / "config").write_text(f"--output {place}/elsewhere.mp4\n")
        patch.setenv("XDG_CONFIG_HOME", str(place / "home"))
        patch.setenv("HOME", str(place / "home"))
        patch.setenv("TMPDIR", str(place))
        for name in ("fine", "-dash", "busy", "short", "two"):
            server.files[f"/{name}.mp4"] = video
        server.on("/refused.mp4", answer(403))
        server.on("/busy.mp4", answer(429), times=1)
        server.files["/page.mp4"] = b"<!doctype html><html><body>no video here</body></html>"
        # what a site may try: to have a file of this machine read
        (place / "own.mp4").write_bytes(video)
        own = f"file://{place}/own.mp4"
        page = f'<!doctype html><title>t</title><video src="{own}" type="video/mp4"></video>'
        server.files["/inside.mp4"] = page.encode()
        segments = f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{own}\n#EXT-X-ENDLIST\n".encode()
        server.files["/list.mp4"] = segments
        server.on("/text.mp4", lambda handler: handler.give(b"text " * 99, Content_Type="video/mp4"))
        output = place / "videos"
        printed = subprocess_said(flags(server, subset, output))
        first = asked(server)
        server.log.clear()
        again = subprocess_said([*flags(server, subset, output), "--json"])
        yield SimpleNamespace(
            place=place,
            output=output,
            printed=printed,
            asked=first,
            again=again,
            asked_again=asked(server),
            rows=read_fetched(str(output)),
        )


def subprocess_said(argv):
    """What the command prints, with what its processes would print past Python."""
    command = [sys.executable, "-c", "from launch.main import run; run()", *argv]
    return subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)


def test_each_video_has_its_status(done):
    assert {name: row.status for name, row in done.rows.items()} == {
        "fine": "ok",
        "-dash": "ok",
        "lost": "gone",
        "refused": "forbidden",
        "busy": "ok",
        "page": "broken",
        "text": "broken",
        "short": "broken",
        "two_0": "ok",
        "two_2000": "ok",
        "inside": "failed",
        "list": "broken",
    }
    assert "HTTP Error 404" in done.rows["lost"].error
    assert all(bool(row.error) == (row.status != "ok") for row in done.rows.values())


def test_only_the_seconds_that_are_wanted_are_there(done):
    there = sorted(path.name for path in done.output.iterdir() if path.is_file())
    assert there == ["-dash.mp4", "busy.mp4", "fine.mp4", "two_0.mp4", "two_2000.mp4"]
    for name, length, gray in (("fine", 2, 80), ("-dash", 2, 40), ("two_2000", 1, 120)):
        seconds, first = seconds_of(done.output / f"{name}.mp4")
        assert seconds == pytest.approx(length, abs=0.2)
        assert first == pytest.approx(gray, abs=12)
    assert done.rows["fine"].size_bytes == (done.output / "fine.mp4").stat().st_size


def test_the_summary_is_all_that_is_printed(done):
    assert all(" videos asked for" in line for line in done.printed.stderr.splitlines())  # if it is slow
    assert done.printed.returncode == 0
    lines = done.printed.stdout.splitlines()
    assert lines[0] == f"{done.output}: 5 of 12 videos are there"
    assert lines[1].startswith("this run: 12 asked for, 5 fetched (")
    assert lines[2] == "not to be had: gone 1, forbidden 1, broken 4, failed 1"
    assert lines[3] == f"why: {done.output}/fetch-ledger"
    assert len(lines) == 4


def test_nothing_is_asked_twice(done):
    assert done.asked["/busy.mp4"] > done.asked["/-dash.mp4"]  # a refusal was waited out
    assert done.asked_again == {}
    assert done.again.stderr == ""
    facts = json.loads(done.again.stdout)
    assert (facts["wanted"], facts["there_before"], facts["asked_for"]) == (12, 5, 0)
    assert facts["not_asked_again"] == {"gone": 1, "forbidden": 1, "broken": 4, "failed": 1}


def test_a_users_configuration_of_yt_dlp_is_not_read(done):
    assert {path.name for path in done.place.iterdir()} == {"subset.csv", "own.mp4", "home", "videos"}
    assert [path.name for path in (done.place / "home").iterdir()] == ["yt-dlp"]


def test_a_status_is_asked_for_again_when_told(tmp_path, video, capsys):
    subset = write_subset(tmp_path / "subset.csv", ("late", 0, 1), ("lost", 0, 1))
    with web_server() as server:
        assert main([*flags(server, subset, "memory://late"), "--quiet"]) == 0
        server.files["/late.mp4"] = video
        assert main([*flags(server, subset, "memory://late"), "--retry", "gone", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["statuses"] == {"ok": 1, "gone": 1}
    fs = fsspec.filesystem("memory")
    assert fs.size("/late/late.mp4") == facts["size_bytes"] > 1000
    fs.rm("/late", recursive=True)


def test_a_site_that_goes_on_refusing_ends_the_run(tmp_path, capsys):
    subset = write_subset(tmp_path / "subset.csv", *((name, 0, 1) for name in "abcd"))
    with web_server() as server:
        for name in "abcd":
            server.on(f"/{name}.mp4", answer(429))
        command = [*flags(server, subset, tmp_path / "out"), "--workers", "1", "--wait", "0.001"]
        assert main(command) == 1
        # once, and after each of five waits
        assert asked(server) == {"/a.mp4": 2, "/b.mp4": 2, "/c.mp4": 2}
    err = said_last(capsys)
    assert err.startswith("l3flow: the site refuses for now ([generic] ")
    assert err.endswith("; the same command goes on from here\n")
    rows = read_fetched(str(tmp_path / "out"))
    assert {name: row.status for name, row in rows.items()} == dict.fromkeys("abc", "rate-limited")


def test_a_site_that_is_not_there_ends_the_run(tmp_path, capsys):
    subset = write_subset(tmp_path / "subset.csv", *((f"v{number}", 0, 1) for number in range(9)))
    with web_server() as server:
        command = flags(server, subset, tmp_path / "out")
    assert main(command) == 1
    err = said_last(capsys)
    assert err.startswith("l3flow: 5 videos in a row not reached ([generic] ")
    assert "Connection refused" in err
    rows = read_fetched(str(tmp_path / "out"))
    assert 5 <= len(rows) <= 6
    assert {row.status for row in rows.values()} == {"network"}


class Blocking:
    """Answers of a server that come when they are let."""

    def __init__(self):
        self.let = threading.Event()

    def __call__(self, handler):
        self.let.wait(60)
        handler.answer(404)


def start(argv, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", "from launch.main import run; run()", *argv],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def children_of(pid):
    said = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
    return [int(each) for each in said.stdout.split()]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_run_goes_on_where_it_was(tmp_path, video, number):
    subset = write_subset(tmp_path / "subset.csv", ("a", 0, 1), ("b", 0, 1))
    output, temporary = tmp_path / "out", tmp_path / "tmp"
    temporary.mkdir()
    with web_server() as server:
        server.files["/a.mp4"] = server.files["/b.mp4"] = video
        block = Blocking()
        server.on("/b.mp4", block, times=1)
        command = [*flags(server, subset, output), "--workers", "1"]
        with killed_at_end(start(command, TMPDIR=str(temporary))) as process:
            wait_until(lambda: asked(server)["/b.mp4"], within_s=120)
            children = children_of(process.pid)
            assert children
            process.send_signal(number)
            err = process.communicate(timeout=120)[1]
            assert process.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL)
            said = "l3flow: interrupted; 1 fetched, the same command goes on from here\n"
            assert err.endswith(said if number == signal.SIGINT else "")
            assert "Traceback" not in err
            wait_for_end(children)
            wait_until(lambda: not list(temporary.iterdir()), 120)
        block.let.set()
        assert sorted(path.name for path in output.iterdir() if path.is_file()) == ["a.mp4"]
        assert len(list(output.rglob(f"{LOCK}.json"))) == (number == signal.SIGKILL)
        (output / f"b.mp4.{'0' * 32}.tmp").touch()  # as if it had been killed while it wrote that
        server.log.clear()
        assert main([*command, "--quiet"]) == 0
        assert set(asked(server)) == {"/b.mp4"}
    assert {name: row.status for name, row in read_fetched(str(output)).items()} == {
        "a": "ok",
        "b": "ok",
    }
    assert sorted(path.name for path in output.iterdir() if path.is_file()) == ["a.mp4", "b.mp4"]
    assert not list(output.rglob(f"{LOCK}.json"))


def test_a_video_that_never_comes_is_left(tmp_path):
    subset = write_subset(tmp_path / "subset.csv", ("a", 0, 1))
    with web_server() as server:
        block = Blocking()
        server.on("/a.mp4", block)
        assert main([*flags(server, subset, tmp_path / "out"), "--timeout", "3", "--quiet"]) == 0
        block.let.set()
    row = read_fetched(str(tmp_path / "out"))["a"]
    assert (row.status, row.error) == ("timeout", "it took longer than 3 s")


def test_a_place_that_cannot_be_written_asks_nobody(tmp_path, capsys):
    subset = write_subset(tmp_path / "subset.csv", ("a", 0, 1))
    with web_server() as server:
        assert main(flags(server, subset, subset / "out")) == 2
        assert server.log == []
    assert capsys.readouterr().err == (
        f"l3flow: --output {subset}/out: cannot write there: Not a directory "
        "(see l3flow avc fetch --help)\n"
    )


def test_a_place_that_can_be_written_no_more_ends_the_run(tmp_path, video, capsys):
    subset = write_subset(tmp_path / "subset.csv", ("a", 0, 1), ("b", 0, 1))
    output = tmp_path / "out"

    def take_away(handler):
        shutil.rmtree(output)
        output.touch()
        handler.give(video)

    with web_server() as server:
        server.files["/a.mp4"] = video
        server.on("/a.mp4", take_away, times=1)
        assert main([*flags(server, subset, output), "--workers", "1"]) == 1
        assert "/b.mp4" not in asked(server)
    assert said_last(capsys) == (
        f"l3flow: {output}/a.mp4: cannot write there: File exists; the same command goes on from here\n"
    )


def test_one_run_at_a_time_fetches_into_a_folder(tmp_path, capsys):
    subset = write_subset(tmp_path / "subset.csv", ("a", 0, 1))
    output = tmp_path / "out"
    half = output / f"a.mp4.{'0' * 32}.tmp"
    with web_server() as server, holding(locks_of(str(output)), LOCK, "other"):
        half.touch()
        assert main(flags(server, subset, output)) == 1
        assert server.log == []
    said = rf"l3flow: run other \(process {os.getpid()} on \S+\) is working on .*\n"
    assert re.fullmatch(said, capsys.readouterr().err)
    assert half.exists()


def test_sample_passes_over_what_fetch_keeps_beside_the_videos(done, tmp_path, capsys):
    places = ["--input", str(done.output), "--output", str(tmp_path / "pairs")]
    assert list(done.output.glob("fetch-ledger/*.jsonl"))
    assert main(["avc", "sample", *places, "--dry-run", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["matched"] == {"new": 5}


def test_a_file_is_no_folder_of_videos(tmp_path, capsys):
    subset = write_subset(tmp_path / "subset.csv", ("a", 0, 1))
    assert main(["avc", "fetch", "--subset", str(subset), "--output", str(subset)]) == 2
    assert capsys.readouterr().err.startswith(f"l3flow: --output {subset} is a file, needs a folder")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("ytid,start_s,end_s,labels,split\n../x,0,1,,train\n", "line 2: the id of a video has letters"),
        (
            "ytid,start_s,end_s,labels,split\n--exec=x,0,1,,train\n",
            "line 2: the id of a video has letters",
        ),
        ("ytid,start_s,end_s,labels,split\n", "subset.csv: no segment in it"),
        ("<html>", "line 1: needs 4 fields"),
    ],
)
def test_a_subset_that_is_none_asks_nobody(tmp_path, capsys, content, message):
    (tmp_path / "subset.csv").write_text(content)
    with web_server() as server:
        assert main(flags(server, tmp_path / "subset.csv", tmp_path / "out")) == 2
        assert server.log == []
    err = capsys.readouterr().err
    assert message in err
    assert err.startswith("l3flow: --subset ")
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("--url-template", "file:///{id}", "--url-template needs an http(s):// URL with {id} in it"),
        ("--output", "https://example.org/x", "--output needs a disk, gs:// or s3://"),
        ("--retry", "ok", "argument --retry: invalid choice: 'ok'"),
        ("--rate", "0", "argument --rate: needs a number above 0"),
    ],
)
def test_wrong_use_is_one_line(tmp_path, capsys, flag, value, message):
    subset = write_subset(tmp_path / "subset.csv", ("a", 0, 1))
    command = ["avc", "fetch", "--subset", str(subset), "--output", str(tmp_path / "out"), flag, value]
    assert main(command) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_without_the_extra_a_line_says_what_to_install(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "yt_dlp", None)
    subset = write_subset(tmp_path / "subset.csv", ("a", 0, 1))
    assert main(["avc", "fetch", "--subset", str(subset), "--output", str(tmp_path / "out")]) == 2
    said = "l3flow: fetching videos needs yt-dlp: pip install 'l3flow[video]'"
    assert capsys.readouterr().err == f"{said} (see l3flow avc fetch --help)\n"


def test_help_says_how(capsys):
    assert main(["avc", "fetch", "--help"]) == 0
    out = capsys.readouterr().out
    assert "examples:" in out
    assert "l3flow avc fetch --subset music.csv --output videos" in out
