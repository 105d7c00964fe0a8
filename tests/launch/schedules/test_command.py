"""`l3flow schedule` as a command: its own options, files and notes."""

import json
import re
import shlex
import subprocess
import sys
from importlib.metadata import version

import pytest

from launch.main import main
from launch.schedules.command import DESCRIPTION
from launch.schedules.targets import TARGETS
from launch.schedules.zones import is_of_machine, zone_of_machine
from tests.launch.schedules.test_given import EMBED, refused
from tests.schedules import TO, embedding, schedule


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--to", "crn", "--every", "night"], "k8s, cloud-scheduler, flex-template, airflow, got 'crn'"),
        (["--to", "cron", "--evry", "night"], "unknown option --evry, did you mean --every?"),
        (["--to", "cron", "--every", "5 hours"], "--every needs hours that divide 24"),
        (["--to", "cron", "--every", "night", "--image", "x"], "--image is for --to k8s, not cron"),
        (["--to", "cloud-scheduler", "--every", "night"], "--to cloud-scheduler needs --project"),
        (["--to", "cron", "--every", "night", "--name", "Not so"], "--name"),
        (["--to", "cron", "--every", "night", "--name", "a" * 53], "--name"),
        (
            ["--to", "cron", "--every", "night", "--executable", "l3flow"],
            "--executable needs an absolute",
        ),
        (["--to", "cron", "--every", "night", "--log", "a\nb"], "--log needs a path"),
        (["--to", "systemd", "--every", "night", "--user", "a\nExecStart=x"], "--user has letters"),
        (["--to", "k8s", "--every", "night", "--image", "x", "--volume", "/a"], "CLAIM=PATH"),
        (["--to", "airflow", "--every", "night", "--volume", "a"], "--volume needs an absolute"),
        (["--to", "airflow", "--every", "night", "--time-zone", "Berlin"], "--time-zone needs"),
        (
            ["--to", "airflow", "--every", "night", "--time-zone", "Europe/Berln"],
            "did you mean Europe/Berlin?",
        ),
        (["--to", "systemd", "--every", "night", "--executable", "/a$b"], "systemd has no way"),
    ],
)
def test_options_that_are_refused(capsys, argv, says):
    assert says in refused(capsys, [*argv, *EMBED])


def printed(capsys, *argv):
    assert main(["schedule", *argv, *EMBED]) == 0
    return capsys.readouterr().out


def test_what_is_known_is_not_asked(capsys, monkeypatch):
    manifest = printed(capsys, "--to", "k8s", "--every", "daily")
    assert f'image: "l3flow:{version("l3flow")}"' in manifest
    monkeypatch.setenv("CLOUDSDK_CORE_PROJECT", "my-project")
    monkeypatch.setenv("CLOUDSDK_RUN_REGION", "europe-west1")
    body = printed(capsys, "--to", "cloud-scheduler", "--every", "daily")
    assert "/projects/my-project/locations/europe-west1/jobs/l3flow:run" in body
    assert '"l3flow@my-project.iam.gserviceaccount.com"' in body


@pytest.mark.parametrize(
    ("every", "told"), [("daily", "daily"), ("every night", "every night"), ("hour", "every hour")]
)
def test_a_title_reads_well(capsys, every, told):
    text = printed(capsys, "--to", "airflow", "--every", every)
    assert text.startswith(f"# l3flow embed, {told} (")


def test_cron_knows_the_machines_time_zone_only(capsys):
    other = "Pacific/Chatham"
    assert not is_of_machine(other)
    line = refused(capsys, ["--to", "cron", "--every", "night", "--time-zone", other, *EMBED])
    assert "use --to systemd" in line
    own = zone_of_machine()
    assert schedule(capsys, "cron", *EMBED[1:], flags=["--time-zone", own])["time_zone"] == own


def test_the_machines_zone_is_what_localtime_links_to(tmp_path):
    link = tmp_path / "localtime"
    assert zone_of_machine(link) == "Etc/UTC"
    assert is_of_machine("Etc/UTC", link)
    link.symlink_to("/usr/share/zoneinfo/Europe/Berlin")
    assert zone_of_machine(link) == "Europe/Berlin"
    assert is_of_machine("Europe/Berlin", link)
    assert not is_of_machine("America/New_York", link)


@pytest.mark.parametrize("to", TO)
def test_files_are_written_as_they_are_printed(capsys, tmp_path, to):
    facts = schedule(capsys, to, *embedding("gs://b/a"))
    head = ["schedule", "--to", to, "--every", "night", *TO[to]]
    assert main([*head, "--output", str(tmp_path / "out"), "--", *embedding("gs://b/a")]) == 0
    written = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "out").iterdir()}
    assert written == facts["files"]
    assert capsys.readouterr().out.split() == [f"{tmp_path}/out/{name}" for name in facts["files"]]
    assert main([*head, "--", *embedding("gs://b/a")]) == 0
    out, err = capsys.readouterr()
    assert all(text in out for text in written.values())
    assert err == ""


@pytest.mark.parametrize(("quiet", "notes"), [([], 2), (["--quiet"], 0)])
def test_clock_changes_are_noted(capsys, quiet, notes):
    command = ["schedule", "--to", "airflow", "--every", "day at 02:30", "--time-zone", "Europe/Berlin"]
    assert main([*command, *quiet, *EMBED]) == 0
    out, err = capsys.readouterr()
    assert "timezone='Europe/Berlin'" in out
    assert err.count("l3flow: note: 02:30 ") == err.count("\n") == notes


def test_a_folder_that_cannot_be(capsys, tmp_path):
    (tmp_path / "file").touch()
    argv = ["--to", "cron", "--every", "night", "--output", tmp_path / "file", *EMBED]
    assert "--output" in refused(capsys, argv)


def test_the_examples_of_its_help_work(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"^  l3flow ((?:.*\\\n)*.*)", DESCRIPTION, re.MULTILINE)
    assert len(examples) == len(TARGETS)
    for example in examples:
        assert main(shlex.split(example.replace("\\\n", " "))) == 0, example
    assert len(list((tmp_path / "units").iterdir())) == 2


def test_scheduling_loads_no_tensorflow_and_no_beam():
    argv = ["schedule", "--to", "k8s", "--every", "night", *TO["k8s"], "--json", *EMBED]
    script = (
        f"import sys; from launch.main import main; main({argv!r})\n"
        "print({'tensorflow', 'apache_beam'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["to"] == "k8s"
    assert done.stderr == "set()\n"
