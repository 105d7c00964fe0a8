"""`l3flow embed --runner dataflow`: the whole command, whose job is run here by the endpoint."""

import _thread
import json
import threading

import fsspec
import pytest

import pipelines.embed
from l3core.table.pieces import BYTES_PER_SECOND
from l3core.table.read import read_windows
from launch.main import main
from tests.corpus import FLAGS, upload, write_mixed
from tests.dataflow_api import run_staged
from tests.fake_model import FakeModel

IMAGE = "europe-docker.pkg.dev/my-project/images/l3flow:1"


@pytest.fixture
def bucket(temp, tmp_path):
    """URI of a bucket with a corpus."""
    write_mixed(tmp_path / "corpus")
    bucket = temp.removesuffix("/temp")
    upload(tmp_path / "corpus", f"{bucket}/corpus")
    return bucket


@pytest.fixture
def service(api):
    """The endpoint, which runs what is submitted as soon as it is let."""
    api.may_run = threading.Event()
    api.may_run.set()
    workers = []

    def work(job):
        api.may_run.wait()
        if job["currentState"] == "JOB_STATE_RUNNING":
            run_staged(api.submitted[-1])
            job["currentState"] = "JOB_STATE_DONE"

    def start(job):
        workers.append(threading.Thread(target=work, args=(job,)))
        workers[-1].start()

    api.on_create = start
    yield api
    api.may_run.set()
    for worker in workers:
        worker.join()


def embed(api, bucket, *more):
    return main(
        [
            *("embed", "--input", f"{bucket}/corpus", "--output", f"{bucket}/table", *FLAGS),
            *("--runner", "dataflow", "--project", "my-project", "--region", "us-central1"),
            *("--temp-location", f"{bucket}/temp", "--sdk-container-image", IMAGE, "--gpu", "l4"),
            *("--dataflow_endpoint", api.url, *more),
        ]
    )


def rows(table):
    metadata, vectors = read_windows(str(table))
    return [(*row.values(), vector.tobytes()) for row, vector in zip(metadata.to_pylist(), vectors)]


