"""The program that fetches one segment of a video, by yt-dlp and FFmpeg: a process of its own.

It has no credentials, a home of its own, and a time limit; it reads a job as a line of JSON from
standard input, and answers with one on standard output. When standard input ends, it ends, with FFmpeg
and with what it has fetched: then nobody waits for it any more.
"""

import json
import os
import resource
import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from l3core.avc.fetch_statuses import OK, in_one_line, status_of

MOST_BYTES = 2 * 10**9  # of a file: seconds of a video are far smaller
SOUND_BITS = "192k"  # a second
LOG = "log"
NAME = "video"


def main() -> None:
    """Do the job."""
    answers = os.fdopen(os.dup(1), "w")
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, args=(job["home"],), daemon=True).start()
    # yt-dlp's words and FFmpeg's, wherever they write
    log = os.open(Path(job["folder"], LOG), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_BYTES, MOST_BYTES))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    answers.write(json.dumps(fetch(job)) + "\n")
    answers.close()
    os._exit(0)


def fetch(job: dict[str, Any]) -> dict[str, Any]:
    """Fetch seconds of a video into a folder.

    Args:
        job: `url`, `start_s`, `end_s`, `folder`, `home` (of all jobs), `resolution` (pixels of the
            smaller side).

    Returns:
        `status` and `error`; and `path` if it is ok, `retry_after_s` where the site says so.
    """
    import yt_dlp

    words = _Words()
    try:
        with yt_dlp.YoutubeDL(_options(job, words)) as downloader:
            downloader.download([job["url"]])
    except Exception as error:  # extractors are many, and raise anything
        return _failure(error, job["folder"])
    return _found(job["folder"]) or {
        "status": "broken",
        "error": in_one_line(f"nothing in these seconds {said_in(job['folder'])}"),
    }


def _options(job: dict[str, Any], words: "_Words") -> dict[str, Any]:
    from yt_dlp.utils import download_range_func

    return {
        "outtmpl": {"default": f"{NAME}.%(ext)s"},
        "paths": {"home": job["folder"]},
        "cachedir": str(Path(job["home"], "cache")),
        "logger": words,
        "noprogress": True,
        "color": {"stdout": "no_color", "stderr": "no_color"},
        "noplaylist": True,
        "playlist_items": "1",
        "format": "bv*+ba/b",
        "format_sort": [f"res:{job['resolution']}", "fps:30", "vcodec:h264", "acodec:aac", "ext"],
        "merge_output_format": "mp4",
        "download_ranges": download_range_func(None, [(job["start_s"], job["end_s"])]),
        "force_keyframes_at_cuts": True,
        # the cut is encoded again: the sound shall not suffer much
        "external_downloader_args": {
            "ffmpeg_i": ["-loglevel", "error"],
            "ffmpeg_o": ["-b:a", SOUND_BITS],
        },
        "fixup": "never",
        "retries": 0,
        "extractor_retries": 0,
        "fragment_retries": 2,
        "socket_timeout": 30,
    }


class _Words:
    """What yt-dlp says, which nobody reads."""

    def debug(self, message: str) -> None:
        """Nothing."""

    info = warning = error = debug


def _failure(error: Exception, folder: str) -> dict[str, Any]:
    message = f"{error} {said_in(folder)}"
    answer = _answer_in(error)
    wait = getattr(answer, "headers", {}).get("Retry-After") or ""
    return {
        "status": status_of(message, getattr(answer, "status", None)),
        "error": in_one_line(message),
        "retry_after_s": float(wait) if wait.isdecimal() else None,
    }


def _answer_in(error: BaseException) -> Any:
    """The answer of a server that is the cause of an error, if one is."""
    waiting: list[Any] = [error]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop()
        if not isinstance(each, BaseException) or id(each) in seen:
            continue
        seen.add(id(each))
        if (answer := getattr(each, "response", None)) is not None:
            return answer
        inner = getattr(each, "exc_info", None) or (None, None)
        waiting += [each.__context__, each.__cause__, inner[1], getattr(each, "cause", None)]
    return None


def said_in(folder: str) -> str:
    """FFmpeg's last words, or the process's own."""
    try:
        text = Path(folder, LOG).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    return " ".join(text.split("\n")[-6:])


def _found(folder: str) -> dict[str, Any] | None:
    """The file that was fetched, if there is a picture in it."""
    import av

    for path in sorted(Path(folder).glob(f"{NAME}.*")):
        if path.suffix in (".part", ".ytdl"):
            continue
        try:
            with av.open(str(path)) as video:
                next(video.decode(video=0))
        except (av.error.FFmpegError, StopIteration, IndexError):
            continue
        return {"status": OK, "error": "", "path": str(path)}
    return None


def _end_with_parent(home: str) -> None:
    sys.stdin.read()
    shutil.rmtree(home, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)
