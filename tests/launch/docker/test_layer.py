"""The image's Python environment, made by the Dockerfile's own lines, works for who has no rights."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.dataset
import pytest
import soundfile
from packaging.utils import canonicalize_name

from l3core import Embedder, EmbeddingSpec
from tests import image
from tests.security.test_lock import LOCKED

# made by `make tests`, or by python -m tests.image
FOLDER = Path(sys.prefix) / "image"
# As root, to be nobody, who can read wherever a checkout is, and write nowhere.
NOBODY = [str(shutil.which("setpriv")), "--reuid=65534", "--regid=65534", "--clear-groups"]
NOBODY += ["--no-new-privs"]
NOBODY += ["--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"]
SOMEBODY = NOBODY if os.geteuid() == 0 else []


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The environment with the l3flow of now."""
    assert (FOLDER / "bin/python").exists(), f"python -m tests.image {FOLDER}"
    image.install_l3flow(FOLDER, tmp_path_factory.mktemp("build"))
    return FOLDER


@pytest.fixture
def run(installed, tmp_path):
    """Run a program as a container would: with its variables, `without` some; no home, no rights."""
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    image.open_to_others(scratch, writable=True)
    tmp_path.chmod(0o777)
    variables = image.environment("${DEVICE}") | {"NUMBA_CACHE_DIR": str(scratch / "numba")}
    variables |= {
        "PATH": f"{installed}/bin:/usr/bin:/bin",
        "HOME": "/nonexistent",
        "TMPDIR": str(scratch),
    }

    def of(program, *arguments, expect=0, without=(), **more):
        command = [*SOMEBODY, str(installed / "bin" / program), *map(str, arguments)]
        given = {name: value for name, value in variables.items() if name not in without} | more
        done = subprocess.run(command, cwd="/", env=given, capture_output=True, text=True, timeout=600)
        assert done.returncode == expect, done.stdout + done.stderr
        return done

    return of


def test_it_has_what_the_lock_says_and_l3flow(run):
    listed = json.loads(run("python", "-m", "pip", "list", "--format=json").stdout)
    found = {canonicalize_name(each["name"]): each["version"] for each in listed}
    assert found.pop("l3flow") == "0.1.0"
    del found["pip"]  # of Python itself
    assert found == {name: version for name, (version, _) in LOCKED.items()}


def test_doctor_finds_nothing_wrong(run):
    said = json.loads(run("l3flow", "doctor", "--json", PATH=f"{FOLDER}/bin").stdout)
    assert said["ok"]
    states = {each["topic"]: each["state"] for each in said["findings"]}
    # no Flink and no Java in this image; no weights but the bundled
    assert states["packages"] == states["decoders"] == states["numbers"] == "ok"
    assert states["Flink"] == states["Java"] == "absent"


def test_a_package_of_another_version_would_be_found(run, tmp_path):
    """That nothing is wrong is not what doctor always says."""
    other = tmp_path / "soxr-0.9.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: soxr\nVersion: 0.9\n")
    look = "from launch.checkups import finding, packages; print(*packages.look(finding.Asked()))"
    said = run("python", "-c", look, PYTHONPATH=str(tmp_path)).stdout
    assert re.findall(r"topic='soxr', state='wrong', says='0.9'", said)
    assert said.count("'wrong'") == 1


def test_it_embeds_as_here(run, tmp_path):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 8000 * 2).astype(np.float32)
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in/noise.wav", noise, 8000, subtype="FLOAT")
    table = tmp_path / "table"
    asked = ["--input", tmp_path / "in", "--output", table, "--model", "edgel3-sea-64", "--quiet"]
    # numba finds no place for its cache then, but for the one that l3core gives it
    run("l3flow", "embed", *asked, without=["NUMBA_CACHE_DIR"])
    assert not [*(tmp_path / "tmp").glob("l3flow-numba-*")]
    rows = pyarrow.dataset.dataset(table / "windows").to_table()
    found = np.stack(rows["embedding"].to_numpy(zero_copy_only=False))
    expected, _, _ = Embedder(EmbeddingSpec(model="edgel3-sea-64")).embed(noise, 8000)
    assert len(found) == len(expected) > 10
    assert np.linalg.norm(found - expected) <= 1e-4 * np.linalg.norm(expected)
    assert {path.stat().st_uid for path in table.rglob("*")} == {65534 if SOMEBODY else os.geteuid()}


def test_what_runners_start_is_there(run, installed):
    for program in ("l3flow-harness", "l3flow-pool"):
        assert os.access(installed / "bin" / program, os.X_OK)
    # what Beam's boot program asks before it starts a worker, and what it starts
    assert "Version: 2.77" in run("python", "-m", "pip", "show", "apache-beam").stdout
    run(
        "python", "-c", "import apache_beam.runners.worker.sdk_worker_main, apache_beam.runners.dataflow"
    )


def test_the_templates_launcher_is_where_google_is_told(run, installed):
    launcher = image.environment("${DEVICE}")["FLEX_TEMPLATE_PYTHON_PY_FILE"]
    said = run("python", launcher.replace(image.HOME, str(installed)), expect=2).stderr
    assert said == "l3flow: Google's launcher gives --job_name, and this launch has none\n"


def test_compiled_modules_are_there(installed):
    """Who may not write cannot keep them, and would compile at each start."""
    sources = [*installed.glob("lib/python3*/site-packages/apache_beam/*.py")]
    sources += installed.glob("lib/python3*/site-packages/l3core/*.py")
    assert len(sources) > 30
    lost = [path for path in sources if not [*path.parent.glob(f"__pycache__/{path.stem}.*.pyc")]]
    assert lost == []
