"""Options of `--runner dataflow`: all that can be told to be wrong is, before submission."""

import argparse
import platform
import re
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.util import find_spec

from l3core import storage
from l3core.errors import UsageError
from l3core.listing import ListFile, parse_input
from l3core.storage_options import configured, is_named
from l3core.stores import is_remote
from launch.dataflow.gpu_options import check_mps, check_no_mps, gpu_of, machine_type_of
from launch.dataflow.machines import GPUS, Gpu
from launch.dataflow.prices import cost_of
from launch.dataflow.rest import ENDPOINT, DataflowService
from launch.dataflow.run import DataflowRunner
from launch.dataflow.workers import DEFAULT_WORKERS, Workers
from launch.options import EMAIL, naming
from launch.places import Place, reach_places
from launch.runners import Where

_PROJECT = re.compile(r"(?:[a-z0-9.-]+:)?[a-z][-a-z0-9]{4,28}[a-z0-9]")
_REGION = re.compile(r"[a-z]+-[a-z]+\d+")
_BUCKET = re.compile(r"gs://[a-z0-9][-_a-z0-9.]+[a-z0-9](/.*)?")
_LABEL = re.compile(r"[a-z][-_a-z0-9]{0,62}=[-_a-z0-9]{0,63}")
# As distribution/reference has it: [host[:port]/]path[:tag][@digest], paths without capitals.
IMAGE_NAME = re.compile(
    r"(?:[a-zA-Z0-9.-]+(?::\d+)?/)?[a-z0-9]+(?:(?:[._/]|__|-+)[a-z0-9]+)*"
    r"(?::\w[\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?",
    re.ASCII,
)
_NETWORK = re.compile(r"(?:\S+/networks/)?[a-z](?:[-a-z0-9]*[a-z0-9])?")
_SUBNETWORK = re.compile(r"(?:\S+/)?regions/([^/\s]+)/subnetworks/[a-z](?:[-a-z0-9]*[a-z0-9])?")
_PYTHON = re.compile(r"(?<![a-z])(?:beam_)?py(?:thon)?[-_]?(3)\.?(\d{1,2})(?!\d)")
_BEAM = re.compile(r"beam[-_]?v?(\d+\.\d+)|beam_python[\d.]+_sdk:v?(\d+\.\d+)")


def runner_of(
    args: argparse.Namespace, beam_options: Sequence[str], places: Mapping[str, str]
) -> DataflowRunner:
    """What the options of a command mean.

    Args:
        args: of the command.
        beam_options: further options of Beam.
        places: flag -> path or URI that workers read and write.

    Raises:
        UsageError: what is missing, or does not fit.
    """
    runner = checked(args, beam_options, places)
    if find_spec("google.cloud.dataflow") is None:
        raise UsageError("--runner dataflow needs Google's client: pip install 'l3flow[dataflow]'")
    runner.service.log_in()
    _check_lists(args.input)
    reach_places({"--temp-location": runner.temp})
    return runner


def where_of(args: argparse.Namespace, beam_options: Sequence[str], places: Mapping[str, str]) -> Where:
    """The machines that a run would have, without asking the service; arguments as of `runner_of`."""
    runner = checked(args, beam_options, places)
    _check_lists(args.input)
    workers, service = runner.workers, runner.service
    gpu = GPUS[workers.gpu] if workers.gpu else None
    notes = _notes(workers.machine, gpu)
    facts = {
        "runner": "dataflow",
        "project": service.project,
        "region": service.region,
        "machine_type": workers.machine,
        "machines_at_most": workers.most,
        "gpu": gpu.accelerator if gpu else None,
        "gpus_a_machine": workers.gpus if gpu else 0,
        "gpu_memory_gb": gpu.memory_gb if gpu else None,
        "image": workers.image,
        "notes": notes,
    }
    count = "one" if workers.gpus == 1 else str(workers.gpus)
    each = f" with {count} {workers.gpu} ({gpu.memory_gb} GB)" if gpu else ""
    words = f"at most {workers.most} {workers.machine}{each} on Dataflow in {service.region}"
    return Where(facts, "; ".join([words, *notes]), partial(cost_of, workers, service.region))


