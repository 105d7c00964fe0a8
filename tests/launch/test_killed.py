"""Runs that are killed, interrupted, or started twice: real processes, slowed by a slow engine."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

import pytest

from l3core.table import lock
from l3core.table.read import read_windows
from launch.main import main
from tests.corpus import (
    FLAGS,
    PlainRun,
    expected_rows,
    ledger,
    snapshot,
    staged_runs,
    table_rows,
    write_files,
)
from tests.processes import killed_at_end

REPOSITORY = Path(__file__).parents[2]
FILES = 32  # of five windows each: 16 shards of two

SLOW_ENGINE = """
import time
from tests.fake_model import FakeEngine

class SlowEngine(FakeEngine):
    def __call__(self, signal, starts):
        time.sleep(0.25)
        return super().__call__(signal, starts)

def load(spec, weights, *, batch_size):
    return SlowEngine(spec, weights, 16)

def load_reference(spec, weights):
    return FakeEngine(spec, weights, 16)
"""
DRIVER = """
import signal, sys
from l3core.engines import ENGINES, EngineInfo
from tests import fake_model

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    ENGINES["fake"] = EngineInfo("slow_engine", ("float32",))
    fake_model.register()
    from l3core.table import lock
    from launch.main import main
    lock.LEASE_S, lock.RENEW_EVERY_S = 2.0, 0.2
    sys.exit(main(sys.argv[1:]))
