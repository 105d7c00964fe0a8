"""The crontab's line: taken by crontab(1), and run by /bin/sh as cron does."""

import json
import os
import subprocess

import pytest
from hypothesis import example, given, settings

from l3core.errors import UsageError
from launch.main import main
from launch.schedules import cron
from launch.schedules.job import Job, Options
from launch.schedules.when import parse_every
from tests.launch.schedules.test_given import refused
from tests.schedules import HOSTILE, WORDS, embedding, recorder, schedule


def command_of(line, undone="%\\"):
    """What cron hands to the shell: the loop of do_command.c, where an unescaped % ends the command.

    Debian's cron also makes one backslash of two, as was seen with the daemon itself; its manual speaks
    of % only, and there are others of its kind, so names have to arrive either way.
    """
    taken, escaped = [], False
    for char in line.split(None, 5)[5]:
        if escaped:
            if char in undone:
                taken.pop()
            taken.append(char)
            escaped = False
            continue
        if char == "%":
            break
        escaped = char == "\\"
        taken.append(char)
    return "".join(taken)


def run_as_cron(text, **environment):
    """Run the last line of a crontab, with as little around it as cron gives."""
    command = command_of(text.splitlines()[-1])
    return subprocess.run(
        ["/bin/sh", "-c", command],
        env={"HOME": "/", "LOGNAME": "me", "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh"} | environment,
        capture_output=True,
        text=True,
    )


def syntax_errors(text, tmp_path):
    """What crontab says of a file, without installing it."""
    (tmp_path / "crontab").write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["crontab", "-n", str(tmp_path / "crontab")], capture_output=True, text=True, errors="replace"
    )
    return done.stderr if done.returncode else ""


def text_of(job):
    return cron.write(job)["l3flow-embed.cron"]


def job(program, argv, log, **options):
    return Job(
        name="l3flow-embed",
        when=parse_every("night"),
        zone=None,
        every="night",
        executable=str(program),
        argv=tuple(argv),
        options=Options(log=str(log), **options),
    )


def test_names_arrive_as_they_are(capsys, tmp_path):
    program, noted = recorder(tmp_path)
    log = tmp_path / "it's 100% ours.log"
    for name in HOSTILE:  # one after the other: a line of cron has an end
        flags = ["--executable", program, "--log", log]
        facts = schedule(capsys, "cron", *embedding(f"/data/{name}", f"/%{name}%"), flags=flags)
        (text,) = facts["files"].values()
        assert syntax_errors(text, tmp_path) == ""
        done = run_as_cron(text)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert json.loads(noted.read_text())["argv"] == facts["command"][1:]
        assert f"/data/{name}" in facts["command"]
    assert log.read_text() == "said so\n" * len(HOSTILE)
    assert [path.name for path in tmp_path.iterdir() if "pwned" in path.name] == []


@settings(deadline=None)
@given(WORDS)
@example("\\%")
@example("\\\\\\%'%\\")
def test_any_word_is_quoted(word):
    line = f"* * * * * printf '\\%s' {cron.quoted(word)}"
    assert command_of(line, "%") == command_of(line)
    done = subprocess.run(["/bin/sh", "-c", command_of(line)], capture_output=True, check=True)
    assert done.stdout.decode() == word


def test_a_failure_is_mailed_and_a_success_is_not(tmp_path):
    program, _ = recorder(tmp_path)
    text = text_of(job(program, ["embed"], tmp_path / "log"))
    assert run_as_cron(text).stdout == ""
    assert run_as_cron(text, END_WITH="1").stdout == "said so\nsaid so\n"


def test_variables_come_from_a_file(tmp_path):
    program, noted = recorder(tmp_path)
    file = tmp_path / "it's ours.env"
    file.write_text("KEY='a b$c'\nOTHER=2\n")
    text = text_of(job(program, ["embed"], tmp_path / "log", env_file=str(file)))
    assert run_as_cron(text).returncode == 0
    found = json.loads(noted.read_text())["env"]
    assert (found["KEY"], found["OTHER"]) == ("a b$c", "2")
    file.unlink()
    assert "it's ours.env" in run_as_cron(text).stderr  # told by mail, and nothing is run


def test_the_longest_line_is_crons_own(tmp_path):
    """To the byte: crontab takes what we write, and nothing longer."""
    free = cron.LONGEST - len(text_of(job("/l3flow", ["x"], "/log")).split("* * * ", 1)[1].encode()) + 1
    text = text_of(job("/l3flow", ["x" * (free + 1)], "/log"))
    assert syntax_errors(text, tmp_path) == ""
    assert "too long" in syntax_errors(text.replace("xxx", "xxxx"), tmp_path)
    with pytest.raises(UsageError, match="at most 998 bytes, and this one has 999"):
        text_of(job("/l3flow", ["x" * (free + 2)], "/log"))


def test_a_line_that_is_too_long_is_refused(capsys):
    argv = ["--to", "cron", "--every", "night", "--", *embedding("/ü" * 500)]
    assert "@FILE" in refused(capsys, argv)


def test_crontab_refuses_what_is_wrong(tmp_path):
    assert syntax_errors("61 4 * * * true\n", tmp_path)


def test_the_line_really_embeds(tmp_path, capsys):
    """The command of this installation, from nothing but what cron gives."""
    corpus = os.path.abspath("examples/data/audio/1-17367-A-10.ogg")
    command = ["embed", "--input", corpus, "--output", str(tmp_path / "it's a table")]
    facts = schedule(
        capsys, "cron", *command, "--model", "edgel3-sea-64", flags=["--log", tmp_path / "log"]
    )
    done = run_as_cron(*facts["files"].values(), CUDA_VISIBLE_DEVICES="-1")
    assert (done.returncode, done.stdout + done.stderr) == (0, ""), done
    assert "embedded: 1 ok" in (tmp_path / "log").read_text()
    assert main(["verify", "--table", str(tmp_path / "it's a table")]) == 0
