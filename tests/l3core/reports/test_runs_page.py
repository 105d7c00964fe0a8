"""The page of a table's runs, looked at in a real browser."""

from datetime import datetime, timedelta, timezone
from itertools import pairwise

import pytest

from l3core.reports.runs import _coverage, runs_page, worker_hours
from launch.runs import table_of_runs
from tests.browser import opened

EVIL = "<script>document.title='broken'</script>"
BEGIN = datetime(2026, 10, 20, 2, 0, tzinfo=timezone.utc)


def good(night, *, old=False, spec="s0123456789abcdef", **more):
    """A run record; an old one has no `ledger` and no `workers`."""
    record = {
        "status": "ok",
        "run_id": f"run-{night}",
        "commit": night + 1,
        "command": "embed",
        "fingerprint": spec,
        "started_at": (BEGIN + timedelta(days=night)).isoformat(),
        "committed_at": (BEGIN + timedelta(days=night, minutes=30)).isoformat(),
        "clips": {"ok": 90 + night, "unreadable": night % 3, "truncated": 1},
        "windows": 1000,
        "windows_per_s": 50.0,
        "x_real_time": 20.0 + night % 7,
        "wall_s": 1800.0,
        "bytes_read": 10_000_000,
        "bytes_written": 2_000_000,
        "busy_s": {"model": 100.0, "read": 10.0},
    }
    new = {"ledger": {"ok": 90 + night, "unreadable": 9, "truncated": 1}, "workers": 2}
    return record | ({} if old else new) | more


def failed(night, **more):
    """The record of a failed run."""
    return {
        "status": "failed",
        "run_id": f"run-{night}",
        "fingerprint": "s0123456789abcdef",
        "message": f"the run failed, the table is as it was: {EVIL}",
        "exit_code": 1,
        "stage": "embedding",
        "clips": {"ok": 3, "storage-error": 40},
        "started_at": (BEGIN + timedelta(days=night)).isoformat(),
        "failed_at": (BEGIN + timedelta(days=night, minutes=5)).isoformat(),
        "duration_s": 300.0,
        "workers": 2,
    } | more


SILENT = {"exit_code": None, "stage": None, "failed_at": None, "duration_s": None, "clips": {}}


def hundred():
    """Three months: some nights failed, some were killed, the first ran an older version."""
    for night in range(100):
        if night % 10 == 3:
            yield failed(night)
        elif night % 25 == 7:
            yield failed(night, status="interrupted", message="interrupted; the table is as it was")
        elif night == 50:
            yield {key: value for key, value in failed(night, **SILENT).items() if value is not None}
        else:
            other = {"spec": "sfedcba9876543210"} if night > 60 and night % 2 else {}
            yield good(night, old=night < 20, **other)


CASES = {
    "none": ([], []),
    "one": (
        [good(0)],
        ["Coverage", "Files by status", "Speed", "Where the time went", "Bytes", "Cost"],
    ),
    "old": (
        [good(1, old=True)],
        ["Files that failed", "Files by status", "Speed", "Where the time went", "Bytes", "Cost"],
    ),
    "only failures": ([failed(0), failed(1)], ["Failed runs", "Files that failed", "Cost"]),
    "hundred": (
        list(hundred()),
        [
            "Coverage",
            "Failed runs",
            "Files that failed",
            "Files by status",
            "Speed",
            "Where the time went",
            "Bytes",
            "Cost",
        ],
    ),
}


LABELS = """svg => [...svg.querySelectorAll('[id^=xtick] [id^=text]')]
    .map(label => label.getBoundingClientRect())
    .filter(box => box.width > 0).map(box => [box.left, box.right])"""


@pytest.mark.parametrize("case", CASES)
def test_the_page_in_a_browser(case, tmp_path):
    records, names = CASES[case]
    html = runs_page(f"/tables/{EVIL}", records, *table_of_runs(records), price=1.2)
    (tmp_path / "runs.html").write_text(html, encoding="utf-8")
    with opened(tmp_path / "runs.html") as seen:
        page = seen.page
        assert page.title() == "Runs of a feature table"
        headings = page.locator("h2").all_inner_texts()
        assert headings == [*names, "All runs"]
        assert page.locator("svg").count() == len(names)
        assert page.locator("tbody tr").count() == len(records)
        assert page.locator("h1 + p").inner_text().startswith(f"{len(records)} run")
        # what is drawn dark lies on what is light, whatever the reader's system is set to
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert (
                page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
            )
            assert page.evaluate("getComputedStyle(document.body).color") == "rgb(34, 34, 34)"
        width = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert width <= 0
        for chart in page.locator("svg").all():
            box = chart.bounding_box()
            assert box["width"] > 300
            assert box["height"] > 100
        for chart in page.locator("svg").all():
            labels = sorted(chart.evaluate(LABELS))
            assert labels
            assert all(left[1] < right[0] for left, right in pairwise(labels))
        assert seen.complaints == []
        assert seen.requests == [(tmp_path / "runs.html").as_uri(), "data:,"][: len(seen.requests)]


def test_coverage_is_that_of_the_whole_ledger():
    """90 ok and 1 truncated of 100 rows have windows: 91 %, whatever this run embedded."""
    html = runs_page("t", [good(0)], *table_of_runs([good(0)]))
    assert "% of files" in html
    svg = html[html.index("<svg") : html.index("</svg>")]
    assert [share for _, share in _coverage([good(0)])] == [0.91]
    assert "s0123456789abcdef" in svg


def test_cost_is_workers_times_hours():
    """1800 s with two workers are one hour; an old record counts as one worker's: half an hour."""
    assert worker_hours(good(0)) == 1.0
    assert worker_hours(good(0, old=True)) == 0.5
    assert worker_hours(failed(0)) == pytest.approx(2 * 300 / 3600)
    assert worker_hours(failed(0, duration_s=None)) == 0.0
    records = [good(0), good(1), good(2, old=True)]
    html = runs_page("t", records, *table_of_runs(records), price=1.2)
    assert "2.5 worker hours in all, 3 at 1.2 an hour" in html
    assert "not in it" in html
