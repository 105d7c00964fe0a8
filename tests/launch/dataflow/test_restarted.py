"""A worker that is killed in the middle of a shard changes nothing: its element is done again."""

import logging
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from l3core import storage
from l3core.table.json_objects import read_json
from launch.main import main
from pipelines.embed import build_pipeline
from tests.corpus import ledger, staged_runs, table_rows, write_mixed
from tests.dataflow_api import staged
from tests.launch.dataflow.test_submit import local, runner, submitted
from tests.pipelines.test_embed import names, planned
from tests.pipelines.test_telling import beam_metrics
from tests.processes import alive, wait_until
from tests.restarting import STARTUP, WorkerProcess, run_restarting

# What does not depend on the moment, of the metrics.
LASTING = ("windows", "shards", "num_inferences", "bytes_read")


def kill_when_marked(mark, folder):
    """Kill the worker that says it is in the middle of a shard; what is done by then."""
    wait_until(mark.exists, 200.0)
    try:
        return storage.names_below(folder, suffix=".json")
    finally:  # whatever is wrong: it would sleep for an hour
        os.kill(int(mark.read_text()), signal.SIGKILL)


# gRPC's threads end with an error where the other end of a stream is killed
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_killed_in_the_middle_of_a_shard_changes_nothing(
    api, temp, tmp_path, monkeypatch, caplog
):
    caplog.set_level(logging.INFO)
    write_mixed(tmp_path / "corpus")
    local(tmp_path / "corpus", tmp_path / "local")
    run, job = planned(tmp_path / "corpus", tmp_path / "table")
    runner(api, temp).run(lambda pipeline: build_pipeline(pipeline, job, names(run)), name="l3flow-1")
    mark = tmp_path / "killed"
    (tmp_path / "sitecustomize.py").write_text(STARTUP)
    monkeypatch.setenv("LOST_WORKER", str(mark))
    folder = run.paths.staging("run-1", "done")
    monkeypatch.setenv("LOST_AFTER_ONE_IN", folder)
    WorkerProcess.started.clear()
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(kill_when_marked, mark, folder)
        result = run_restarting(staged(submitted(api)), tmp_path, monkeypatch)

    assert done.result() == [f"{names(run)[0]}.json"]  # which the same bundle has in it again
    lost, other = WorkerProcess.started
    assert lost.process.returncode == -signal.SIGKILL
    assert int(mark.read_text()) == lost.process.pid
    assert not alive(other.process.pid)

    assert table_rows(tmp_path / "table") == table_rows(tmp_path / "local")
    ours, others = ledger(tmp_path / "table"), ledger(tmp_path / "local")
    when = {"embedded_at": None}
    assert {c: row | when for c, row in ours.items()} == {c: row | when for c, row in others.items()}
    assert staged_runs(tmp_path / "table") == []
    assert main(["verify", "--table", str(tmp_path / "table"), "--quiet"]) == 0
    record, undisturbed = (
        read_json(storage.join(str(tmp_path / table), "runs/run-1.json")) for table in ("table", "local")
    )
    for name in ("clips", "windows", "audio_s", "bytes_read"):
        assert record[name] == undisturbed[name]
    for name in LASTING:
        assert record["metrics"][name] == undisturbed["metrics"][name]
    assert beam_metrics(result) == record["metrics"]
    files = [sorted(p.name for p in tmp_path.glob(f"{t}/windows/*/*")) for t in ("table", "local")]
    assert files[0] == files[1]

    # what workers have logged came to the runner, with the step that the service shows it by
    told = [text for each in caplog.records if "shard_done" in (text := each.getMessage())]
    told = [text for text in told if 'transform_id: "Embed/EmbedShard"' in text]
    assert all(any(f'\\"shard\\": \\"{name}\\"' in text for text in told) for name in names(run))
