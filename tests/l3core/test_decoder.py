"""Decoders crash, hang, grow and are left alone: it costs one recording, and nothing is left."""

import fcntl
import io
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile

from l3core import decoder
from l3core.audio import Recording
from l3core.decoder import decoders
from l3core.errors import AudioError, RunError
from tests.processes import alive, killed_at_end, wait_for_end, wait_until
from tests.vorbis_bomb import bomb

REPOSITORY = Path(__file__).parents[2]
RATE = 16_000
FORMATS = {
    "WAV": ("WAV", "PCM_16"),
    "FLAC": ("FLAC", "PCM_16"),
    "Vorbis": ("OGG", "VORBIS"),
    "Opus": ("OGG", "OPUS"),
    "MP3": ("MP3", "MPEG_LAYER_III"),
}


def encoded(kind="WAV", frames=200_000, channels=1):
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (frames, channels)).astype(np.float32)
    buffer = io.BytesIO()
    format_, subtype = FORMATS[kind]
    soundfile.write(buffer, samples, RATE, format=format_, subtype=subtype)
    return buffer.getvalue()


def decoders_of(parent):
    """Processes that decode for a process, also those that have ended and nobody has asked about."""
    found = []
    for task in Path(f"/proc/{parent}/task").iterdir():
        try:
            children = (task / "children").read_text().split()
        except (FileNotFoundError, ProcessLookupError):  # a thread that has ended meanwhile
            continue
        found += [int(child) for child in children if "decoding_child" in command_of(child)]
    return found


def command_of(process):
    try:
        return Path(f"/proc/{process}/cmdline").read_text() or "decoding_child (ended)"
    except (FileNotFoundError, ProcessLookupError):
        return ""


@pytest.fixture(autouse=True)
def none_left():
    """Each test begins and ends without decoders."""
    decoders.close()
    assert decoders_of(os.getpid()) == []
    yield
    decoders.close()
    assert decoders_of(os.getpid()) == []


class HarmfulFile(io.BytesIO):
    """A file that sends a signal to its decoder while that waits for the bytes at some place."""

    def __init__(self, content, number, at, times, spared=()):
        super().__init__(content)
        self.number, self.at, self.left, self.spared = number, at, times, set(spared)

    def read(self, size=-1):
        if self.left and size != 4 and self.tell() <= self.at < self.tell() + size:
            for process in set(decoders_of(os.getpid())) - self.spared:
                os.kill(process, self.number)
                self.left -= 1
        return super().read(size)


def parts_of(file):
    """A recording in parts, some of them again or in another order."""
    spans = [(0, 30_000), (25_000, 90_000), (90_000, 150_000), (40_000, 60_000), (140_000, 200_000)]
    with Recording(file) as recording:
        return recording.info, [recording.read(*span).tobytes() for span in spans], recording.damage


