"""What is wrong with the options of `--runner dataflow` is said before anything is submitted."""

import platform

import apache_beam
import pytest

from l3core.errors import UsageError
from l3core.storage_options import configure
from launch.beam_options import parse_with_beam
from launch.dataflow.machines import GPUS, machine_of
from launch.dataflow.options import checked, runner_of, where_of
from launch.dataflow.rest import ENDPOINT
from launch.embed import build_parser

PYTHON = ".".join(platform.python_version_tuple()[:2])
BEAM = ".".join(apache_beam.__version__.split(".")[:2])
GIVEN = {
    "--input": "gs://birds/corpus",
    "--output": "gs://birds/table",
    "--runner": "dataflow",
    "--project": "my-project",
    "--region": "us-central1",
    "--temp-location": "gs://birds/temp/",
    "--sdk-container-image": "europe-docker.pkg.dev/my-project/images/l3flow:1",
}


@pytest.fixture(autouse=True)
def nothing_configured():
    yield
    configure([])


def opened(*more, without=(), check=checked, **changed):
    given = GIVEN | {f"--{name.replace('_', '-')}": value for name, value in changed.items()}
    argv = [word for name, value in given.items() if name not in without for word in (name, value)]
    args, beam_options = parse_with_beam(build_parser("l3flow embed"), [*argv, *more])
    return check(args, beam_options, {"--output": args.output})


def refused(*more, **changed):
    with pytest.raises(UsageError) as caught:
        opened(*more, **changed)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_the_options_mean():
    runner = opened(
        "--gpu", "l4:1", "--workers", "7", "--label", "team=birds", "--detach", "--no-public-ips"
    )
    assert runner.service.master == f"{ENDPOINT}/v1b3/projects/my-project/locations/us-central1"
    assert runner.temp == "gs://birds/temp"
    assert runner.labels == (("team", "birds"),)
    assert runner.detach
    assert runner.slots == 14
    workers = runner.workers
    assert (workers.gpu, workers.most, workers.public_ips) == ("l4", 7, False)
    assert "--machine_type=g2-standard-8" in workers.options()