def _notes(machine: str, gpu: Gpu | None) -> list[str]:
    """What may be in the way, and only Google knows."""
    if gpu and machine in gpu.seldom:
        return [f"{machine} is sold as Spot or Flex-start only, see docs/dataflow.md"]
    return []


def checked(
    args: argparse.Namespace, beam_options: Sequence[str], places: Mapping[str, str]
) -> DataflowRunner:
    """`runner_of`, without asking whether this machine can submit."""
    _check_places(args, places)
    _check_secrets()
    endpoint = _endpoint(beam_options)
    project, region, temp = _project(args.project), _region(args.region), _temp(args.temp_location)
    if f"{temp}/".startswith(f"{args.output.rstrip('/')}/"):
        raise UsageError(f"--temp-location {temp} lies in the table, --output {args.output}")
    gpu, gpus = gpu_of(args.gpu)
    if gpu and (args.sdk_container_image or "").partition("@")[0].endswith("-cpu"):
        raise UsageError(
            f"--sdk-container-image {args.sdk_container_image} is for machines without a GPU: take the "
            "one that ends in -gpu"
        )
    machine_type = machine_type_of(args.machine_type, gpu, gpus)
    workers = args.workers or DEFAULT_WORKERS
    _check_beam(beam_options, region=region, workers=workers)
    _check_surroundings(args, region)
    if args.mps:
        check_mps(gpu, gpus, machine_type, beam_options)
    else:
        check_no_mps(beam_options)
    _check_labels(args.label)
    return DataflowRunner(
        service=DataflowService(endpoint, project, region),
        temp=temp,
        workers=Workers(
            image=_image(args.sdk_container_image),
            most=workers,
            gpu=gpu,
            gpus=gpus,
            machine_type=machine_type,
            disk_gb=args.disk_size,
            mps=args.mps,
            network=args.network,
            subnetwork=args.subnetwork,
            public_ips=not args.no_public_ips,
            service_account=args.service_account,
        ),
        labels=tuple(args.label),
        detach=args.detach,
    )


def _check_labels(labels: Sequence[tuple[str, str]]) -> None:
    for key, value in labels:
        if not _LABEL.fullmatch(f"{key}={value}"):
            raise UsageError(
                f"--label {key}={value}: the service takes small letters, digits, - and _, and a key "
                "that begins with a letter"
            )
        if (first := dict(reversed(labels))[key]) != value:
            raise UsageError(f"--label {key} is given twice, as {first} and as {value}")


def _check_surroundings(args: argparse.Namespace, region: str) -> None:
    """Hold that the machines' account and networks are names of some."""
    account, network, subnetwork = args.service_account, args.network, args.subnetwork
    if account is not None and not EMAIL.fullmatch(account):
        raise UsageError(
            "--service-account needs the email of one, as "
            f"work@my-project.iam.gserviceaccount.com, got {account!r}"
        )
    if network is not None and not _NETWORK.fullmatch(network):
        raise UsageError(f"--network needs the name of one, got {network!r}")
    if subnetwork is None:
        return
    found = _SUBNETWORK.fullmatch(subnetwork)
    if not found:
        raise UsageError(
            f"--subnetwork needs a URL, or regions/{region}/subnetworks/NAME, got {subnetwork!r}"
        )
    if found[1] != region:
        raise UsageError(f"--subnetwork {subnetwork} is not in --region {region}")


def _check_places(args: argparse.Namespace, places: Mapping[str, str]) -> None:
    read = [("--input", each) for each in args.input if not each.startswith("@")]
    if Place("--weights", args.weights).path is not None:
        read.append(("--weights", args.weights))
    for flag, place in [*places.items(), *read]:
        _check_remote(flag, place)
    for flag, place in places.items():
        if not place.startswith("gs://"):
            raise UsageError(
                f"{flag} {place}: a job on Dataflow keeps its table on gs://, where workers write as "
                "their --service-account"
            )


