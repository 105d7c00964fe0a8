"""The lock of a run that ends while its job may go on."""

import _thread
from contextlib import contextmanager

import pytest

from l3core.table.layout import TablePaths
from l3core.table.lock import jobs_of
from launch.flink import rest
from launch.flink.jars import JobServerJar
from launch.flink.rest import FlinkCluster
from launch.flink.run import FlinkRunner
from launch.main import main
from tests.corpus import FLAGS, write_files
from tests.flink_rest import flink_rest


@pytest.fixture
def flink():
    with flink_rest() as server:
        yield server


@pytest.fixture
def embed(flink, tmp_path, monkeypatch, capsys):
    """Runs the command on a cluster that gets its job; returns exit code, line and what locks say.

    Args of it: what happens in the middle, and how the job is then.
    """

    @contextmanager
    def job_server(jar, master):
        yield "localhost:1"

    runner = FlinkRunner(
        cluster=FlinkCluster(flink.url),
        environment="process",
        pool="localhost:50000",
        jar=JobServerJar(None, None, "given"),
        slots=1,
    )
    monkeypatch.setattr(
        "launch.flink.opening.runner_of", lambda args, *_: runner if args.runner == "flink" else None
    )
    monkeypatch.setattr("launch.flink.run.job_server", job_server)
    monkeypatch.setattr("launch.flink.run.POLL_S", 0.01)
    monkeypatch.setattr(rest, "POLL_S", 0.01)
    corpus, table = write_files(tmp_path / "corpus", 1), tmp_path / "table"

    def run(happens, *, cancelled="CANCELED"):
        flink.cancelled = cancelled

        def submit(self, build, endpoint, master, name, beam_options):
            flink.add_job("a1", name)
            state, asked = flink.answers["/jobs/a1"], []

            def answer():
                asked.append(None)
                if len(asked) == 3:
                    happens()
                return state()

            flink.answers["/jobs/a1"] = answer

        monkeypatch.setattr(FlinkRunner, "_submit", submit)
        flags = ["--runner", "flink", "--quiet"]
        code = main(["embed", "--input", str(corpus), "--output", str(table), *FLAGS, *flags])
        (line,) = capsys.readouterr().err.splitlines()
        return code, line, dict(jobs_of(TablePaths(str(table))))

    return run


def ctrl_c():
    _thread.interrupt_main()  # see tests/launch/dataflow/test_embed.py


def test_ctrl_c_stops_the_job_and_gives_the_lock_back(embed):
    code, line, locks = embed(ctrl_c)
    assert (code, locks) == (130, {})
    assert line.startswith("l3flow: interrupted; the table is as it was")


def test_a_job_that_cannot_be_stopped_keeps_the_lock(embed, flink, monkeypatch):
    monkeypatch.setattr(rest, "CANCELLED_WITHIN_S", 0.1)
    code, line, locks = embed(ctrl_c, cancelled="CANCELLING")
    ((run_id, job),) = locks.items()
    assert code == 130
    assert line.startswith(f"l3flow: interrupted, but its job {job['name']} at {flink.url} may go on")
    assert f"--job {run_id} follows it" in line


def test_so_does_one_whose_stopping_is_interrupted(embed, monkeypatch):
    """A second Ctrl-C; Flink is still about it."""

    def interrupted(self, job_id):
        raise KeyboardInterrupt

    monkeypatch.setattr(FlinkCluster, "cancel", interrupted)
    code, line, locks = embed(ctrl_c)
    assert (code, len(locks)) == (130, 1)
    assert "may go on, stop it there" in line


def test_so_does_one_whose_cluster_is_away(embed, flink, monkeypatch):
    monkeypatch.setattr(rest, "AWAY_AT_MOST_S", 0.0)

    def away():
        for path in ("/jobs/a1", "/jobs/overview"):
            flink.say(path, {}, status=503)

    code, line, locks = embed(away)
    ((run_id, _),) = locks.items()
    assert code == 1
    assert "does not answer any more: HTTP 503; its job may go on: l3flow runs" in line
    assert f"--job {run_id} follows it" in line


def test_a_run_with_nothing_to_do_had_no_job(embed, flink, tmp_path, capsys):
    command = ["embed", "--input", str(tmp_path / "corpus"), "--output", str(tmp_path / "table"), *FLAGS]
    assert main([*command, "--quiet"]) == 0
    assert main([*command, "--runner", "flink", "--json"]) == 0
    assert main(["runs", "--table", str(tmp_path / "table"), "--json"]) == 0
    said = capsys.readouterr().out
    assert '"command": "embed"' in said
    assert '"job"' not in said
    assert flink.jobs == {}
