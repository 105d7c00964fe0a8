"""What answers of a site mean, the pace, the ledger and the plan of fetching."""

import json
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import fsspec
import pytest

from l3core.avc.fetch_ledger import FOLDER, LINES_HELD, FetchLedger, FetchRow, read_fetched
from l3core.avc.fetch_one import Fetched, FetchSettings, StoppedError
from l3core.avc.fetch_pace import LONGEST_S, Pace, waits_from
from l3core.avc.fetch_statuses import MOST_CHARACTERS, STATUSES, TRANSIENT, in_one_line, status_of
from l3core.avc.fetching import clear_half_written, fetch_all, plan_fetching
from l3core.avc.subset_csv import Times
from l3core.errors import DamagedError, RunError, UsageError

ROW = FetchRow("x", "x", 0.0, 10.0, "ok", file="x.mp4", size_bytes=7)


class Site:
    """Answers as it is told to: each video's statuses one after the other, the last one for ever."""

    def __init__(self, **answers):
        self.answers = {video: words.split() for video, words in answers.items()}
        self.asked = []

    @contextmanager
    def fetching(self, times):
        self.asked.append(times.video)
        left = self.answers.get(times.video, ["gone"])
        status, _, wait = (left.pop(0) if len(left) > 1 else left[0]).partition(":")
        yield Fetched(status, "as told", retry_after_s=float(wait) if wait else None)

    def stop(self):
        pass


def run_at(site, output, videos, *, waits_s=(0.001,) * 5):
    """One run by one worker; the pace, and the videos that were asked for."""
    named = {name: Times(name, 0.0, 10.0) for name in videos}
    plan = plan_fetching(named, str(output), read_fetched(str(output)))
    pace, site.asked = Pace(waits_s=waits_s), []
    fetch_all(plan, str(output), site, FetchLedger(str(output)), pace=pace, workers=1)
    return pace


def statuses_at(output):
    return {name: row.status for name, row in read_fetched(str(output)).items()}


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ("ERROR: [youtube] x: Private video. Sign in if you've been granted access", "private"),
        ("ERROR: [youtube] x: Video unavailable. This video has been removed by the uploader", "gone"),
        (
            "ERROR: [youtube] x: Video unavailable. This video is no longer available because the "
            "YouTube account associated with this video has been terminated.",
            "gone",
        ),
        (
            "ERROR: [youtube] x: Video unavailable. The uploader has not made this video available in "
            "your country",
            "geo-blocked",
        ),
        ("This video contains content from X, who has blocked it in your country", "geo-blocked"),
        (
            "ERROR: [youtube] x: Sign in to confirm your age. This video may be inappropriate",
            "forbidden",
        ),
        ("ERROR: [youtube] x: Sign in to confirm you\u2019re not a bot. Use --cookies", "rate-limited"),
        ("This content isn't available, try again later. The current session has been", "rate-limited"),
        ("ERROR: unable to download video data: HTTP Error 403: Forbidden", "forbidden"),
        ("[https @ 0x5] HTTP error 429 Too Many Requests", "rate-limited"),
        ("Server returned 404 Not Found ffmpeg exited with code 1", "gone"),
        ("HTTP Error 503: Service Unavailable", "network"),
        ("<urlopen error [Errno -2] Name or service not known>", "network"),
        ("Connection refused", "network"),
        ("ERROR: Unsupported URL: http://x", "broken"),
        ("moov atom not found ERROR: ffmpeg exited with code 183", "broken"),
        ("HTTP Error 451", "geo-blocked"),
        ("something nobody knows", "failed"),
    ],
)
def test_what_an_error_means(message, status):
    assert status_of(message) == status
    assert status in STATUSES


def test_the_answer_counts_more_than_words_that_say_less():
    assert status_of("Unable to download webpage", 404) == "gone"
    assert status_of("This video is not available in your country", 403) == "geo-blocked"
    assert set(STATUSES) > TRANSIENT


def test_an_error_is_one_line_without_advice():
    text = "ERROR: \x1b[0;31m[generic]\x1b[0m a\nb; please report this issue on  https://x"
    assert in_one_line(text) == "[generic] a b"
    assert len(in_one_line("x" * 9999)) == MOST_CHARACTERS


def test_turns_are_evenly_spaced():
    pace = Pace(per_minute=600)  # one every 0.1 s
    began = time.monotonic()
    for _ in range(4):
        pace.take_turn()
    assert 0.3 <= time.monotonic() - began < 1.0