def _check_remote(flag: str, place: str) -> None:
    if not is_remote(place):
        raise UsageError(
            f"{flag} {place} is a path of this machine, and workers on Dataflow cannot reach it: "
            "copy it to gs://"
        )


def _check_lists(names: Sequence[str]) -> None:
    """Refuse files of this machine in `@LIST`s; may need credentials, as reading what they name does."""
    for name in names:
        if name.startswith("@"):
            with naming("--input"):
                found = parse_input(name)
            for uri in found.uris if isinstance(found, ListFile) else ():
                _check_remote(f"--input {name}:", storage.as_text(uri))


def _check_secrets() -> None:
    for key, value in configured().items():
        if is_named(value):
            raise UsageError(
                f"--storage-option {key}={value}: workers on Dataflow do not have it; they ask "
                "stores as their --service-account"
            )


def _endpoint(beam_options: Sequence[str]) -> str:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--dataflow_endpoint", default=ENDPOINT)
    found: str = parser.parse_known_args(beam_options)[0].dataflow_endpoint
    return found


def _project(given: str | None) -> str:
    if given is None:
        raise UsageError("--runner dataflow needs --project, the id of a Google Cloud project")
    if given.isdecimal():
        raise UsageError(f"--project needs the project's id, not its number, got {given}")
    if not _PROJECT.fullmatch(given):
        raise UsageError(f"--project needs a project's id, as my-project-1, got {given!r}")
    return given


def _region(given: str | None) -> str:
    if given is None:
        raise UsageError("--runner dataflow needs --region, as us-central1")
    if not _REGION.fullmatch(given):
        zone = re.fullmatch(rf"({_REGION.pattern})-[a-z]", given)
        hint = f": {given} is a zone of {zone[1]}" if zone else ""
        raise UsageError(f"--region needs a region, as us-central1, got {given!r}{hint}")
    return given


def _temp(given: str | None) -> str:
    if given is None:
        raise UsageError("--runner dataflow needs --temp-location, a gs:// folder for what is staged")
    if not _BUCKET.fullmatch(given):
        raise UsageError(f"--temp-location needs a folder as gs://bucket/temp, got {given!r}")
    return given.rstrip("/")


def _check_beam(beam_options: Sequence[str], *, region: str, workers: int) -> None:
    """Refuse what would contradict options of ours, and which Beam would send beside them."""
    if any("worker_accelerator" in option for option in beam_options):
        raise UsageError(
            "worker_accelerator of --dataflow_service_options is what l3flow sets: use --gpu"
        )
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--num_workers", type=int, default=0)
    parser.add_argument("--worker_zone", default="")
    parser.add_argument("--worker_region", default=region)
    given = parser.parse_known_args(beam_options)[0]
    if given.num_workers > workers:
        raise UsageError(f"--num_workers {given.num_workers} is more than --workers, which is {workers}")
    if given.worker_zone and given.worker_zone.rpartition("-")[0] != given.worker_region:
        raise UsageError(f"--worker_zone {given.worker_zone} is not in --region {region}")


def _image(given: str | None) -> str:
    import apache_beam  # for its version: a second

    python = ".".join(platform.python_version_tuple()[:2])
    beam = ".".join(apache_beam.__version__.split(".")[:2])
    needed = f"l3flow, Beam {beam} and Python {python}, as here"
    if given is None:
        raise UsageError(f"--runner dataflow needs --sdk-container-image, an image with {needed}")
    if not IMAGE_NAME.fullmatch(given):
        raise UsageError(f"--sdk-container-image needs the name of an image, got {given!r}")
    name = given.rpartition("/")[2].lower()
    found = _PYTHON.search(name)
    if found and f"{found[1]}.{found[2]}" != python:
        raise UsageError(
            f"--sdk-container-image {given} has Python {found[1]}.{found[2]}, needed: {needed}"
        )
    if (version := _BEAM.search(name)) and (version[1] or version[2]) != beam:
        raise UsageError(
            f"--sdk-container-image {given} has Beam {version[1] or version[2]}, needed: {needed}"
        )
    return given
