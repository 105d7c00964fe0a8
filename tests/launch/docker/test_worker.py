"""A job for Dataflow, run by Beam's own runner in workers as the image starts them, without docker.

Beam starts containers by `docker`; the one here starts the image's entry point in the image's Python
environment. Beam's boot program comes in Beam's image only: `l3flow-harness`, which speaks the same
protocol, stands for it.
"""

import os
import shlex

import numpy as np
import pytest
from apache_beam.internal.gcp import auth

from l3core.table.read import read_windows
from launch.dataflow import rest
from launch.main import main
from tests import image
from tests.corpus import upload, write_mixed
from tests.dataflow_api import dataflow_api, run_staged
from tests.launch.docker.test_layer import FOLDER, SOMEBODY, installed  # noqa: F401

NAME = "europe-docker.pkg.dev/my-project/images/l3flow:1-cpu"
# one container at a time; what Beam asks of docker, and no more
DOCKER = """#!/bin/bash
set -eu
cd {folder}
echo "$*" >> calls
case "$1" in
    pull) ;;
    run)
        shift 4
        {start} "$@" > log 2>&1 < /dev/null &
        echo $! > pid
        echo container
        ;;
    inspect) if kill -0 "$(cat pid)" 2> /dev/null; then echo running; else echo exited; fi ;;
    container) cat log ;;
    kill)
        grep -E '^(Uid|CapEff|NoNewPrivs):' "/proc/$(cat pid)/status" > rights
        tr '\\0' '\\n' < "/proc/$(cat pid)/environ" > environment
        kill "$(cat pid)"
        ;;
    *) exit 1 ;;
esac
"""


@pytest.fixture
def container(installed, tmp_path, monkeypatch):  # noqa: F811
    """The folder of a `docker` that is found, and of what it has done."""
    folder = tmp_path / "docker"
    folder.mkdir()
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    image.open_to_others(folder)
    image.open_to_others(scratch, writable=True)
    text = (image.REPOSITORY / "launch/docker/entrypoint.sh").read_text(encoding="utf-8")
    text = text.replace("/opt/apache/beam/boot", f"{installed}/bin/l3flow-harness")
    # may read wherever a checkout is; in an image everybody can
    text = text.replace(
        "--inh-caps=-all", "--inh-caps=-all,+dac_read_search --ambient-caps=-all,+dac_read_search"
    )
    (folder / "entrypoint").write_text(text)
    own = {
        "TMPDIR": str(scratch),
        "NUMBA_CACHE_DIR": f"{scratch}/numba",
        "PATH": f"{installed}/bin:/usr/bin:/bin",
    }
    own |= {"STORAGE_EMULATOR_HOST": os.environ["STORAGE_EMULATOR_HOST"], "CUDA_VISIBLE_DEVICES": "-1"}
    own |= {"L3FLOW_WORKER_USER": "nobody"} if SOMEBODY else {}
    variables = image.environment("${DEVICE}") | own
    given = [f"{name}={value}" for name, value in variables.items()]
    start = shlex.join(["env", "-i", *given, "bash", str(folder / "entrypoint")])
    (folder / "docker").write_text(DOCKER.format(folder=shlex.quote(str(folder)), start=start))
    for program in ("docker", "entrypoint"):
        (folder / program).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    # or Beam would mount what it finds there
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(folder))
    return folder


@pytest.fixture
def api(monkeypatch):
    monkeypatch.setattr(rest, "POLL_S", 0.01)
    monkeypatch.setattr(auth._Credentials, "_credentials_init", True)  # there are none
    with dataflow_api() as server:
        yield server


def rows(table):
    metadata, vectors = read_windows(str(table))
    return metadata.to_pylist(), np.asarray(vectors)


def test_workers_in_the_image_make_the_same_table(gcs, api, container, tmp_path):
    bucket = gcs.make_bucket("workers")
    upload(write_mixed(tmp_path / "corpus"), f"{bucket}/corpus")
    model = ["--model", "edgel3-sea-64"]
    assert (
        main(["embed", "--input", str(tmp_path / "corpus"), "--output", str(tmp_path / "table"), *model])
        == 0
    )
    place = ["--project", "my-project", "--region", "us-central1", "--dataflow_endpoint", api.url]
    place += ["--temp-location", f"{bucket}/temp", "--sdk-container-image", NAME]
    embed = ["embed", "--input", f"{bucket}/corpus", "--output", f"{bucket}/table", *model]
    assert main([*embed, "--runner", "dataflow", *place, "--detach"]) == 0
    run_staged(api.submitted[-1], in_containers=True)

    found, expected = rows(f"{bucket}/table"), rows(tmp_path / "table")
    assert found[0] == expected[0] != []
    # versions of NumPy and the like are the lock's there
    assert np.linalg.norm(found[1] - expected[1]) <= 1e-5 * np.linalg.norm(expected[1])
    started = [
        call for call in (container / "calls").read_text().splitlines() if call.startswith("run ")
    ]
    assert started
    assert all(f" {NAME} --id=" in call for call in started)
    rights = dict(line.split(":\t") for line in (container / "rights").read_text().splitlines())
    if SOMEBODY:
        assert rights["Uid"].split() == ["65534"] * 4
        assert int(rights["CapEff"], 16) == 1 << 2  # to read, see above
        assert rights["NoNewPrivs"] == "1"
        assert "HOME=/nonexistent" in (container / "environment").read_text().splitlines()
    log = (container / "log").read_text()
    assert "Traceback" not in log
