"""`l3flow doctor` on a machine that is well, and on machines that are not."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from l3core import storage, upstream
from l3core.models import MODELS
from l3core.models.edgel3 import WEIGHTS
from l3core.upstream import SPECS
from launch.checkups import flink, machine, numbers, packages, stores
from launch.checkups.finding import Asked
from launch.main import main
from tests.corpus import write_files

NOTHING = Asked()


@pytest.fixture
def edgel3_only(monkeypatch):
    """Computes the smallest of upstream's vectors only."""
    monkeypatch.setattr(upstream, "SPECS", {"edgel3-sea-64": SPECS["edgel3-sea-64"]})


def states(findings):
    return [(finding.topic, finding.state) for finding in findings]


def test_a_machine_that_is_well(tmp_path):
    """As its user runs it; everything that upstream computed is computed."""
    corpus, store = write_files(tmp_path / "corpus", 1), tmp_path / "a store"
    command = [
        sys.executable,
        "-m",
        "launch.main",
        "doctor",
        "--store",
        str(store),
        "--input",
        str(corpus),
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")},
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[-1] == "nothing is wrong"
    assert {line.split()[0] for line in lines[:-1]} == {"ok", "absent"}
    for name in SPECS:
        assert any(f"numbers   {name}: relative L2 " in line for line in lines)
    assert f"ok      store     {store}: created, read, listed and removed an object" in lines
    assert f"ok      input     {corpus}/000.wav: read 16044 bytes of it" in lines
    assert list(store.iterdir()) == []


def test_json_is_for_machines(edgel3_only, capsys):
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is True
    topics = {finding["topic"] for finding in found["findings"]}
    assert topics >= {
        "python",
        "packages",
        "machine",
        "GPU",
        "disk",
        "weights",
        "numbers",
        "store",
        "Java",
    }
    assert {finding["state"] for finding in found["findings"]} <= {"ok", "absent"}
    assert all(finding["remedy"] for finding in found["findings"] if finding["state"] == "absent")


def test_quiet_says_what_is_wrong_only(edgel3_only, capsys, tmp_path):
    assert main(["doctor", "--quiet", "--input", str(tmp_path / "none*")]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line == f"wrong   input     {tmp_path}/none* matches no file -> look at its spelling"


def test_a_package_out_of_its_range(monkeypatch):
    monkeypatch.setattr(
        packages, "requires", lambda name: ["numpy>=99,<100", "nothing-like-it", "rich; extra == 'x'"]
    )
    found = {finding.topic: finding for finding in packages.look(NOTHING)}
    assert set(found) == {"python", "numpy", "nothing-like-it"}
    assert found["numpy"][1:] == ("wrong", np.__version__, "pip install 'numpy<100,>=99'")
    assert found["nothing-like-it"][1:3] == ("wrong", "not installed")


def test_a_decoder_that_fails(monkeypatch):
    """A libsndfile that was built without MP3."""
    write = soundfile.write

    def without_mp3(file, data, rate, **kwargs):
        if kwargs["format"] == "MP3":
            raise soundfile.LibsndfileError(1)
        write(file, data, rate, **kwargs)

    monkeypatch.setattr(soundfile, "write", without_mp3)
    (finding,) = packages.look_at_decoders(NOTHING)
    assert finding.state == "wrong"
    assert finding.says.endswith("fails at MP3")


def test_weights_that_are_damaged(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    file = next(iter(MODELS["l3"].weight_files().values()))
    cached = tmp_path / "l3flow/weights" / file.name
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"half of i")
    copy = tmp_path / "copy.h5.gz"
    copy.write_bytes(WEIGHTS.path.read_bytes()[:-1])
    monkeypatch.setattr("l3core.models.edgel3.WEIGHTS", WEIGHTS._replace(path=copy))
    found = list(numbers.look_at_weights(NOTHING))
    others = [("weights", "absent")] * 2  # vggish and soundnet
    assert states(found) == [("weights", "wrong"), ("weights", "absent"), ("weights", "wrong"), *others]
    assert found[0].says == "l3 linear-env is damaged"
    assert found[0].remedy == "l3flow weights fetch linear-env"
    assert found[-2].remedy.endswith("l3flow weights fetch --model vggish")
    assert found[-1].remedy == "only people can fetch it: l3flow weights fetch sound8 says where it is"


def test_numbers_that_are_not_upstreams(tmp_path, monkeypatch, edgel3_only, capsys):
    with np.load(upstream.VECTORS) as vectors:
        other = dict(vectors)
    other["edgel3-sea-64"] = other["edgel3-sea-64"] * np.float32(1.0002)
    monkeypatch.setattr(upstream, "VECTORS", tmp_path / "other.npz")
    np.savez(upstream.VECTORS, **other)
    monkeypatch.setattr(numbers, "look_at_weights", lambda asked: iter(()))
    (finding,) = numbers.look_at_numbers(NOTHING)
    assert finding.state == "wrong"
    assert finding.says == "edgel3-sea-64: relative L2 2.0e-04 from edgel3 0.2.1, 0.0001 allowed"


def test_a_disk_that_is_full_and_a_machine_that_is_small(monkeypatch):
    full = shutil.disk_usage("/")._replace(free=5)
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: full)
    monkeypatch.setattr(machine, "usable_memory", lambda: 10**9)
    found = states(machine.look(NOTHING))
    assert found == [("machine", "wrong"), ("GPU", "absent"), ("disk", "wrong"), ("disk", "wrong")]


def test_a_gpu_that_cannot_be_used(tmp_path, monkeypatch):
    driver = tmp_path / "version"
    driver.write_text("NVRM version")
    monkeypatch.setattr(machine, "NVIDIA_DRIVER", driver)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert ("GPU", "wrong") in states(machine.look(NOTHING))


def test_a_machine_without_java(tmp_path, monkeypatch):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert states(flink.look(NOTHING)) == [("Java", "absent"), ("Flink", "absent")]


def test_a_store_that_can_be_written_is_left_as_it_was(store):
    _, bucket = store
    assert states(stores.look(Asked(stores=[bucket + "/tables"]))) == [("store", "ok")]
    assert storage.names_below(bucket, suffix="") == []


def test_stores_that_do_not_take_a_table(tmp_path, nobody):
    (tmp_path / "file").touch()
    wrong = [str(tmp_path / "file"), "gs://bucket/tables", "https://example.org/tables", "gopher://x"]
    found = list(stores.look(Asked(stores=wrong)))
    assert states(found) == [("store", "wrong")] * 4
    assert "credentials were not found" in found[1].says
    assert all("\n" not in finding.says for finding in found)


def test_a_store_that_overwrites_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("l3core.storage.create", lambda uri, content: Path(uri).write_bytes(content) > 0)
    (finding,) = stores.look(Asked(stores=[str(tmp_path)]))
    assert finding.state == "wrong"
    assert "create-if-absent overwrites; what is read is not what was written" in finding.says


def test_inputs_that_cannot_be_read(tmp_path):
    corpus = write_files(tmp_path / "corpus", 1)
    found = list(stores.look(Asked(inputs=[str(corpus), str(tmp_path / "*.nothing"), "gopher://x/*"])))
    assert states(found) == [("input", "ok"), ("input", "wrong"), ("input", "wrong")]


@pytest.mark.parametrize("error", [ImportError("libcuda.so is missing"), PermissionError("denied")])
def test_what_cannot_be_looked_at_is_a_line_and_the_rest_is_looked_at(
    edgel3_only, monkeypatch, capsys, error
):
    def broken(engine):
        raise error

    monkeypatch.setattr("l3core.engines.gpus_of", broken)
    assert main(["doctor", "--json"]) == 1
    findings = json.loads(capsys.readouterr().out)["findings"]
    (wrong,) = [finding for finding in findings if finding["state"] == "wrong"]
    assert wrong["topic"] == "machine"
    assert wrong["says"] == f"cannot be looked at: {error}"
    assert findings[-1]["topic"] == "numbers"