@pytest.mark.parametrize("flag", ["--project", "--region", "--temp-location", "--sdk-container-image"])
def test_what_is_missing(flag):
    assert refused(without=[flag]).startswith(f"--runner dataflow needs {flag}, ")
    assert refused("--gpu", "l4", without=[flag]).startswith(f"--runner dataflow needs {flag}, ")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"project": "123456"}, "--project needs the project's id, not its number, got 123456"),
        ({"project": "My Project"}, "--project needs a project's id, as my-project-1, got 'My Project'"),
        ({"region": "central"}, "--region needs a region, as us-central1, got 'central'"),
        (
            {"region": "us-central1-a"},
            "--region needs a region, as us-central1, got 'us-central1-a': us-central1-a is a zone of "
            "us-central1",
        ),
        (
            {"temp_location": "/tmp/x"},
            "--temp-location needs a folder as gs://bucket/temp, got '/tmp/x'",
        ),
        (
            {"temp_location": "s3://b/x"},
            "--temp-location needs a folder as gs://bucket/temp, got 's3://b/x'",
        ),
        (
            {"output": "table"},
            "--output table is a path of this machine, and workers on Dataflow cannot reach it: copy it "
            "to gs://",
        ),
        (
            {"input": "/data/*.wav"},
            "--input /data/*.wav is a path of this machine, and workers on Dataflow cannot reach it: "
            "copy it to gs://",
        ),
        (
            {"weights": "mine.h5"},
            "--weights mine.h5 is a path of this machine, and workers on Dataflow cannot reach it: copy "
            "it to gs://",
        ),
        ({"gpu": "l5"}, "--gpu must be one of t4, l4, a100, h100, got 'l5', did you mean l4?"),
        ({"gpu": "tpu"}, "--gpu must be one of t4, l4, a100, h100, got 'tpu'"),
        ({"gpu": "l4:x"}, "--gpu needs NAME or NAME:NUMBER, got 'l4:x'"),
        ({"gpu": "l4:0"}, "--gpu needs NAME or NAME:NUMBER, got 'l4:0'"),
        ({"gpu": "l4:3"}, "--gpu l4:3: a machine has 1, 2, 4, 8 of them"),
        (
            {"output": "s3://birds/table"},
            "--output s3://birds/table: a job on Dataflow keeps its table on gs://, where workers write "
            "as their --service-account",
        ),
        ({"gpu": "t4:8"}, "--gpu t4:8: a machine has 1, 2, 4 of them"),
        (
            {"gpu": "l4", "machine_type": "n1-standard-8"},
            "--machine-type n1-standard-8: l4 is offered with g2-* only, as g2-standard-8",
        ),
        (
            {"gpu": "a100", "machine_type": "a2-highgpu-2g"},
            "--machine-type a2-highgpu-2g has 2 a100: --gpu a100:2, or a2-highgpu-1g",
        ),
        (
            {"gpu": "l4:2", "machine_type": "g2-standard-8"},
            "--machine-type g2-standard-8 has 1 l4: --gpu l4:1, or g2-standard-24",
        ),
        (
            {"gpu": "l4:4", "machine_type": "g2-standard-7"},
            "--machine-type g2-standard-7 is none with l4: --gpu l4:4 has g2-standard-48",
        ),
        (
            {"gpu": "t4", "machine_type": "n1-standard-64"},
            "--machine-type n1-standard-64: with 1 t4 a machine has at most 48 vCPUs",
        ),
        (
            {"machine_type": "g2-standard-24"},
            "--machine-type g2-standard-24 comes with a GPU: name it, --gpu l4:2",
        ),
        (
            {"machine_type": "g2-standard-8"},
            "--machine-type g2-standard-8 comes with a GPU: name it, --gpu l4",
        ),
        (
            {"label": "Team=birds"},
            "--label Team=birds: the service takes small letters, digits, - and _, and a key that "
            "begins with a letter",
        ),
        *[
            (
                {"sdk_container_image": image},
                f"--sdk-container-image needs the name of an image, got {image!r}",
            )
            for image in (
                "",
                "a b",
                "x:",
                "x:1:2",
                "/x",
                "x/",
                "https://gcr.io/x/y",
                "p/X:1",
                "ü/x",
                "x@sha256:12",
            )
        ],
        *[
            (
                {"machine_type": given},
                f"--machine-type needs a machine type, as n1-standard-4, got {given!r}",
            )
            for given in ("", "n1 standard", "N1-standard-4", "n1-", "n1-standard-4ü")
        ],
        (
            {"machine_type": "a2-ultragpu-1g"},
            "--machine-type a2-ultragpu-1g comes with an accelerator that --gpu does not know: it has "
            "t4, l4, a100, h100",
        ),
        (
            {"gpu": "l4", "sdk_container_image": "gcr.io/p/l3flow:1-cpu"},
            "--sdk-container-image gcr.io/p/l3flow:1-cpu is for machines without a GPU: take the one "
            "that ends in -gpu",
        ),
        ({"gpu": "l4:\uff12"}, "--gpu needs NAME or NAME:NUMBER, got 'l4:\uff12'"),
        *[
            (
                {"service_account": given},
                "--service-account needs the email of one, as "
                f"work@my-project.iam.gserviceaccount.com, got {given!r}",
            )
            for given in ("", "work", "ü@x.com", "a b@c.com")
        ],
        *[
            ({"network": given}, f"--network needs the name of one, got {given!r}")
            for given in ("", "a b", "ü")
        ],
        (
            {"subnetwork": "mine"},
            "--subnetwork needs a URL, or regions/us-central1/subnetworks/NAME, got 'mine'",
        ),
        (
            {"subnetwork": "regions/europe-west1/subnetworks/mine"},
            "--subnetwork regions/europe-west1/subnetworks/mine is not in --region us-central1",
        ),
        (
            {"temp_location": "gs://birds/table/temp"},
            "--temp-location gs://birds/table/temp lies in the table, --output gs://birds/table",
        ),
    ],
)
def test_what_is_wrong(changed, words):
    assert refused(**changed) == words


