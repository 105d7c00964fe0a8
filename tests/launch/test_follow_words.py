"""What `l3flow runs --job` says of a run that it comes to late, or does not find."""

from datetime import datetime, timedelta, timezone

import pytest

from l3core.table.layout import TablePaths
from l3core.table.lock import acquire, release
from l3core.table.progress import Progress
from launch.flink.job_server import free_port
from launch.follow import _describe, _seconds_since
from launch.main import main


@pytest.fixture
def silent_job(tmp_path):
    """(folder of a table, URL): a run of it is at work, as a job of a cluster that does not answer."""
    paths, url = TablePaths(str(tmp_path)), f"http://localhost:{free_port()}"
    acquire(paths, "sabc", "run1", job={"runner": "flink", "master": url, "name": "l3flow-run1"})
    yield tmp_path, url
    release(paths, "sabc", "run1")


def test_a_cluster_that_does_not_answer_is_named_where_a_job_is_not_found(silent_job, capsys):
    table, url = silent_job
    assert main(["runs", "--table", str(table), "--job", "3f5bb0f1"]) == 2
    assert f"no run of this table has such a job, as far as is known without the cluster at {url}" in (
        capsys.readouterr().err
    )


def test_a_table_without_jobs_says_only_that_it_has_none(tmp_path, capsys):
    assert main(["runs", "--table", str(tmp_path), "--job", "3f5bb0f1"]) == 2
    assert "no run of this table has such a job (see" in capsys.readouterr().err


def test_the_rate_is_of_all_the_time_that_a_run_has_taken():
    progress = Progress(share=0.5, files=10, windows=100, audio_s=50.0)
    words = _describe(progress, 10.0, before_s=90.0)
    assert words == "10 files, 1 windows/s, 0.5 x real time, 100.0 s left"


def test_the_time_before_is_that_since_the_plan_was_begun():
    an_hour_ago = datetime.now(timezone.utc) - timedelta(hours=1)
    assert _seconds_since(an_hour_ago.isoformat()) == pytest.approx(3600, abs=10)
    assert _seconds_since((an_hour_ago + timedelta(hours=2)).isoformat()) == 0.0
