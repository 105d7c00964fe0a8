"""The DAG: loaded by Airflow, which does its task, in an environment of its own (make .venv/airflow)."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings

from launch.schedules import airflow
from launch.schedules.job import Job, Secrets
from launch.schedules.when import parse_every
from tests.schedules import HOSTILE, WORDS, embedding, recorder, schedule

REPO = Path(__file__).parents[3]
PYTHON = Path(os.environ.get("L3FLOW_TEST_AIRFLOW", REPO / ".venv/airflow")) / "bin/python"
LOADER = Path(__file__).parent / "load_dag.py"


def load(folder, start="2027-03-26", **environment):
    """What Airflow makes of the DAGs in a folder, whose tasks it has done."""
    done = subprocess.run(
        [PYTHON, LOADER, str(folder / "dags"), start, str(folder / "facts.json")],
        env={
            "PATH": os.defpath,
            "HOME": str(folder),
            "AIRFLOW_HOME": str(folder / "home"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "LC_ALL": "C.UTF-8",
        }
        | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / "facts.json").read_text()), done.stdout + done.stderr


def write(folder, files):
    (folder / "dags").mkdir()
    for name, text in files.items():
        (folder / "dags" / name).write_text(text, encoding="utf-8")


def test_airflow_loads_it_and_names_arrive_as_they_are(capsys, tmp_path):
    program, noted = recorder(tmp_path)
    flags = ["--executable", program, "--time-zone", "Europe/Berlin"]
    option = ["--storage-option", "key=env:L3FLOW_KEY"]
    command = embedding(*(f"/data/{name}" for name in HOSTILE))
    facts = schedule(capsys, "airflow", *command, *option, every="day at 02:30", flags=flags)
    write(tmp_path, facts["files"])
    loaded, log = load(tmp_path, AIRFLOW_VAR_L3FLOW_KEY="a b%c")
    assert loaded["errors"] == {}
    dag = loaded["dags"]["l3flow-embed"]
    # no run on the day when 02:30 does not exist would be a gap: it runs an hour later
    runs = [f"2027-03-{day}:30:00+00:00" for day in ("26T01", "27T01", "28T01", "29T00")]
    assert dag == {
        "catchup": False,
        "max_active_runs": 1,
        "time_zone": "Europe/Berlin",
        "retries": 2,
        "templates": [],
        "raised": None,
        "runs": runs,
    }
    found = json.loads(noted.read_text())
    assert found["argv"] == facts["command"][1:]
    assert found["env"]["L3FLOW_KEY"] == "a b%c"
    assert "said so" in log


@pytest.mark.parametrize(("code", "raised"), [("1", "AirflowException"), ("2", "AirflowFailException")])
def test_a_failure_fails_the_task(capsys, tmp_path, code, raised):
    """Exit code 2, wrong use, is not tried again."""
    program, _ = recorder(tmp_path)
    flags = ["--executable", program, "--time-zone", "Europe/Berlin"]
    facts = schedule(capsys, "airflow", *embedding("gs://b/a"), every="day at 02:30", flags=flags)
    write(tmp_path, facts["files"] | {"broken.py": "from airflow import no_such  # a DAG\n"})
    loaded, _ = load(tmp_path, start="2026-10-23", END_WITH=code)
    dag = loaded["dags"]["l3flow-embed"]
    assert dag["raised"][0] == raised
    # 02:30 comes twice on the 25th, and the second is taken
    assert dag["runs"] == [f"2026-10-{day}:30:00+00:00" for day in ("23T00", "24T00", "25T01", "26T01")]
    assert "no_such" in str(loaded["errors"])  # a file that is broken would be seen


@settings(deadline=None)
@given(WORDS, WORDS)
def test_any_word_is_a_literal(first, second):
    job = Job("x", parse_every("night"), "Etc/UTC", "night", first, ("embed", second), Secrets(("A",)))
    text = airflow.write(job)["x.py"]
    literal = text[text.index("COMMAND = ") : text.index("# Variables of Airflow")]
    found = {}
    exec(compile(literal, "dag", "exec"), found)
    assert found["COMMAND"] == [first, "embed", second]