def test_a_site_that_refuses_is_left_alone_longer_each_time_and_then_for_good():
    pace = Pace(waits_s=(0.05, 0.1))
    assert pace.wait_longer(pace.take_turn(), None)
    assert 0 < pace.paused_s <= 0.05
    assert pace.refused
    assert pace.wait_longer(pace.take_turn(), None)
    assert 0.05 < pace.paused_s <= 0.1
    assert not pace.wait_longer(pace.take_turn(), None)
    pace.go_on()
    assert not pace.refused
    assert pace.wait_longer(pace.take_turn(), None)


def test_refusals_of_one_moment_are_one():
    pace = Pace(waits_s=(0.01,))
    turns = [pace.take_turn() for _ in range(3)]
    assert [pace.wait_longer(turn, None) for turn in turns] == [True, True, True]


def test_a_site_says_how_long_it_wants_to_be_left_alone():
    pace = Pace(waits_s=(0.01, 0.01))
    assert pace.wait_longer(pace.take_turn(), 30.0)
    assert 29 < pace.paused_s <= 30
    assert pace.wait_longer(1, LONGEST_S)
    assert pace.paused_s > LONGEST_S - 1
    unwilling = Pace(waits_s=(0.01,))
    assert unwilling.wait_longer(0, LONGEST_S + 1)
    assert unwilling.paused_s <= 0.01
    assert not unwilling.spent
    assert not unwilling.wait_longer(1, None)
    assert unwilling.spent


def test_waits_double():
    assert waits_from(60.0) == (60, 120, 240, 480, 960)
    assert waits_from(2000.0) == (2000, LONGEST_S, LONGEST_S, LONGEST_S, LONGEST_S)


def test_who_waits_for_a_turn_is_woken_at_the_end():
    pace = Pace(per_minute=1)
    pace.take_turn()
    threading.Timer(0.05, pace.stop).start()
    with pytest.raises(StoppedError):
        pace.take_turn()
    with pytest.raises(StoppedError):
        pace.take_turn()


def test_the_last_row_of_a_video_counts(tmp_path):
    output = str(tmp_path)
    assert read_fetched(output) == {}
    ledger = FetchLedger(output)
    ledger.add(ROW._replace(status="network", error="é\n"))
    ledger.add(ROW._replace(name="y"))
    ledger.add(ROW)
    ledger.close()
    rows = read_fetched(output)
    assert list(rows) == ["x", "y"]
    assert rows["x"]._replace(at="") == ROW
    assert rows["x"].at.endswith("Z")


def test_a_line_that_a_killed_run_left_is_none(tmp_path):
    FetchLedger(str(tmp_path)).add(ROW)
    (file,) = (tmp_path / FOLDER).iterdir()
    file.write_bytes(file.read_bytes() + b'{"name": "y", "vid')
    assert list(read_fetched(str(tmp_path))) == ["x"]
    file.write_bytes(b"{}\n" + file.read_bytes())
    with pytest.raises(DamagedError, match="line 1 is no row"):
        read_fetched(str(tmp_path))


def test_a_store_gets_an_object_for_every_few_rows():
    fs = fsspec.filesystem("memory")
    ledger = FetchLedger("memory://fetched/videos")
    for number in range(LINES_HELD + 1):
        ledger.add(ROW._replace(name=f"{number}"))
    assert len(read_fetched("memory://fetched/videos")) == LINES_HELD
    ledger.close()
    ledger.close()
    assert len(read_fetched("memory://fetched/videos")) == LINES_HELD + 1
    assert len(fs.ls(f"/fetched/videos/{FOLDER}")) == 2
    fs.rm("/fetched", recursive=True)


def test_what_is_there_or_will_not_come_is_not_asked_for(tmp_path):
    named = {name: Times(name, 0.0, 10.0) for name in ("x", "-y", "z", "w", "v", "u")}
    for file in ("x.mp4", "-y.webm", "z.mp4.123abc.tmp"):
        (tmp_path / file).write_bytes(b"1")
    ledger = {
        name: FetchRow(name, name, 0.0, 10.0, status)
        for name, status in {"x": "ok", "w": "gone", "v": "network", "u": "ok"}.items()
    }
    plan = plan_fetching(named, str(tmp_path), ledger)
    assert list(plan.wanted) == ["z", "v", "u"]
    assert plan.there == ("x", "-y")
    assert plan.unrecorded == {"-y": ("-y.webm", named["-y"])}
    assert plan.settled == {"gone": 1}
    again = plan_fetching(named, str(tmp_path), ledger, retry={"gone"})
    assert list(again.wanted) == ["z", "w", "v", "u"]


