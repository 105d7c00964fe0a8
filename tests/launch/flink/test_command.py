"""`l3flow flink`: what it says, without a cluster."""

import json
import shlex
import subprocess
import sys

import pytest

from launch.flink import command
from launch.main import main
from tests.flink_rest import flink_rest


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """Nothing is installed, and nothing runs."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "state/l3flow/flink"


def parsed(*argv):
    return command.build_parser("l3flow flink").parse(argv)


def refused(capsys, *argv):
    assert main(["flink", *argv]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_defaults():
    args = parsed("up")
    assert (args.task_managers, args.slots, args.port, args.pool) == (1, 1, 8081, None)
    assert args.flink_option == []


def test_options_go_before_and_behind():
    args = parsed("--slots", "2", "up", "--pool", "--flink-option", "a.b=c=d", "--flink-option", "e=f")
    assert (args.action, args.slots, args.pool) == ("up", 2, 50000)
    assert args.flink_option == [("a.b", "c=d"), ("e", "f")]
    assert parsed("up", "--pool", "50001").pool == 50001


@pytest.mark.parametrize(
    ("argv", "what"),
    [
        ((), "ACTION"),
        (("start",), "start"),
        (("up", "--task-managers", "0"), "needs at least 1, got '0'"),
        (("up", "--port", "65536"), "needs a port, 1 to 65535, got '65536'"),
        (("up", "--pool", "0"), "needs a port, 1 to 65535, got '0'"),
        (("up", "--flink-option", "a.b"), "needs KEY=VALUE, got 'a.b'"),
        (("up", "--task-manager", "2"), "unknown option --task-manager, did you mean --task-managers?"),
        (("up", "down"), "'down'"),
    ],
)
def test_wrong_use_is_one_line(capsys, argv, what):
    line = refused(capsys, *argv)
    assert line.startswith("l3flow flink: ")
    assert what in line


def test_the_examples_are_options_that_there_are(capsys):
    assert main(["flink", "--help"]) == 0
    said = capsys.readouterr().out
    examples = [shlex.split(line) for line in said.splitlines() if line.startswith("  l3flow ")]
    ours = [each[2:] for each in examples if each[1] == "flink"]
    assert [parsed(*each).action for each in ours] == ["install", "up", "status", "down"]
    (embed,) = (each for each in examples if each[1] == "embed")
    assert embed[-2:] == ["--flink-master", "localhost:8081"]
    for action in ("install", "up", "status", "down"):
        assert f"\n  {action} " in said


def test_help_loads_no_client():
    code = "import sys; from launch.main import main; main(['flink', '--help']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "launch.flink.command" in loaded
    assert not {"apache_beam", "tensorflow", "grpc"} & loaded


def test_nothing_runs(capsys):
    assert main(["flink", "status"]) == 0
    assert capsys.readouterr().out == "no cluster runs here: l3flow flink up starts one\n"
    assert main(["flink", "down"]) == 0
    assert capsys.readouterr().out == "no cluster runs here\n"


def test_nothing_runs_for_programs(capsys):
    assert main(["flink", "status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"processes": []}
    assert main(["flink", "down", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"stopped": []}


@pytest.mark.parametrize("action", ["status", "down"])
def test_quiet_says_nothing(capsys, action):
    assert main(["flink", action, "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("action", ["install", "up"])
def test_without_maven(capsys, monkeypatch, tmp_path, action):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "there is no mvn here: install Maven" in refused(capsys, action, "--quiet")


def known(folder, port):
    """The files of a cluster whose one process runs, as far as its number tells."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)", str(folder)])
    folder.mkdir(parents=True)
    (folder / "session.json").write_text(
        json.dumps({"port": port, "slots": 2, "pool": None, "options": {}})
    )
    (folder / "jobmanager.pid").write_text(str(process.pid))
    return process


@pytest.mark.parametrize("given", [True, False])
def test_one_that_runs(capsys, nowhere, tmp_path, given, monkeypatch):
    folder = tmp_path / "own" if given else nowhere
    monkeypatch.chdir(tmp_path)
    more = ["--folder", "own"] if given else []
    with flink_rest() as flink:
        flink.add_job("a1", "l3flow-run-1", "RUNNING")
        process = known(folder, flink.port)
        try:
            assert main(["flink", "status", *more]) == 0
            said = capsys.readouterr().out
            assert main(["flink", "status", "--json", *more]) == 0
            facts = json.loads(capsys.readouterr().out)
            assert main(["flink", "down", *more]) == 0
            assert capsys.readouterr().out == "stopped: jobmanager\n"
            assert process.wait(5) == -15
        finally:
            process.kill()
            process.wait()
        assert said.splitlines() == [
            f"jobmanager     running  {process.pid}",
            f"{flink.url}: 3 of 4 slots free",
            "a1  RUNNING    l3flow-run-1",
        ]
        assert facts == {
            "url": flink.url,
            "folder": str(folder),
            "processes": [{"name": "jobmanager", "pid": process.pid, "alive": True}],
            "task_managers": 2,
            "slots": 4,
            "free_slots": 3,
            "jobs": [{"id": "a1", "name": "l3flow-run-1", "state": "RUNNING"}],
        }
    assert main(["flink", "status", *more]) == 0
    assert capsys.readouterr().out == "no cluster runs here: l3flow flink up starts one\n"
