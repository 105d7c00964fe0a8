"""The Flex Template of `l3flow embed`: its spec, and what is sent to launch it."""

import argparse
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from l3core.errors import UsageError
from launch import embed
from launch.beam_options import beam_flags
from launch.dataflow.gpu_options import check_name
from launch.dataflow.options import IMAGE_NAME, checked
from launch.dataflow.parameters import metadata, parameters_of, values_of
from launch.dataflow.rest import DataflowService
from launch.places import Place

DESCRIPTION = (
    "Embeds audio into a feature table: plans when it is launched, embeds what is new or changed, and "
    "commits as its last step."
)
JOB_NAME = re.compile(r"[a-z]([-a-z0-9]{0,1022}[a-z0-9])?")  # Job.name of the API
# Options of Beam -> fields of a launch's environment; all others go into `additionalPipelineOptions`.
FIELDS = {
    "dataflow_kms_key": "kmsKeyName",
    "worker_region": "workerRegion",
    "worker_zone": "workerZone",
}


class Launching(NamedTuple):
    """A launch that was checked.

    Attributes:
        service: that is asked.
        table: that the run is about.
        request: `LaunchFlexTemplateRequest` of the API.
    """

    service: DataflowService
    table: str
    request: dict[str, Any]


def spec_of_template(image: str) -> dict[str, Any]:
    """The spec of the template (`ContainerSpec` of the API).

    Args:
        image: of `launch/docker`, which has l3flow and Google's launcher in it.
    """
    return {
        "image": image,
        "sdkInfo": {"language": "PYTHON"},
        "metadata": {
            "name": "l3flow embed",
            "description": DESCRIPTION,
            "parameters": metadata(),
        },
    }


def launching(
    argv: Sequence[str], *, template: str, job_name: str, launcher_machine: str | None = None
) -> Launching:
    """What launches the template with the options of a command.

    Args:
        argv: of `l3flow embed`, with its options of Dataflow.
        template: gs:// object with the spec.
        job_name: of the job.
        launcher_machine: type of the machine that plans; None: the service's default.

    Raises:
        UsageError: what the command would refuse, or cannot be launched so.
    """
    if not re.fullmatch(r"gs://[^/\s]+/\S+", template):
        raise UsageError(f"--template needs the spec as gs://bucket/template.json, got {template!r}")
    if not JOB_NAME.fullmatch(job_name):
        raise UsageError(
            f"a job's name has small letters, digits and -, and begins with a letter, got {job_name!r}"
        )
    if launcher_machine is not None:
        check_name("--launcher-machine-type", launcher_machine)
    args, beam_options, _ = embed.check(argv, embed.build_parser("l3flow embed"))
    if args.runner != "dataflow":
        raise UsageError(f"a template needs --runner dataflow, and runs not on --runner {args.runner}")
    values = values_of(argv)
    parameters = parameters_of(values)
    runner = checked(_with_own_image(args), beam_options, {"--output": args.output})
    for flag in ("--input", "--root"):
        _refuse_local(flag, values.get(flag, []))
    environment: dict[str, Any] = {
        "tempLocation": runner.temp,
        "stagingLocation": runner.temp,
        # given or not: whatever the service's defaults are, what is planned for is what there is
        "maxWorkers": runner.workers.most,
        "machineType": runner.workers.machine,
        "diskSizeGb": args.disk_size,
        "serviceAccountEmail": args.service_account,
        "network": args.network,
        "subnetwork": args.subnetwork,
        "ipConfiguration": "WORKER_IP_PRIVATE" if args.no_public_ips else None,
        "additionalUserLabels": dict(args.label),
        "launcherMachineType": launcher_machine,
        **_of_beam(beam_options),
    }
    launch = {
        "jobName": job_name,
        "containerSpecGcsPath": template,
        "parameters": parameters,
        "environment": {name: value for name, value in environment.items() if value},
    }
    return Launching(runner.service, args.output, {"launchParameter": launch})


def _with_own_image(args: argparse.Namespace) -> argparse.Namespace:
    """The options with an image that fits: it plans itself, so Beam and Python need not be as here."""
    given = args.sdk_container_image
    fits = given and IMAGE_NAME.fullmatch(given)
    device = "-cpu" if str(given).endswith("-cpu") else ""
    return argparse.Namespace(
        **vars(args) | ({"sdk_container_image": f"l3flow{device}"} if fits else {})
    )


def _refuse_local(flag: str, given: bool | str | list[str]) -> None:
    for text in given if isinstance(given, list) else [str(given)]:
        if Place(flag, text).path is not None:
            raise UsageError(
                f"{flag} {text}: a path of this machine, and a template is launched elsewhere: name a "
                "URI of a store, as gs://"
            )


def _of_beam(options: Sequence[str]) -> dict[str, Any]:
    """Options of Beam as fields of an environment."""
    experiments, others, fields = [], [], {}
    for name, value in _pairs(options):
        if name in ("experiments", "experiment"):
            experiments += value.split(",")
        elif name in FIELDS:
            fields[FIELDS[name]] = value
        else:
            others.append(f"{name}={value}")
    return fields | {"additionalExperiments": experiments, "additionalPipelineOptions": others}


def _pairs(options: Sequence[str]) -> Iterator[tuple[str, str]]:
    takes_value = beam_flags() if options else {}
    left = list(options)
    while left:
        flag, equals, value = left.pop(0).partition("=")
        if not equals:
            value = left.pop(0) if takes_value[flag] else "true"
        yield flag.removeprefix("--"), value
