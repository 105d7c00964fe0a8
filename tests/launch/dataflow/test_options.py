"""What is wrong with the options of `--runner dataflow` is said before anything is submitted."""

import platform

import apache_beam
import pytest

from l3core.errors import UsageError
from l3core.storage_options import configure
from launch.beam_options import parse_with_beam
from launch.dataflow.machines import GPUS
from launch.dataflow.options import checked, offered_counts, runner_of
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
        ({"gpu": "l5"}, "--gpu must be one of t4, l4, a100, h100, got 'l5', did you mean l4?"),
        ({"gpu": "tpu"}, "--gpu must be one of t4, l4, a100, h100, got 'tpu'"),
        ({"gpu": "l4:x"}, "--gpu needs NAME or NAME:NUMBER, got 'l4:x'"),
        ({"gpu": "l4:0"}, "--gpu needs NAME or NAME:NUMBER, got 'l4:0'"),
        ({"gpu": "l4:3"}, "--gpu l4:3: a machine has 1, 2, 4, 8 of them"),
        (
            {"gpu": "t4:2"},
            "--gpu t4:2: a worker computes on one GPU, others would be paid for and idle; take more "
            "machines with --workers",
        ),
        (
            {"gpu": "l4", "machine_type": "n1-standard-8"},
            "--machine-type n1-standard-8: l4 is offered with g2-* only, as g2-standard-8",
        ),
        (
            {"gpu": "a100", "machine_type": "a2-highgpu-2g"},
            "--machine-type a2-highgpu-2g is none with one a100: a2-highgpu-1g",
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
        ({"sdk_container_image": "a b"}, "--sdk-container-image needs the name of an image, got 'a b'"),
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
        "gcr.io/p/l3flow@sha256:" + "3" * 64,
        "gcr.io/p/happy-3:latest",
    ],
)
def test_images_that_say_the_same_or_nothing(image):
    assert opened(sdk_container_image=image).workers.image == image


def test_mps_needs_a_gpu():
    assert refused("--mps") == "--mps needs --gpu"


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


@pytest.mark.parametrize("name", GPUS)
def test_every_gpu_goes_with_its_default_machine(name):
    gpu = GPUS[name]
    assert opened("--gpu", name, "--machine-type", gpu.default).workers.machine_type == gpu.default
    assert 1 in offered_counts(gpu)