def test_what_was_never_asked_for_comes_first_and_then_what_was_asked_for_longest_ago(tmp_path):
    named = {name: Times(name, 0.0, 10.0) for name in "abcdef"}
    dates = {"a": "2026-01-03", "c": "2026-01-01", "d": "2026-01-02"}
    ledger = {name: FetchRow(name, name, 0.0, 10.0, "network", at=at) for name, at in dates.items()}
    plan = plan_fetching(named, str(tmp_path), ledger)
    assert "".join(plan.wanted) == "befcda"
    assert set(plan.again) == set("acd")


def test_videos_that_are_never_reached_keep_no_others_from_their_turn(tmp_path):
    site = Site(**dict.fromkeys("abcdefg", "network"))
    with pytest.raises(RunError, match="5 videos in a row not reached"):
        run_at(site, tmp_path, "abcdefgxyz")
    assert site.asked == list("abcde")
    run_at(site, tmp_path, "abcdefgxyz")
    assert "".join(site.asked) == "fgxyzabcde"
    assert statuses_at(tmp_path) == dict.fromkeys("abcdefg", "network") | dict.fromkeys("xyz", "gone")


def test_a_video_that_is_always_refused_is_left_and_the_run_goes_on(tmp_path):
    site = Site(a="rate-limited", c="rate-limited gone", d="rate-limited:9999")
    pace = run_at(site, tmp_path, "abcdef")
    assert "".join(site.asked) == "aabccdef"
    assert statuses_at(tmp_path) == {
        **dict.fromkeys("ad", "rate-limited"),
        **dict.fromkeys("bcef", "gone"),
    }
    assert not pace.refused
    run_at(site, tmp_path, "abcdef")
    assert sorted(site.asked) == ["a", "a", "d"]


def test_videos_in_a_row_that_are_refused_end_the_run(tmp_path):
    site = Site(**dict.fromkeys("bcd", "rate-limited"))
    with pytest.raises(RunError, match=r"the site refuses for now \(as told\); the same command"):
        run_at(site, tmp_path, "abcdef")
    assert "".join(site.asked) == "abbccdd"
    assert statuses_at(tmp_path) == {"a": "gone", **dict.fromkeys("bcd", "rate-limited")}
    run_at(Site(), tmp_path, "abcdef")


def test_what_a_killed_run_was_writing_goes(tmp_path):
    kept = ["x.mp4", "x.tmp", "notes.mp4.tmp", f"my notes.{'a' * 32}.tmp", f"x.mp4.{'a' * 31}.tmp"]
    for name in (*kept, f"-y_0.mp4.{'0a' * 16}.tmp"):
        (tmp_path / name).touch()
    clear_half_written(str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
    clear_half_written(str(tmp_path / "none"))


def test_other_seconds_of_a_video_need_a_folder_of_their_own(tmp_path):
    (tmp_path / "x.mp4").write_bytes(b"1")
    with pytest.raises(UsageError, match=r"x\.mp4 has seconds 0 to 10, the subset has 5 to 15"):
        plan_fetching({"x": Times("x", 5.0, 15.0)}, str(tmp_path), {"x": ROW})


def test_an_id_is_quoted_in_a_url():
    settings = FetchSettings(template="https://example.org/{id}.mp4")
    assert settings.url("../a b&c") == "https://example.org/..%2Fa%20b%26c.mp4"
    assert FetchSettings().url("-x") == "https://www.youtube.com/watch?v=-x"


@pytest.mark.parametrize(
    "template",
    ["file:///etc/{id}", "ytsearch:{id}", "https://example.org/x", "https://{id}.org/x", "-o{id}", ""],
)
def test_only_urls_of_the_web_are_templates(template):
    with pytest.raises(UsageError, match="needs"):
        FetchSettings(template=template)


def test_rows_are_json_that_others_read(tmp_path):
    FetchLedger(str(tmp_path)).add(ROW)
    (file,) = Path(tmp_path, FOLDER).glob("*.jsonl")
    assert json.loads(file.read_text())["file"] == "x.mp4"
