"""What a container starts with: the script itself, with programs in the place of Google's and Beam's.

As root it gives its rights up, which is what CI sees; as anybody else it has none to give up.
"""

import os
import pwd
import re
import subprocess
from pathlib import Path

import pytest

from tests import image

SCRIPT = (image.REPOSITORY / "launch/docker/entrypoint.sh").read_text(encoding="utf-8")
ROOT = os.geteuid() == 0
SOMEBODY = "nobody" if ROOT else pwd.getpwuid(os.geteuid()).pw_name
WORKER = ["--id=sdk-0-0", "--provision_endpoint=localhost:12371"]
REPORT = """#!/bin/bash
echo "program=$(basename "$0")"
echo "user=$(id -un)"
echo "groups=$(id -G)"
echo "home=$HOME"
grep -E '^(CapEff|CapPrm|NoNewPrivs)' /proc/self/status | tr -d ' \\t'
printf 'argument=%s\\n' "$@"
exit "${FAILS_WITH:-0}"
"""


@pytest.fixture
def started(tmp_path):
    """A container's start: arguments -> (what the program saw, as name -> value; its exit code)."""
    image.open_to_others(tmp_path)
    text = SCRIPT
    for place in ("/opt/apache/beam/boot", "/opt/google/dataflow/python_template_launcher"):
        program = tmp_path / Path(place).name
        program.write_text(REPORT)
        program.chmod(0o755)
        assert f"={place}\n" in text
        text = text.replace(place, str(program))
    script = tmp_path / "entrypoint"
    script.write_text(text)
    script.chmod(0o755)

    def start(*arguments, **variables):
        given = os.environ | {"L3FLOW_WORKER_USER": SOMEBODY} | variables
        done = subprocess.run([script, *arguments], env=given, capture_output=True, text=True)
        assert done.stderr == ""
        pairs = [
            line.split("=", 1)
            for line in re.sub(r"^(\w+):", r"\1=", done.stdout, flags=re.M).splitlines()
        ]
        return dict(pairs) | {"argument": [v for k, v in pairs if k == "argument"]}, done.returncode

    return start


def test_a_worker_is_beams_boot_program_as_somebody_without_rights(started, tmp_path):
    folder = tmp_path / "var" / "google"
    arguments = [*WORKER, f"--semi_persist_dir={folder}", "--control_endpoint=a b"]
    found, _ = started(*arguments)
    assert found["program"] == "boot"
    assert found["argument"] == arguments
    if ROOT:
        own = pwd.getpwnam(SOMEBODY)
        assert found["user"] == SOMEBODY
        assert (folder.stat().st_uid, folder.stat().st_gid) == (own.pw_uid, own.pw_gid)
        assert found["groups"].split()[0] == str(own.pw_gid)
        assert "0" not in found["groups"].split()
        assert found["home"] == own.pw_dir
        assert (int(found["CapEff"], 16), int(found["CapPrm"], 16)) == (0, 0)
        assert found["NoNewPrivs"] == "1"
    else:
        assert found["user"] == SOMEBODY


def test_a_pool_of_workers_has_no_rights_either(started):
    found, _ = started("--worker_pool")
    assert (found["program"], found["user"]) == ("boot", SOMEBODY)


@pytest.mark.parametrize("arguments", [[], ["--logtostderr"], ["-v=1"]])
def test_whatever_else_has_options_is_the_launcher_with_the_rights_it_needs(started, arguments):
    found, _ = started(*arguments)
    assert found["program"] == "python_template_launcher"
    assert found["user"] == pwd.getpwuid(os.geteuid()).pw_name
    assert found["argument"] == (arguments or [""])


def test_a_command_is_run_without_rights(started, tmp_path):
    found, _ = started(str(tmp_path / "boot"), "--id=1", "and more")
    assert (found["argument"], found["user"]) == (["--id=1", "and more"], SOMEBODY)


def test_a_worker_can_be_left_its_rights(started):
    found, _ = started(*WORKER, L3FLOW_WORKER_USER="root" if ROOT else SOMEBODY)
    assert found["user"] == ("root" if ROOT else SOMEBODY)


def test_how_it_ends_is_how_the_program_does(started):
    assert started(*WORKER, FAILS_WITH="7")[1] == 7
    assert started(FAILS_WITH="9")[1] == 9