@pytest.mark.parametrize(
    ("image", "has"),
    [
        ("apache/beam_python3.9_sdk:2.77.0", "Python 3.9"),
        (f"apache/beam_python{PYTHON}_sdk:2.60.0", "Beam 2.60"),
        ("gcr.io/p/l3flow:py39", "Python 3.9"),
        ("gcr.io/p/l3flow:beam2.60", "Beam 2.60"),
    ],
)
def test_images_of_another_beam_or_python(image, has):
    assert refused(sdk_container_image=image) == (
        f"--sdk-container-image {image} has {has}, needed: l3flow, Beam {BEAM} and Python {PYTHON}, "
        "as here"
    )


@pytest.mark.parametrize(
    "image",
    [
        f"gcr.io/p/l3flow:py{PYTHON.replace('.', '')}-beam{BEAM}",
        f"gcr.io/python3.9/l3flow:python{PYTHON}",
        "localhost:5000/l3flow",
        "us-docker.pkg.dev/my-project/images/l3flow:1@sha256:" + "3" * 64,
        "gcr.io/p/l3flow@sha256:" + "3" * 64,
        "gcr.io/p/happy-3:latest",
    ],
)
def test_images_that_say_the_same_or_nothing(image):
    assert opened(sdk_container_image=image).workers.image == image


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, "--mps needs --gpu"),
        ({"gpu": "l4:2"}, "--mps needs machines with one GPU, got --gpu l4:2"),
        (
            {"gpu": "t4", "machine_type": "n1-standard-16"},
            "--mps: n1-standard-16 has 16 cores, each with a process, and the memory of one t4 is "
            "enough for 8 models: take fewer cores",
        ),
        (
            {"gpu": "t4", "machine_type": "n1-megamem-96"},
            "--mps needs a machine type whose cores are known, got n1-megamem-96",
        ),
    ],
)
def test_what_mps_needs(changed, words):
    assert refused("--mps", **changed) == words