@pytest.mark.parametrize(("kind", "channels"), [*((kind, 1) for kind in FORMATS), ("FLAC", 3)])
def test_a_decoder_that_crashes_once_is_not_noticed(kind, channels):
    content = encoded(kind, channels=channels)
    calm = parts_of(io.BytesIO(content))
    assert [len(part) // 4 for part in calm[1]] == [30_000, 65_000, 60_000, 20_000, 60_000]
    assert calm[2] is None
    for at, number in ((0, signal.SIGABRT), (len(content) // 2, signal.SIGKILL)):
        file = HarmfulFile(content, number, at, times=1)
        assert parts_of(file) == calm
        assert file.left == 0


@pytest.mark.parametrize(
    ("number", "name"),
    [(signal.SIGABRT, "SIGABRT"), (signal.SIGSEGV, "SIGSEGV"), (signal.SIGKILL, "SIGKILL")],
)
@pytest.mark.parametrize("at", [0, 100_000])
def test_a_decoder_that_crashes_twice_is_the_files_fault(number, name, at):
    content = encoded()
    file = HarmfulFile(content, number, at, times=2)
    with pytest.raises(AudioError) as caught:
        parts_of(file)
    assert (caught.value.status, str(caught.value)) == ("unreadable", f"the decoder crashed ({name})")
    assert file.left == 0
    assert not file.closed
    assert decoders_of(os.getpid()) == []
    assert parts_of(io.BytesIO(content))[2] is None  # the next recording


def test_neighbours_in_other_threads_do_not_notice():
    content = encoded("FLAC")
    calm = parts_of(io.BytesIO(content))
    found, stop = [], threading.Event()

    def neighbour():
        while not stop.is_set():
            found.append(parts_of(io.BytesIO(content)) == calm)

    threads = [threading.Thread(target=neighbour) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: len(found) > 5)
        theirs = wait_until(lambda: len(pids := decoders_of(os.getpid())) == 3 and pids)
        for _ in range(3):
            file = HarmfulFile(content, signal.SIGSEGV, 100_000, times=2, spared=theirs)
            with pytest.raises(AudioError, match=r"decoder crashed \(SIGSEGV\)"):
                parts_of(file)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert all(found)
    assert len(decoders_of(os.getpid())) <= 4


def test_a_decoder_that_hangs_is_ended(monkeypatch):
    monkeypatch.setattr(decoder, "SILENT_S", 1.0)
    began = time.monotonic()
    file = HarmfulFile(encoded(), signal.SIGSTOP, 100_000, times=1)
    with Recording(file) as recording:
        assert len(recording.read(0, 10_000)) == 10_000
        with pytest.raises(AudioError) as caught:
            recording.read(10_000, 200_000)
    assert (caught.value.status, str(caught.value)) == ("unreadable", "decoding took longer than 1 s")
    assert 1 < time.monotonic() - began < 6
    assert decoders_of(os.getpid()) == []


class SlowFile(io.BytesIO):
    """A store that takes its time."""

    def read(self, size=-1):
        time.sleep(0.3)
        return super().read(size)


def test_a_store_may_take_longer_than_a_decoder(monkeypatch):
    monkeypatch.setattr(decoder, "STEP_S", 0.25)
    content = encoded()
    with Recording(io.BytesIO(content)) as recording:  # starting a process may take longer than that
        whole = recording.read(0, 200_000)
    with Recording(SlowFile(content)) as recording:
        assert recording.read(0, 200_000).tobytes() == whole.tobytes()


def test_a_header_that_wants_gigabytes_does_not_get_them():
    """Without a limit libvorbis takes 2.1 GB for these 3 kB; with one it does not look what it got."""
    content = bomb(256)
    assert len(content) < 4_000
    with pytest.raises(AudioError) as caught:
        Recording(io.BytesIO(content))
    assert caught.value.status == "unreadable"
    assert str(caught.value) == "the decoder crashed (SIGSEGV)"


def test_what_fails_in_a_callback_is_not_taken_for_the_end_of_the_file():
    said = (
        "from l3core.decoding_child import Wanted\n"
        "Wanted(None, memoryview(b'abc'), 3, 3).readinto(memoryview(b'cannot be written'))"
    )
    done = subprocess.run([sys.executable, "-c", said], cwd=REPOSITORY, check=False)
    assert done.returncode == -signal.SIGABRT


def test_ten_thousand_recordings_leave_nothing():
    content = encoded(frames=800)
    kinds = [content, content, content[:30], b"RIFF"]
    for _ in range(3):
        Recording(io.BytesIO(content)).__exit__(None, None, None)
    files, found = len(os.listdir("/proc/self/fd")), decoders_of(os.getpid())
    for number in range(10_000):
        with suppress(AudioError), Recording(io.BytesIO(kinds[number % 4])) as recording:
            assert len(recording.read(0, 800)) == 800
    assert len(os.listdir("/proc/self/fd")) == files
    assert decoders_of(os.getpid()) == found  # the very same
    assert len(found) == 1


def test_there_are_as_many_as_recordings_are_open_together():
    content = encoded(frames=800)
    for _ in range(3):
        recordings = [Recording(io.BytesIO(content)) for _ in range(4)]
        for recording in recordings:
            recording.__exit__(None, None, None)
    assert len(decoders_of(os.getpid())) == 4


def test_a_recording_that_nobody_closes_takes_its_decoder_along():
    recording = Recording(io.BytesIO(encoded(frames=800)))
    (process,) = decoders_of(os.getpid())
    del recording
    wait_for_end([process], within_s=5)


def test_an_idle_decoder_that_was_killed_is_replaced():
    content = encoded()
    calm = parts_of(io.BytesIO(content))
    (process,) = decoders_of(os.getpid())
    time.sleep(0.3)  # it has answered that the file is closed
    os.kill(process, signal.SIGKILL)
    wait_for_end([process])
    file = HarmfulFile(content, signal.SIGABRT, 100_000, times=1)  # and this one may still crash once
    assert parts_of(file) == calm


def test_what_a_decoder_may_do(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with Recording(io.BytesIO(encoded())) as recording:
        recording.read(0, 1_000)
        (process,) = decoders_of(os.getpid())
        place = Path(f"/proc/{process}")
        assert b"secret" not in (place / "environ").read_bytes()
        assert sorted(os.listdir(place / "fd")) == ["0", "1", "2", "3"]
        assert (place / "cwd").readlink() == Path("/")
        status = dict(line.split(":\t") for line in (place / "status").read_text().splitlines())
        assert status["NoNewPrivs"] == "1"
        assert int(status["VmRSS"].split()[0]) < 40_000  # kB
        limits = (place / "limits").read_text().splitlines()
        found = {line[:26].strip(): line[26:].split()[:2] for line in limits}
        assert found["Max address space"] == [str(2**30)] * 2
        assert found["Max core file size"] == found["Max file size"] == found["Max processes"]
        assert found["Max file size"] == ["0", "0"]
        assert found["Max open files"] == ["4", "4"]
        assert "numpy" not in (place / "maps").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_decoder_ends_when_its_parent_says_so(number):
    """Ctrl-C in a terminal and a service manager's SIGTERM reach it, too."""
    content = encoded()
    calm = parts_of(io.BytesIO(content))
    file = HarmfulFile(content, number, 100_000, times=1)
    (process,) = decoders_of(os.getpid())
    assert parts_of(file) == calm
    assert decoders_of(os.getpid()) == [process]


LIAR = """
import sys; sys.path.append(sys.argv[1]); sys.path += sys.argv[2:]
import json, socket, time
from decoding_child import *
parent = socket.socket(fileno=0)
facts = {{"samplerate": 8000, "channels": 2, "frames": 99}}
facts |= dict.fromkeys(["format", "subtype", "extra_info"], "")
send(parent, READY)
receive(parent)
{answer}
receive(parent)
{frames}
time.sleep(60)
"""
TRUE = "say(parent, INFO, facts)"
LIES = {
    "another answer": ("send(parent, DONE)", ""),
    "bytes that there are not": ("send(parent, WANT, 2**63)", ""),
    "no JSON": ("parent.sendall(HEAD.pack(INFO, 0, 3) + b'{{]')", ""),
    "words without an end": ("send(parent, WRONG, 0, 2**31)", ""),
    "no facts": ("say(parent, INFO, [])", ""),
    "no numbers": ("say(parent, INFO, facts | {'channels': None})", ""),
    "infinity": ("say(parent, INFO, facts | {'samplerate': float('inf')})", ""),
    "half a letter": ("say(parent, INFO, facts | {'format': chr(0xD800)})", ""),
    "half a letter in an error": ("say(parent, WRONG, chr(0xD800))", ""),
    "JSON without an end": ("parent.sendall(HEAD.pack(INFO, 0, 10**5) + b'[' * 10**5)", ""),
    "more frames than were asked for": (TRUE, "send(parent, FRAMES, 100)"),
    "frames without an end": (TRUE, "send(parent, FRAMES, 2**62)"),
}


@pytest.mark.parametrize(("answer", "frames"), LIES.values(), ids=LIES)
def test_a_decoder_that_was_taken_over_is_not_believed(monkeypatch, answer, frames):
    monkeypatch.setattr(decoder, "START", LIAR.format(answer=answer, frames=frames))
    monkeypatch.setattr(decoder, "SILENT_S", 20.0)  # who believes it waits for more
    with pytest.raises(AudioError, match="the decoder does not keep to its protocol") as caught:
        parts_of(io.BytesIO(encoded(frames=99)))
    assert caught.value.status == "unreadable"


@pytest.mark.parametrize("digits", [20, 5_000])
def test_a_claim_that_no_number_of_the_ledger_holds_is_not_believed(monkeypatch, digits):
    claim = f"say(parent, INFO, facts | {{'extra_info': \"from 'ds64' chunk of \" + '9' * {digits}}})"
    monkeypatch.setattr(decoder, "START", LIAR.format(answer=claim, frames=""))
    monkeypatch.setattr(decoder, "SILENT_S", 1.0)  # it does not say that it has closed the file
    with pytest.raises(AudioError, match="the header claims 99999999999999999999 frames") as caught:
        Recording(io.BytesIO(encoded(frames=99)))
    assert caught.value.status == "unreadable"


def test_a_decoder_that_asks_for_ever_is_ended(monkeypatch):
    forever = "while True: send(parent, WANT); receive(parent); time.sleep(0.01)"
    monkeypatch.setattr(decoder, "START", LIAR.format(answer=forever, frames=""))
    monkeypatch.setattr(decoder, "STEP_S", 1.0)
    with pytest.raises(AudioError, match="decoding took longer than 1 s"):
        Recording(io.BytesIO(encoded()))


@pytest.mark.parametrize("why", ["no interpreter", "unknown", "no soundfile", "no memory"])
def test_a_decoder_that_cannot_be_started_is_no_files_fault(monkeypatch, why):
    match = "a decoder cannot be started: "
    if why == "no interpreter":
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
        match += ".*No such file"
    elif why == "unknown":
        monkeypatch.setattr(sys, "executable", None)
        match += "sys.executable does not say where Python is"
    elif why == "no soundfile":
        monkeypatch.setattr(sys, "path", [])
        match += "ModuleNotFoundError: No module named 'soundfile'"
    else:
        monkeypatch.setattr(decoder, "START", "import os; os.abort()")
        match += r"the decoder crashed \(SIGABRT\)"
    with pytest.raises(RunError, match=match):
        Recording(io.BytesIO(encoded()))


def test_a_python_that_was_built_with_an_old_glibc_decodes_too(monkeypatch):
    for module, prefixes in ((os, ("memfd_", "MFD_")), (fcntl, ("F_ADD_SEALS", "F_SEAL_"))):
        for name in [name for name in dir(module) if name.startswith(prefixes)]:
            monkeypatch.delattr(module, name)
    assert parts_of(io.BytesIO(encoded()))[2] is None


SCRIPT = """
import io, os, subprocess, sys, time
from pathlib import Path
from l3core.audio import Recording
content = Path(sys.argv[1]).read_bytes()
with Recording(io.BytesIO(content)) as first:
    first.read(0, 100)
    second = Recording(io.BytesIO(content))
{then}
"""
# Each prints the pids of processes that outlive the parent, if any, and is killed then.
ENDS = {
    "idle and in use": "print(flush=True); time.sleep(60)",
    "others go on": (
        "other = subprocess.Popen(['sleep', '60'], close_fds=False)\n"
        "print(other.pid, flush=True); time.sleep(60)"
    ),
    "a fork goes on": (
        "fork = os.fork()\n"
        "if fork: print(fork, flush=True)\n"
        "time.sleep(60)"
    ),
}  # fmt: skip


@contextmanager
def parent(then, content, folder):
    """A process that has decoders, and the lines that it prints."""
    (folder / "audio").write_bytes(content)
    command = [sys.executable, "-c", SCRIPT.format(then=then), str(folder / "audio")]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    with killed_at_end(process):
        yield process


@pytest.mark.parametrize("then", ENDS.values(), ids=ENDS)
def test_no_decoder_outlives_its_parent(then, tmp_path):
    with parent(then, encoded(), tmp_path) as process:
        others = list(map(int, process.stdout.readline().split()))
        found = decoders_of(process.pid)
        assert len(found) == 2
        process.kill()
        wait_for_end(found, within_s=5)
        assert all(map(alive, others))
        for other in others:
            os.kill(other, signal.SIGKILL)


def test_a_decoder_at_work_ends_with_its_parent(tmp_path):
    """libvorbis is busy with this header for seconds, and looks at no socket meanwhile."""
    began = time.monotonic()
    with pytest.raises(AudioError, match="not audio"):
        Recording(io.BytesIO(bomb(100)))
    took = time.monotonic() - began
    then = "print(flush=True)\nRecording(io.BytesIO(Path(sys.argv[1] + '.bomb').read_bytes()))"
    (tmp_path / "audio.bomb").write_bytes(bomb(100))
    with parent(then, encoded(), tmp_path) as process:
        process.stdout.readline()
        busy = wait_until(lambda: [p for p in decoders_of(process.pid) if used_kb(p) > 200_000])
        process.kill()
        began = time.monotonic()
        wait_for_end(busy)
        assert time.monotonic() - began < took / 3


def used_kb(process):
    return int(Path(f"/proc/{process}/status").read_text().partition("VmRSS:")[2].split()[0])


def test_a_program_that_ends_takes_its_decoders_along(tmp_path):
    then = "print(flush=True); sys.stdin.readline()"
    (tmp_path / "audio").write_bytes(encoded())
    command = [sys.executable, "-W", "error", "-c", SCRIPT.format(then=then), str(tmp_path / "audio")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with killed_at_end(subprocess.Popen(command, cwd=REPOSITORY, text=True, **pipes)) as process:
        process.stdout.readline()
        found = decoders_of(process.pid)
        assert len(found) == 2
        _, said = process.communicate("\n", timeout=30)
        assert (process.returncode, said) == (0, "")
        wait_for_end(found, within_s=1)


def test_a_fork_decodes_with_its_own(tmp_path):
    then = (
        "import signal\n"
        "if os.fork():\n    print(os.wait()[1], second.read(0, 100).sum(), flush=True)\n"
        "else:\n    print(second.read(0, 100).sum(), flush=True)\n    os._exit(0)"
    )
    with parent(then, encoded(), tmp_path) as process:
        lines = process.communicate(timeout=30)[0].split()
    assert lines[1] == "0"
    assert lines[0] == lines[2]
