"""Video decoders crash, hang, grow and are left alone: it costs one video, and nothing is left."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from l3core.avc import process
from l3core.avc.errors import VideoError
from l3core.avc.moments import MomentSettings, sample_video
from l3core.avc.process import end_own_process, own_process
from l3core.avc.video import VideoLimits
from l3core.errors import RunError, UsageError
from tests.processes import alive, wait_for_end, wait_until
from tests.videos import coded_video, stored_video

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("videos") / "a.mp4"
    coded_video(path)
    return path


@pytest.fixture(autouse=True)
def none_left():
    yield
    end_own_process()


def sampled(path, **limits):
    settings = MomentSettings(per_video=2)
    return sample_video(stored_video(path), "a", settings, VideoLimits(**{"seconds": 60, **limits}))


def test_a_process_is_used_again(video):
    sampled(video)
    first = own_process().pid
    sampled(video)
    assert own_process().pid == first


def test_a_bad_video_costs_no_process(video, tmp_path):
    (tmp_path / "text.mp4").write_text("text")
    first = own_process().pid
    with pytest.raises(VideoError):
        sampled(tmp_path / "text.mp4")
    sampled(video)
    assert own_process().pid == first


def test_a_crash_costs_one_video(video):
    sampled(video)
    pid = own_process().pid
    os.kill(pid, signal.SIGSTOP)  # it is at work, as far as anybody sees

    def crash():
        os.kill(pid, signal.SIGSEGV)
        os.kill(pid, signal.SIGCONT)

    timer = threading.Timer(0.2, crash)
    timer.start()
    with pytest.raises(VideoError, match=r"the decoder crashed \(SIGSEGV\)") as error:
        sampled(video)
    timer.join()
    assert error.value.status == "unreadable"
    assert not alive(pid)
    assert len(sampled(video).moments) == 2
    assert own_process().pid != pid


def test_what_hangs_is_killed_in_time(video):
    sampled(video)
    pid = own_process().pid
    os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(VideoError, match=r"decoding takes longer than 0\.4 s") as error:
        sampled(video, seconds=0.4)
    assert error.value.status == "timeout"
    assert 0.3 < time.monotonic() - began < 3
    assert not alive(pid)
    assert len(sampled(video).moments) == 2


def test_killed_by_the_system_is_out_of_memory(video):
    sampled(video)
    pid = own_process().pid
    os.kill(pid, signal.SIGSTOP)
    timer = threading.Timer(0.2, os.kill, (pid, signal.SIGKILL))
    timer.start()
    with pytest.raises(VideoError) as error:
        sampled(video)
    timer.join()
    assert error.value.status == "out-of-memory"


def test_one_that_died_between_videos_is_no_video_s_fault(video):
    sampled(video)
    first = own_process()
    os.kill(first.pid, signal.SIGKILL)
    wait_until(lambda: not first.usable, 120)
    assert len(sampled(video).moments) == 2
    assert own_process() is not first


def test_memory_is_limited_for_each_video(video):
    end_own_process()  # one that has decoded before may have memory left that does for this video
    with pytest.raises(VideoError) as error:
        sampled(video, memory_mb=64)
    assert error.value.status == "out-of-memory"
    assert error.value.message.endswith(": 64 MiB")
    assert len(sampled(video).moments) == 2


def test_it_can_open_nothing_and_knows_no_secret(video, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    end_own_process()
    sampled(video)
    pid = own_process().pid
    limits = Path(f"/proc/{pid}/limits").read_text()
    most = next(line.split()[3] for line in limits.splitlines() if line.startswith("Max open files"))
    # descriptors below the limit: those that are open, and one for the next video
    assert int(most) == len(os.listdir(f"/proc/{pid}/fd")) + 1
    assert "secret" not in Path(f"/proc/{pid}/environ").read_text()


def test_each_thread_has_its_own_which_ends_with_it(video):
    found = []

    def work():
        sampled(video)
        found.append(own_process().pid)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({own_process().pid, *found}) == 3
    for pid in found:
        wait_for_end([pid])


def test_it_ends_with_its_parent_however_that_ends(video):
    script = (
        "import sys, time; from tests.l3core.avc.test_process import sampled, own_process; "
        f"sampled({str(video)!r}); print(own_process().pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    with parent:
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.kill()
    wait_for_end([pid])


def test_a_fork_starts_its_own(video):
    script = (
        "import os, sys; from tests.l3core.avc.test_process import sampled, own_process; "
        f"path = {str(video)!r}; sampled(path); first = own_process().pid\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    sampled(path); sys.exit(own_process().pid == first)\n"
        "code = os.waitpid(child, 0)[1]; sampled(path); print(code, own_process().pid == first)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, timeout=300
    )
    assert done.stdout == "0 True\n", done.stderr


def test_a_program_that_says_something_else_is_ended(monkeypatch):
    monkeypatch.setattr(process, "START", "import os; os.write(0, b'nonsense')")
    with pytest.raises(RunError, match="a video decoder cannot be started"):
        own_process()
    monkeypatch.setattr(process, "START", "raise SystemExit(7)")
    with pytest.raises(RunError, match=r"crashed \(exit code 7\)"):
        own_process()


def test_without_pyav_the_error_says_so(monkeypatch):
    monkeypatch.setattr(sys, "path", [path for path in sys.path if "site-packages" not in path])
    monkeypatch.delitem(sys.modules, "av")
    monkeypatch.setattr(sys, "path_importer_cache", {})
    with pytest.raises(UsageError, match=r"needs PyAV: pip install 'l3flow\[video\]'"):
        own_process()
