"""Fetching one segment of a video: in a process that is killed when it takes too long."""

import importlib.util
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from l3core.avc.fetch_child import said_in
from l3core.avc.fetch_statuses import OK, STATUSES, in_one_line
from l3core.avc.subset_csv import Times
from l3core.errors import UsageError
from l3core.urls import checked_url, is_web

TEMPLATE = "https://www.youtube.com/watch?v={id}"
# Credentials stay here: what is fetched is made by strangers.
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
ENVIRONMENT = (
    *("LANG", "LC_ALL", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *PROXIES,
    *map(str.upper, PROXIES),
)
# With -I: nothing of the user's environment, and no packages but those that this process finds.
START = "import sys; sys.path[:] = sys.argv[1:]; from l3core.avc.fetch_child import main; main()"


@dataclass(frozen=True, kw_only=True)
class FetchSettings:
    """How a video is asked for.

    Attributes:
        template: its URL, with `{id}` for its id.
        timeout_s: seconds that it may take.
        resolution: pixels of the smaller side: the largest up to it, or else the smallest that there is.
    """

    template: str = TEMPLATE
    timeout_s: float = 600.0
    resolution: int = 360

    def __post_init__(self) -> None:
        """Raises UsageError for a template that is no URL of a video."""
        if "{id}" not in self.template or not is_web(self.template):
            raise UsageError(f"needs an http(s):// URL with {{id}} in it, got {self.template!r}")
        if "{id}" in self.template.split("/")[2]:
            raise UsageError(f"needs {{id}} after the host, got {self.template!r}")
        checked_url(self.url("x"))

    def url(self, video: str) -> str:
        """The URL of a video."""
        return self.template.replace("{id}", quote(video, safe=""))


class Fetched(NamedTuple):
    """What became of a segment.

    Attributes:
        status: one of `STATUSES`.
        error: in words; empty if it is ok.
        path: of the file, in the folder that was given; None if there is none.
        retry_after_s: seconds that the site wants to be left alone, where it says so.
    """

    status: str
    error: str = ""
    path: Path | None = None
    retry_after_s: float | None = None


def hold_installed() -> None:
    """Raises UsageError if a package is not here that fetching needs."""
    for module, package in (("yt_dlp", "yt-dlp"), ("imageio_ffmpeg", "imageio-ffmpeg"), ("av", "av")):
        if importlib.util.find_spec(module) is None:
            raise UsageError(f"fetching videos needs {package}: pip install 'l3flow[video]'")


class StoppedError(Exception):
    """Nothing is fetched any more."""


class Fetcher:
    """Fetches segments, several at a time if it is called by several threads."""

    def __init__(self, settings: FetchSettings, home: str) -> None:
        """Raises UsageError if there is no FFmpeg.

        Args:
            settings: how.
            home: folder of its own: caches, and the files until they are taken.
        """
        self._settings = settings
        self._home = home
        self._running: set[subprocess.Popen[str]] = set()
        self._stopped = False
        Path(home, "bin").mkdir()
        Path(home, "bin", "ffmpeg").symlink_to(_ffmpeg())  # what has no such name yt-dlp finds by none

    @contextmanager
    def fetching(self, times: Times) -> Iterator[Fetched]:
        """Fetch a segment; its file is there while the block runs."""
        with tempfile.TemporaryDirectory(dir=self._home, ignore_cleanup_errors=True) as folder:
            yield self._fetch(times, folder)

    def stop(self) -> None:
        """Kill what is fetched now, and begin nothing any more: callers meet a `StoppedError`."""
        self._stopped = True
        for process in tuple(self._running):
            _kill(process)

    def _fetch(self, times: Times, folder: str) -> Fetched:
        settings = self._settings
        job = {
            "url": settings.url(times.video),
            "start_s": times.start_s,
            "end_s": times.end_s,
            "folder": folder,
            "home": self._home,
            "resolution": settings.resolution,
        }
        process = self._start(folder)
        self._running.add(process)
        try:
            line = "" if self._stopped else _answer(process, json.dumps(job) + "\n", settings.timeout_s)
        finally:
            _kill(process)
            self._running.discard(process)
            _forget(process)
        if self._stopped:
            raise StoppedError
        if line is None:
            return Fetched("timeout", f"it took longer than {settings.timeout_s:g} s")
        return _fetched(line, folder)

    def _start(self, folder: str) -> "subprocess.Popen[str]":
        environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
        environment |= {
            "PATH": os.pathsep.join([str(Path(self._home, "bin")), os.environ.get("PATH", os.defpath)]),
            "HOME": self._home,
            "TMPDIR": folder,
            "YTDLP_NO_PLUGINS": "1",
        }
        return subprocess.Popen(
            [sys.executable, "-I", "-c", START, *filter(None, sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )


def _answer(process: "subprocess.Popen[str]", job: str, timeout_s: float) -> str | None:
    """The line that a process answers, or None; its standard input stays open, or it would end."""
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError):
        process.stdin.write(job)
        process.stdin.flush()
    ready, _, _ = select.select([process.stdout], [], [], timeout_s)
    return process.stdout.readline() if ready else None


def _fetched(line: str, folder: str) -> Fetched:
    """What a process says; it has read what strangers made, and is not believed more than needed."""
    try:
        said = json.loads(line)
        status, error, path = said["status"], str(said["error"]), said.get("path")
        wait = said.get("retry_after_s")
    except (ValueError, KeyError, TypeError, AttributeError):
        return Fetched("failed", in_one_line(f"the process that fetches it died {said_in(folder)}"))
    if status not in STATUSES or (status == OK) != isinstance(path, str):
        return Fetched("failed", in_one_line(f"no answer that is understood: {line}"))
    inside = path and Path(folder, Path(path).name)
    if inside and (inside.is_symlink() or not inside.is_file()):
        return Fetched("failed", "the file is not where it should be")
    return Fetched(status, error, inside or None, wait if isinstance(wait, int | float) else None)


def _kill(process: "subprocess.Popen[str]") -> None:
    """Kill a process with all that it has started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _forget(process: "subprocess.Popen[str]") -> None:
    """Let nothing be left of a process that was killed."""
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()


def _ffmpeg() -> str:
    import imageio_ffmpeg

    try:
        return str(Path(imageio_ffmpeg.get_ffmpeg_exe()).resolve())
    except RuntimeError:
        raise UsageError(
            "fetching videos needs the program ffmpeg: pip install 'l3flow[video]' brings one along"
        ) from None
