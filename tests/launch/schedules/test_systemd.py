"""The units: verified by systemd-analyze, and read by systemd itself."""

import os
import pwd
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings

from launch.schedules.systemd import command_line
from tests.schedules import HOSTILE, WORDS, embedding, recorder, schedule

SYSTEMD = "/lib/systemd/systemd"


@pytest.fixture
def open_folder():
    """A folder that everybody may read."""
    folder = tempfile.mkdtemp()
    os.chmod(folder, 0o777)  # nobody notes there what it runs
    yield Path(folder)
    shutil.rmtree(folder)


def as_read(folder, unit):
    """What systemd makes of a unit: its dump, without starting anything.

    Only users may look; root does so as nobody.
    """
    somebody = {"user": "nobody", "extra_groups": []} if os.getuid() == 0 else {}
    done = subprocess.run(
        [SYSTEMD, "--test", "--user", f"--unit={unit}"],
        env={"XDG_RUNTIME_DIR": str(folder), "SYSTEMD_UNIT_PATH": f"{folder}:", "LC_ALL": "C.UTF-8"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        **somebody,
    )
    return re.search(rf"-> Unit {unit}:\n(.*?)(?=\t-> Unit |\Z)", done.stdout, re.DOTALL)[1]


def argv_of(dump):
    """The command that systemd read, which it prints in quotes where needed; $$ becomes $ on running.

    systemd.service(5): to pass a literal dollar sign, use "$$".
    """
    line = re.search(r"Command Line: (.*)\n", dump)[1]
    printed = re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', line)
    words = [bare or re.sub(r"\\(.)", r"\1", quoted) for quoted, bare in printed]
    assert all(word.count("$") % 2 == 0 for word in words)
    return [word.replace("$$", "$") for word in words]


def problems(folder, *units):
    """What systemd-analyze finds wrong."""
    done = subprocess.run(
        ["systemd-analyze", "verify", *units],
        env=os.environ | {"SYSTEMD_UNIT_PATH": f"{folder}:", "LC_ALL": "C.UTF-8"},
        cwd=folder,
        capture_output=True,
        text=True,
    )
    return done.stderr if done.returncode or str(folder) in done.stderr else ""


def write(folder, files):
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o644)


def test_names_arrive_as_they_are(capsys, open_folder):
    program, _ = recorder(open_folder)
    names = [f"/data/{name}" for name in HOSTILE]
    flags = ["--executable", program, "--env-file", "/etc/it's 100%.env", "--time-zone", "Europe/Berlin"]
    command = ["embed", "--input", *names, "--output", '/data/a "table" 100%', "--log-file", "/log $x/l"]
    facts = schedule(capsys, "systemd", *command, every="0 4 13 * fri", flags=flags)
    write(open_folder, facts["files"])
    assert problems(open_folder, "l3flow-embed.service", "l3flow-embed.timer") == ""
    service = as_read(open_folder, "l3flow-embed.service")
    assert argv_of(service) == facts["command"]
    assert set(names) <= set(facts["command"])
    assert 'ReadWritePaths: /data/a "table" 100% /log $x\n' in service
    assert "EnvironmentFile: /etc/it's 100%.env\n" in service
    timer = as_read(open_folder, "l3flow-embed.timer")
    assert "OnCalendar: *-*-13 04:00:00 Europe/Berlin" in timer
    assert "OnCalendar: Fri *-*-* 04:00:00 Europe/Berlin" in timer


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("Type=oneshot", "Type=oneshoot", "oneshoot"),
        ("NoNewPrivileges=yes", "NoNewPrivilege=yes", "NoNewPrivilege"),
        ("ExecStart=", "ExecStart=/no/such", "/no/such"),
        ("*-*-* 04:30:00", "*-*-* 25:30:00", "25:30"),
    ],
)
def test_systemd_finds_what_is_wrong(capsys, open_folder, old, new, says):
    facts = schedule(capsys, "systemd", *embedding("/data"), flags=["--user", "root"])
    write(open_folder, {name: text.replace(old, new) for name, text in facts["files"].items()})
    assert says in problems(open_folder, "l3flow-embed.service", "l3flow-embed.timer")


def quoted_words(text):
    """The words of ExecStart=, as systemd.syntax(7) has them in double quotes."""
    words = re.findall(r'"((?:[^"\\]|\\.)*)"(?: |$)', text)
    plain = (re.sub(r"\\(.)", r"\1", word) for word in words)
    return [word.replace("%%", "%").replace("$$", "$") for word in plain]


@settings(deadline=None)
@given(WORDS, WORDS)
def test_any_words_are_quoted(first, second):
    line = command_line(["/l3flow", first, second])
    assert quoted_words(line) == ["/l3flow", first, second]
    assert re.sub(r"%%|\$\$", "", line).count("%") == re.sub(r"%%|\$\$", "", line).count("$") == 0


@settings(max_examples=1, deadline=None)
@given(WORDS)
def test_the_parser_of_the_test_is_systemds(word):
    """On names that are known to be hard, both read the same."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o777)
        folder, argv = Path(name), ["/bin/true", *HOSTILE, word]
        line = command_line(argv)
        write(folder, {"x.service": f"[Service]\nType=oneshot\nExecStart={line}\n"})
        assert argv_of(as_read(folder, "x.service")) == quoted_words(line) == argv


def test_it_may_write_what_it_has_to_and_little_else(capsys):
    command = ["embed", "--input", "/data/audio", "--output", "/data/table", "--log-file", "/logs/x"]
    text = schedule(capsys, "systemd", *command)["files"]["l3flow-embed.service"]
    assert 'ReadWritePaths="/data/table" "/logs"\n' in text
    assert "mkdir -p /data/table /logs\n" in text
    assert f"User={pwd.getpwuid(os.getuid()).pw_name}\n" in text
    assert "PrivateTmp=yes\n" in text
    remote = schedule(capsys, "systemd", "verify", "--table", "gs://b/t")["files"][
        "l3flow-verify.service"
    ]
    assert "ReadWritePaths" not in remote
    # else it would not see them; temporary files it has to be able to write
    shared = schedule(capsys, "systemd", *embedding("/tmp/audio"))["files"]["l3flow-embed.service"]
    assert "PrivateTmp" not in shared
    assert 'ReadWritePaths="/data/table" "/tmp"\n' in shared


def test_what_was_missed_is_made_up_for(capsys):
    timer = schedule(capsys, "systemd", *embedding("/data/audio"))["files"]["l3flow-embed.timer"]
    assert "Persistent=true\n" in timer
    assert "OnCalendar=*-*-* 04:30:00\n" in timer
