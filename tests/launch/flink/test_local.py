"""`--runner flink` on this machine alone: a mini cluster inside the job server."""

import json
import signal

import pytest

from launch.flink.jars import install
from launch.main import main
from tests import bad_corpus
from tests.corpus import FLAGS, ledger, snapshot, table_rows, write_files, write_mixed
from tests.flink import MODEL, finished_shards, l3flow, processes, receipts, started, wait_until
from tests.golden import shared_file

FLINK = ("--runner", "flink", "--quiet")
WHEN = {"embedded_at": None, "run_id": None, "files": None}


@pytest.fixture(scope="module", autouse=True)
def jars():
    install(print)


def same_ledgers(one, other):
    assert {clip: row | WHEN for clip, row in ledger(one).items()} == {
        clip: row | WHEN for clip, row in ledger(other).items()
    }


def test_the_table_is_that_of_the_local_runner(tmp_path):
    """With loopback, bad input and all: this process is the Python worker."""
    corpus = bad_corpus.build(tmp_path / "corpus")
    write_mixed(corpus / "mixed")
    command = ["embed", "--input", f"{corpus}/**", *FLAGS, "--output"]
    assert main([*command, str(tmp_path / "local"), "--quiet"]) == 0
    assert main([*command, str(tmp_path / "flink"), *FLINK, "--workers", "2"]) == 0
    assert table_rows(tmp_path / "flink") == table_rows(tmp_path / "local")
    same_ledgers(tmp_path / "flink", tmp_path / "local")
    (local,), (flink,) = receipts(tmp_path / "local"), receipts(tmp_path / "flink")
    assert flink["job"] == {
        "runner": "flink",
        "master": "[local]",
        "name": f"l3flow-{flink['run_id']}",
    }
    assert (flink["windows"], flink["clips"]) == (local["windows"], local["clips"])
    assert flink.keys() == local.keys() | {"job"}
    before = snapshot(tmp_path / "flink")
    assert main([*command, str(tmp_path / "flink"), *FLINK]) == 0  # nothing new: no job
    assert before.items() <= snapshot(tmp_path / "flink").items()
    assert processes("job-server") == []


def test_workers_in_processes_of_their_own(tmp_path):
    """With the real model: each harness loads it."""
    corpus = write_files(tmp_path / "corpus", 6, 2.0)
    command = ["embed", "--input", str(corpus), *MODEL, "--output"]
    assert main([*command, str(tmp_path / "local"), "--quiet"]) == 0
    flags = [*FLINK, "--flink-environment", "process", "--workers", "2"]
    assert main([*command, str(tmp_path / "flink"), *flags]) == 0
    assert table_rows(tmp_path / "flink") == table_rows(tmp_path / "local")
    same_ledgers(tmp_path / "flink", tmp_path / "local")
    assert processes("sdk_worker_main") == []


def test_a_worker_that_fails_ends_the_run_with_its_words(tmp_path, capsys):
    corpus, table = write_files(tmp_path / "corpus", 3), tmp_path / "table"
    flags = [*FLINK, "--flink-environment", "process"]
    # a worker of its own does not know the tests' model
    assert main(["embed", "--input", str(corpus), *FLAGS, "--output", str(table), *flags]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("l3flow: the run failed, the table is as it was: ")
    assert "model: must be one of" in line
    assert snapshot(table) == {}
    assert main(["embed", "--input", str(corpus), *FLAGS, "--output", str(table), "--quiet"]) == 0


def test_ctrl_c_leaves_no_job_server(tmp_path):
    corpus, table = write_files(tmp_path / "corpus", 40, 60.0), tmp_path / "table"
    command = ["embed", "--input", corpus, *MODEL, "--output", table, *FLINK]
    with started(*command, "--flink-environment", "process") as process:
        wait_until(lambda: finished_shards(table) > 0, "a shard is done")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.startswith("l3flow: interrupted; the table is as it was")
    wait_until(lambda: not processes("job-server"), "the job server has ended", 20)
    wait_until(lambda: not processes("sdk_worker_main"), "the workers have ended", 20)
    assert snapshot(table) == {}


def test_a_launcher_that_is_killed_takes_the_job_server_with_it(tmp_path):
    corpus, table = write_files(tmp_path / "corpus", 40, 60.0), tmp_path / "table"
    command = ["embed", "--input", corpus, *MODEL, "--output", table, *FLINK]
    with started(*command, "--flink-environment", "process") as process:
        wait_until(lambda: finished_shards(table) > 0, "a shard is done")
        process.kill()
        process.communicate()
    wait_until(lambda: not processes("job-server"), "the job server has ended", 20)
    wait_until(lambda: not processes("sdk_worker_main"), "the workers have ended", 20)
    done = l3flow("embed", "--input", corpus, *MODEL, "--output", table, "--limit", "3", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["clips"]["ok"] == 3


def test_a_cross_validation_is_that_of_the_local_runner(tmp_path):
    """ESC-10's first two folds, a few epochs, with the real corpus."""
    esc10 = shared_file("data/esc10/meta/esc50.csv").parents[1]
    table = tmp_path / "table"
    embed = ["embed", "--input", f"{esc10}/audio", "--output", str(table)]
    assert main([*embed, "--model", "edgel3-sea-64", "--hop", "1", "--quiet"]) == 0
    command = ["crossval", "--dataset", "esc10", "--dataset-root", str(esc10), "--table", str(table)]
    command += ["--folds", "1", "2", "--epochs", "3", "--quiet", "--output"]
    assert main([*command, str(tmp_path / "local")]) == 0
    assert main([*command, str(tmp_path / "flink"), *FLINK]) == 0
    local, flink = (
        json.loads((tmp_path / name / "summary.json").read_text()) for name in ("local", "flink")
    )
    when = {"seconds": None}
    assert [fold | when for fold in flink["folds"]] == [fold | when for fold in local["folds"]]
    assert flink["clip_accuracy"] == local["clip_accuracy"] > 0.5
