"""`l3flow-harness`: what a runner's PROCESS environment, or a worker pool, starts as a Python worker.

A runner on the JVM starts a boot program with the addresses of its services. Beam's own is written in
Go, comes in containers only and installs what was staged; this one runs what is installed already.
The protocol is Beam's container contract (`sdks/python/container/boot.go`).
"""

import fcntl
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
from apache_beam.portability.api import beam_provision_api_pb2 as provision
from apache_beam.portability.api import beam_provision_api_pb2_grpc as provision_grpc
from apache_beam.portability.api import endpoints_pb2
from apache_beam.runners.job.utils import struct_to_dict

from l3core.machine import usable_cores
from pipelines.ending import STARTED_BY_RUNNER

ANSWER_WITHIN_S = 60.0
THREADS = "TF_NUM_INTRAOP_THREADS"
GPUS = "CUDA_VISIBLE_DEVICES"


def main(argv: Sequence[str] | None = None) -> None:
    """Ask the runner what to run, and become the Python worker that does it."""
    given = _given(sys.argv[1:] if argv is None else argv)
    info = _provisioned(given)
    options = struct_to_dict(info.pipeline_options)
    os.environ.update(_beam_environment(given, info, options))
    os.environ.update(share_of_machine(_harnesses(options), os.environ))
    os.dup2(2, 1)  # Beam's worker pools never read what workers print, and they would wait for that
    os.execv(sys.executable, [sys.executable, "-m", "apache_beam.runners.worker.sdk_worker_main"])


def share_of_machine(harnesses: int, environment: Mapping[str, str]) -> dict[str, str]:
    """Variables that leave a worker its share of cores and a GPU of its own; those that are set stay.

    Args:
        harnesses: Python workers beside each other.
        environment: the variables that are set.
    """
    found = {}
    if THREADS not in environment:
        found[THREADS] = str(max(1, usable_cores() // harnesses))
    if gpu := _own_gpu(_visible_gpus(environment)):
        found[GPUS] = gpu
    return found


def _given(argv: Sequence[str]) -> dict[str, str]:
    """The arguments, all of which are `--name=value`."""
    given = dict(argument.removeprefix("--").partition("=")[::2] for argument in argv)
    if not {"id", "provision_endpoint"} <= given.keys():
        sys.exit("l3flow-harness: started by a runner, with --id=... and --provision_endpoint=...")
    return given


def _provisioned(given: Mapping[str, str]) -> Any:
    with grpc.insecure_channel(given["provision_endpoint"]) as channel:
        stub = provision_grpc.ProvisionServiceStub(channel)
        request = provision.GetProvisionInfoRequest()
        metadata = [("worker_id", given["id"])]
        try:
            return stub.GetProvisionInfo(request, metadata=metadata, timeout=ANSWER_WITHIN_S).info
        except grpc.RpcError as error:
            sys.exit(f"l3flow-harness: no runner at {given['provision_endpoint']}: {error.details()}")


def _beam_environment(given: Mapping[str, str], info: Any, options: Mapping[str, Any]) -> dict[str, str]:
    """What `sdk_worker_main` reads, and `pipelines.ending`."""

    def endpoint(told: Any, name: str) -> str:
        if not told.url:
            told = endpoints_pb2.ApiServiceDescriptor(url=given[f"{name}_endpoint"])
        return str(told)  # protobuf's text format

    found = {
        STARTED_BY_RUNNER: "1",
        "WORKER_ID": given["id"],
        "PIPELINE_OPTIONS": json.dumps(options),
        "LOGGING_API_SERVICE_DESCRIPTOR": endpoint(info.logging_endpoint, "logging"),
        "CONTROL_API_SERVICE_DESCRIPTOR": endpoint(info.control_endpoint, "control"),
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
    }
    if info.HasField("status_endpoint"):
        found["STATUS_API_SERVICE_DESCRIPTOR"] = str(info.status_endpoint)
    return found


def _harnesses(options: Mapping[str, Any]) -> int:
    """Python workers of one TaskManager; with 0 a runner starts one for each core but one."""
    asked = int(options.get("beam:option:sdk_worker_parallelism:v1", 1))
    return max(1, asked or usable_cores() - 1)


def _visible_gpus(environment: Mapping[str, str]) -> list[str]:
    """GPUs that this process may use, as CUDA numbers or names them."""
    if GPUS in environment:
        named = [name.strip() for name in environment[GPUS].split(",")]
        return named[: named.index("-1")] if "-1" in named else [name for name in named if name]
    return [str(number) for number, _ in enumerate(Path("/proc/driver/nvidia/gpus").glob("*"))]


def _own_gpu(gpus: Sequence[str]) -> str | None:
    """A GPU that no other worker of this machine has, else one to share; None where there is none.

    It is this process's for as long as it lives: the lock goes over to the program that it becomes.
    """
    for gpu in gpus:
        place = Path(tempfile.gettempdir()) / f"l3flow-gpu-{gpu.replace('/', '_')}.lock"
        try:
            descriptor = _opened(place)
        except OSError:  # another user's, and not to be looked at
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        os.set_inheritable(descriptor, True)
        return gpu
    return gpus[os.getpid() % len(gpus)] if gpus else None


def _opened(place: Path) -> int:
    """Descriptor of a lock, which anybody may have made; it is never written to."""
    try:
        return os.open(place, os.O_RDONLY | os.O_CREAT, 0o644)
    except PermissionError:  # Linux lets nobody create another user's file again in /tmp
        return os.open(place, os.O_RDONLY)