def test_the_table_is_that_of_the_local_runner(service, bucket, tmp_path, capsys):
    corpus, table = str(tmp_path / "corpus"), str(tmp_path / "table")
    assert main(["embed", "--input", corpus, "--output", table, *FLAGS, "--quiet"]) == 0
    assert embed(service, bucket, "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert rows(f"{bucket}/table") == rows(table)
    [job] = service.jobs.values()
    assert record["workers"] == 4  # machines, not what each does side by side
    assert record["job"] == {"runner": "dataflow", "master": service.master(), "name": job["name"]}
    assert job["name"] == f"l3flow-{record['run_id'].lower()}"
    assert embed(service, bucket) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert len(service.jobs) == 1


def test_an_mp3_of_ten_hours_may_take_long(api, bucket, monkeypatch):
    monkeypatch.setitem(BYTES_PER_SECOND, ".mp3", 1e-3)  # 36 bytes are ten hours
    with fsspec.open(f"{bucket}/corpus/long.mp3", "wb") as file:
        file.write(bytes(36))
    assert embed(api, bucket, "--detach", "--quiet") == 0
    [job] = api.submitted
    options = job["environment"]["sdkPipelineOptions"]["options"]
    # 36,000 s / 0.25 s = 144,000 windows, 5,000 a second: 28.8 s
    assert options["element_processing_timeout_minutes"] == 120
    [job] = api.jobs.values()
    job["currentState"] = "JOB_STATE_CANCELLED"
    monkeypatch.setattr(FakeModel, "windows_per_second", 15.0)  # 9,600 s, times 12
    assert embed(api, bucket, "--detach", "--quiet", "--full") == 0
    options = api.submitted[-1]["environment"]["sdkPipelineOptions"]["options"]
    assert options["element_processing_timeout_minutes"] == 1920


def test_detached_and_followed_by_its_id(service, bucket, capsys):
    service.may_run.clear()
    assert embed(service, bucket, "--detach") == 0
    [(job_id, job)] = service.jobs.items()
    run_id = capsys.readouterr().out.split(", run ")[1].split()[0]
    assert embed(service, bucket) == 1
    said = capsys.readouterr().err
    assert f"run {run_id} (job {job['name']} at {service.master()}) is working on this table" in said
    threading.Timer(0.3, service.may_run.set).start()
    assert main(["runs", "--table", f"{bucket}/table", "--job", job_id, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run_id"] == run_id
    assert job["currentState"] == "JOB_STATE_DONE"


def test_a_run_takes_over_from_a_job_that_was_cancelled(service, bucket, capsys):
    service.may_run.clear()
    assert embed(service, bucket, "--detach") == 0
    [(job_id, job)] = service.jobs.items()
    job["currentState"] = "JOB_STATE_CANCELLED"
    service.may_run.set()
    capsys.readouterr()
    assert main(["runs", "--table", f"{bucket}/table", "--job", job_id]) == 1
    assert "its job was cancelled" in capsys.readouterr().err
    assert embed(service, bucket, "--quiet") == 0
    assert rows(f"{bucket}/table")


def test_a_job_that_fails_is_one_line(api, bucket, capsys):
    text = "Traceback (most recent call last):\nl3core.errors.RunError: it rained"
    api.on_create = lambda job: api.add_job(job["id"], job["name"], "JOB_STATE_FAILED", [text])
    assert embed(api, bucket) == 1
    said = capsys.readouterr()
    [line] = said.err.splitlines()
    assert line.startswith("l3flow: ")
    assert "it rained" in line
    [job_id] = api.jobs
    assert said.out.startswith(f"submitted: Dataflow job {job_id}, run ")  # its page has more


def test_ctrl_c_cancels_the_job(api, bucket, capsys):
    # a real signal once ended the process in which many libraries had been loaded before
    api.on_create = lambda job: threading.Timer(0.3, _thread.interrupt_main).start()
    assert embed(api, bucket) == 130
    assert [job["currentState"] for job in api.jobs.values()] == ["JOB_STATE_CANCELLED"]
    assert "interrupted; the table is as it was" in capsys.readouterr().err


def test_a_dry_run_says_on_which_machines(api, bucket, capsys, monkeypatch):
    monkeypatch.setattr("launch.embed_preview.TIMED_S", 0.05)
    monkeypatch.setattr("launch.dataflow.prices.product_gflops_here", lambda: 500.0)
    assert embed(api, bucket, "--dry-run", "--workers", "3") == 0
    said = capsys.readouterr().out
    assert "machines: at most 3 g2-standard-8 with one l4 (24 GB) on Dataflow in us-central1\n" in said
    assert embed(api, bucket, "--dry-run", "--json") == 0
    where = json.loads(capsys.readouterr().out)["where"]
    assert (where["machine_type"], where["machines_at_most"]) == ("g2-standard-8", 4)
    assert (where["gpu"], where["region"], where["image"]) == ("nvidia-l4", "us-central1", IMAGE)
    assert api.log == []


def test_a_dry_run_says_a_price(api, bucket, capsys, monkeypatch):
    monkeypatch.setattr("launch.embed_preview.TIMED_S", 0.05)
    assert embed(api, bucket, "--dry-run", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    price, windows = found["price"], found["windows"]
    # 8 * 0.056 + 32 * 0.003557 + 50 * 0.000054 + 0.672
    assert price["usd_per_machine_hour"] == pytest.approx(1.236524)
    assert price["machines"] == 4
    hours = windows / price["windows_per_second_a_machine"] / 3600 + 4 * 10 / 60
    assert price["machine_hours"] == pytest.approx(hours, abs=1e-6)
    assert price["usd"] == pytest.approx(hours * 1.236524, abs=0.011)
    assert embed(api, bucket, "--dry-run", "--region", "europe-west4") == 0
    assert "\nprice: not known: no list price of europe-west4" in capsys.readouterr().out


def test_a_run_with_nothing_to_embed_has_no_price(service, bucket, capsys):
    assert embed(service, bucket, "--quiet") == 0
    assert embed(service, bucket, "--dry-run", "--json") == 0
    assert "price" not in json.loads(capsys.readouterr().out)


def test_workers_are_told_their_share_of_a_gpu_and_of_the_cores(service, bucket, monkeypatch):
    told, decoders = [], []
    monkeypatch.setattr("pipelines.workers.usable_cores", lambda: 32)
    shard = pipelines.embed.embed_shard

    def noting(*args, **kwargs):
        decoders.append(kwargs["decoders"])
        return shard(*args, **kwargs)

    monkeypatch.setattr(pipelines.embed, "embed_shard", noting)
    monkeypatch.setattr("pipelines.workers.limit_memory", lambda engine, mb: told.append((engine, mb)))
    assert embed(service, bucket, "--quiet") == 0
    assert (told, set(decoders)) == ([], {8})
    decoders.clear()
    assert embed(service, bucket, "--quiet", "--full", "--mps") == 0  # eight processes
    assert (set(told), set(decoders)) == ({("fake", 2457)}, {1})


def test_a_dry_run_refuses_what_the_run_would(api, bucket, capsys):
    assert embed(api, bucket, "--dry-run", "--machine-type", "n1-standard-4") == 2
    assert "l4 is offered with g2-* only" in capsys.readouterr().err


@pytest.mark.parametrize("more", [[], ["--dry-run"]], ids=["run", "dry-run"])
def test_options_are_checked_before_a_place_is_asked(nobody, capsys, more):
    """Or somebody would look for credentials of a store that is then refused."""
    argv = ["embed", "--input", "gs://birds/audio", "--output", "s3://birds/table", *FLAGS, *more]
    place = ["--project", "my-project", "--region", "us-central1", "--temp-location", "gs://birds/temp"]
    assert main([*argv, "--runner", "dataflow", *place, "--sdk-container-image", IMAGE]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "--output s3://birds/table: a job on Dataflow keeps its table on gs://" in line


@pytest.mark.parametrize("more", [[], ["--dry-run"]], ids=["run", "dry-run"])
def test_a_bucket_for_staging_that_is_not_there_is_one_line(api, bucket, capsys, more):
    assert embed(api, bucket, "--temp-location", "gs://no-such-bucket/temp", *more) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("l3flow: --temp-location gs://no-such-bucket/temp: ")
    assert api.log == []


def test_so_is_one_that_cannot_be_written(api, bucket, gcs, capsys):
    gcs.fault(r"\.probe", status=403)
    assert embed(api, bucket) == 1
    gcs.clear()
    [line] = capsys.readouterr().err.splitlines()
    assert f"--temp-location {bucket}/temp: cannot write there: " in line
    assert api.submitted == []