def test_a_list_that_names_a_file_of_this_machine(tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("/data/b.wav\n/data/c.wav\n")
    assert refused(check=where_of, input=f"@{names}") == (
        f"--input @{names}: /data/b.wav is a path of this machine, and workers on Dataflow cannot reach "
        "it: copy it to gs://"
    )
    names.write_text("https://birds.example/a.wav\nhttps://birds.example/b.wav\n")
    opened(check=where_of, input=f"@{names}")


def test_options_of_beam_that_contradict_ours():
    accelerator = "worker_accelerator=type:nvidia-l4;count:1"
    assert refused("--gpu", "l4", f"--dataflow_service_options={accelerator}") == (
        "worker_accelerator of --dataflow_service_options is what l3flow sets: use --gpu"
    )
    assert refused("--workers", "3", "--num_workers", "4") == (
        "--num_workers 4 is more than --workers, which is 3"
    )
    assert refused("--worker_zone=europe-west1-b") == (
        "--worker_zone europe-west1-b is not in --region us-central1"
    )
    opened("--worker_zone=us-central1-a", "--num_workers=4")
    assert refused("--streaming") == "--streaming of Beam is what l3flow sets itself"
    one_process = ["--experiments", "no_use_multiple_sdk_containers"]
    assert refused("--gpu", "l4", "--mps", *one_process) == (
        "--mps needs a process for each core: without no_use_multiple_sdk_containers"
    )
    opened("--gpu", "l4", *one_process)
    processes = "--experiments=a,use_multiple_sdk_containers"
    for gpu in ((), ("--gpu", "l4")):
        assert refused(*gpu, processes) == (
            "use_multiple_sdk_containers of --experiments is what l3flow sets: use --mps, with --gpu"
        )
    opened("--gpu", "l4", "--mps", processes)


def test_processes_share_the_memory_of_a_gpu_with_mps():
    workers = opened("--gpu", "l4", "--mps").workers
    assert (workers.processes, workers.threads) == (8, 2)
    assert workers.gpu_memory_mb == 2457  # 0.8 * 24 * 1024 / 8
    assert opened("--gpu", "l4", "--mps", "--workers", "2").slots == 2 * 8 * 2
    assert opened("--gpu", "l4").gpu_memory_mb is None


@pytest.mark.parametrize(
    ("gpu", "machine", "threads"),
    [
        ("l4", "g2-standard-8", 2),
        ("l4:2", "g2-standard-24", 4),
        ("l4:8", "g2-standard-96", 16),
        ("t4:4", "n1-standard-32", 8),
        ("a100:4", "a2-highgpu-4g", 8),
        ("h100:8", "a3-highgpu-8g", 16),
    ],
)
def test_several_gpus_have_their_machine_and_two_threads_each(gpu, machine, threads):
    runner = opened("--gpu", gpu, "--workers", "3")
    assert f"--machine_type={machine}" in runner.workers.options()
    assert f"--number_of_worker_harness_threads={threads}" in runner.workers.options()
    assert runner.slots == 3 * threads


@pytest.mark.parametrize("second", ["t4", "l4:2", "l4"])
def test_a_second_gpu_does_not_take_the_place_of_the_first(second, capsys):
    with pytest.raises(SystemExit) as ended:
        opened("--gpu", "l4", "--gpu", second)
    assert ended.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert f": --gpu is given twice, l4 and {second}: workers are alike (see " in line


def test_a_label_has_one_value():
    labels = ("--label", "team=a", "--label", "cost=7", "--label")
    assert refused(*labels, "team=b") == "--label team is given twice, as a and as b"
    assert opened(*labels, "team=a").labels == (("team", "a"), ("cost", "7"), ("team", "a"))


def test_where_it_would_run():
    facts, words, _ = opened("--gpu", "l4:2", check=where_of)
    assert words == "at most 4 g2-standard-24 with 2 l4 (24 GB) on Dataflow in us-central1"
    assert (facts["gpus_a_machine"], facts["notes"]) == (2, [])
    facts, words, _ = opened("--gpu", "h100", check=where_of)
    note = "a3-highgpu-1g is sold as Spot or Flex-start only, see docs/dataflow.md"
    assert words.endswith(f"with one h100 (80 GB) on Dataflow in us-central1; {note}")
    assert facts["notes"] == [note]
    assert opened("--gpu", "h100:8", check=where_of).facts["notes"] == []
    assert opened(check=where_of).facts["gpus_a_machine"] == 0


@pytest.mark.parametrize("value", ["file:key.json", "env:KEY"])
def test_secrets_of_this_machine_are_not_where_workers_are(value):
    assert refused("--storage-option", f"token={value}") == (
        f"--storage-option token={value}: workers on Dataflow do not have it; they ask stores as their "
        "--service-account"
    )
    opened("--storage-option", "project=my-project")


@pytest.mark.parametrize(
    "endpoint",
    ["https://evil.example", "http://127.0.0.1:1", "https://dataflow.googleapis.com@evil.example"],
)
def test_credentials_go_to_google_only(endpoint):
    assert refused("--dataflow_endpoint", endpoint).startswith(
        "--dataflow_endpoint needs https://dataflow."
    )


def test_without_credentials(nobody, monkeypatch):
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    with pytest.raises(UsageError, match=r"^--runner dataflow needs Google's credentials: gcloud auth"):
        opened(check=runner_of)


@pytest.mark.parametrize(("name", "count"), [(n, c) for n, gpu in GPUS.items() for c in gpu.offered])
def test_every_gpu_goes_with_its_default_machine(name, count):
    default = GPUS[name].defaults[count]
    workers = opened("--gpu", f"{name}:{count}", "--machine-type", default).workers
    assert (workers.machine, workers.gpus) == (default, count)
    assert GPUS[name].counts.get(default, count) == count
    assert machine_of(default)


@pytest.mark.parametrize("name", GPUS)
def test_every_machine_of_a_gpu_is_known_and_taken(name):
    for machine, count in GPUS[name].counts.items():
        assert opened("--gpu", f"{name}:{count}", "--machine-type", machine).workers.machine == machine
        assert machine_of(machine).cores >= 4 * count


def test_what_machines_have():
    # docs.cloud.google.com/compute/docs/gpus and general-purpose-machines
    assert machine_of("n1-standard-4") == (4, 15.0)
    assert machine_of("g2-standard-96") == (96, 384.0)
    assert machine_of("a2-highgpu-8g") == (96, 680.0)
    assert machine_of("a3-highgpu-4g") == (104, 936.0)
    assert machine_of("a3-highgpu-4") is None
    assert machine_of("g2-standard-8g") is None
    assert machine_of("custom-8-30720") is None