"""


def command(corpus, table):
    return ["embed", "--input", str(corpus), "--output", str(table), *FLAGS, "--quiet"]


@contextmanager
def slow_run(folder, corpus, table):
    """A run in another process: about five seconds of work."""
    (folder / "slow_engine.py").write_text(SLOW_ENGINE)
    (folder / "driver.py").write_text(DRIVER)
    process = subprocess.Popen(
        [sys.executable, str(folder / "driver.py"), *command(corpus, table)],
        env=os.environ | {"PYTHONPATH": f"{REPOSITORY}:{folder}"},
        stderr=subprocess.PIPE,
        text=True,
    )
    with killed_at_end(process):
        yield process


def manifests(table):
    return sorted((table / "_l3flow/staging").glob("*/done/*.json"))


def wait_for_manifests(process, table, count):
    deadline = time.monotonic() + 60
    while len(manifests(table)) < count:
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Killed:
    """A table with one commit, a run that was killed on its way to the second, and the run after it."""

    def __init__(self, folder):
        self.corpus, self.table = write_files(folder / "corpus", 2), folder / "table"
        assert main(command(self.corpus, self.table)) == 0
        write_files(self.corpus, FILES - 2, first=2)
        self.first = ledger(self.table)["000.wav"]["run_id"]
        self.before = snapshot(self.table)
        with slow_run(folder, self.corpus, self.table) as process:
            wait_for_manifests(process, self.table, 1)
            (self.dead,) = staged_runs(self.table)
            self.pid = process.pid
            self.refusal = io.StringIO()
            with redirect_stderr(self.refusal):
                self.refused = main(command(self.corpus, self.table))
            wait_for_manifests(process, self.table, 4)
            process.send_signal(signal.SIGKILL)
            process.wait()
        self.after_kill = snapshot(self.table)
        self.read_after_kill = read_windows(str(self.table))[0]
        self.finished = {
            clip["clip_id"]
            for path in manifests(self.table)
            for clip in json.loads(path.read_text())["clips"]
        }
        self.code = main(command(self.corpus, self.table))


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    return Killed(tmp_path_factory.mktemp("killed"))


def test_a_second_run_at_once_is_refused(killed):
    assert killed.refused == 1
    line = killed.refusal.getvalue()
    assert line.count("\n") == 1
    assert killed.dead in line
    assert f"process {killed.pid} on {socket.gethostname()}" in line


def test_a_killed_run_leaves_the_table_as_it_was(killed):
    assert killed.after_kill == killed.before
    assert killed.read_after_kill["clip_id"].unique().to_pylist() == ["000.wav", "001.wav"]


def test_the_next_run_gives_what_an_undisturbed_one_gives(killed, tmp_path):
    assert killed.code == 0
    undisturbed = tmp_path / "table"
    assert main(command(killed.corpus, undisturbed)) == 0
    assert table_rows(killed.table) == table_rows(undisturbed) == expected_rows(killed.corpus)
    names = ("status", "windows_expected", "windows_written", "frames", "version", "uri")
    ours, other = ledger(killed.table), ledger(undisturbed)
    assert sorted(ours) == sorted(other)
    for clip_id, row in other.items():
        assert [ours[clip_id][name] for name in names] == [row[name] for name in names]
    assert staged_runs(killed.table) == []


def test_finished_shards_are_adopted_and_not_computed_again(killed):
    assert 4 <= len(killed.finished) < FILES - 2
    run_ids = {clip_id: row["run_id"] for clip_id, row in ledger(killed.table).items()}
    by_run = {run_id: {c for c, r in run_ids.items() if r == run_id} for run_id in run_ids.values()}
    assert by_run.pop(killed.first) == {"000.wav", "001.wav"}
    assert by_run.pop(killed.dead) == killed.finished
    assert sum(map(len, by_run.values())) == FILES - 2 - len(killed.finished)
    assert len(by_run) == 1


def test_an_interrupted_run_says_so_and_is_adopted(tmp_path):
    corpus, table = write_files(tmp_path / "corpus", 16), tmp_path / "table"
    with slow_run(tmp_path, corpus, table) as process:
        wait_for_manifests(process, table, 2)
        (dead,) = staged_runs(table)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 130, said
        assert said.startswith("l3flow: interrupted; the table is as it was")
        assert said.count("\n") == 1
    assert not (table / "table.json").exists()
    assert main(command(corpus, table)) == 0
    assert table_rows(table) == expected_rows(corpus)
    assert dead in {row["run_id"] for row in ledger(table).values()}


def test_a_paused_run_that_wakes_up_cannot_commit_over_the_next_one(tmp_path, monkeypatch):
    corpus, table = write_files(tmp_path / "corpus", 16), tmp_path / "table"
    with slow_run(tmp_path, corpus, table) as process:
        wait_for_manifests(process, table, 2)
        (paused,) = staged_runs(table)
        process.send_signal(signal.SIGSTOP)
        monkeypatch.setattr(lock, "LEASE_S", 2.0)
        time.sleep(2.5)
        assert main(command(corpus, table)) == 0  # its lease has ended
        after = snapshot(table)
        assert table_rows(table) == expected_rows(corpus)
        process.send_signal(signal.SIGCONT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.count("\n") == 1
    assert "another run has taken over" in said
    assert snapshot(table) == after
    assert paused in {row["run_id"] for row in ledger(table).values()}  # what it had done was adopted
    (corpus / "000.wav").unlink()
    assert main([*command(corpus, table), "--prune"]) == 0
    assert staged_runs(table) == []  # what it wrote after it woke up, too


def test_a_living_run_is_skipped_when_asked(killed, tmp_path, capsys):
    corpus, table = write_files(tmp_path / "corpus", 8), tmp_path / "table"
    with slow_run(tmp_path, corpus, table) as process:
        wait_for_manifests(process, table, 1)
        (running,) = staged_runs(table)
        assert main([*command(corpus, table), "--if-running", "skip"]) == 0
        assert capsys.readouterr() == ("", "")
        loud = [word for word in command(corpus, table) if word != "--quiet"]
        assert main([*loud, "--if-running", "skip"]) == 0
        said = capsys.readouterr().out
        assert said.startswith(f"skipped: run {running} (process {process.pid} on ")
        assert main([*loud, "--if-running", "skip", "--json"]) == 0
        assert running in json.loads(capsys.readouterr().out)["skipped"]
        assert main([*command(corpus, table), "--if-running", "fail"]) == 1
        assert process.wait(60) == 0
    assert table_rows(table) == expected_rows(corpus)


class Stopped(BaseException):
    """The process ends here."""


def test_a_commit_that_was_not_published_is_finished_by_the_next_command(tmp_path, monkeypatch):
    corpus, table = write_files(tmp_path / "corpus", 3), tmp_path / "table"

    def stop(*_):
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr("l3core.table.commit.publish", stop)
        with pytest.raises(Stopped):
            PlainRun(corpus, table, "run-1").all()
    assert not (table / "table.json").exists()
    assert table_rows(table) == []
    assert read_windows(str(table))[0].num_rows == 15  # the commit has happened
    assert main(command(corpus, table)) == 0
    assert table_rows(table) == expected_rows(corpus)
    assert {row["run_id"] for row in ledger(table).values()} == {"run-1"}
    assert len(list((table / "runs").iterdir())) == 2
    assert staged_runs(table) == []
