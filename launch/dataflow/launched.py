"""What Google's launcher calls the program of a template with, as a command line of `l3flow embed`."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from l3core.errors import UsageError
from launch.beam_options import beam_flags
from launch.dataflow.parameters import actions, flags_of, is_true
from launch.dataflow.run import Launch

# Options of Beam that the fields of a launch's `environment` become -> our flags.
OURS = {
    "project": "--project",
    "region": "--region",
    "temp_location": "--temp-location",
    "machine_type": "--machine-type",
    "worker_machine_type": "--machine-type",
    "disk_size_gb": "--disk-size",
    "service_account_email": "--service-account",
    "network": "--network",
    "subnetwork": "--subnetwork",
    "max_num_workers": "--workers",
    "max_workers": "--workers",
    "worker_harness_container_image": "--sdk-container-image",
}
# Of the launch itself.
LAUNCH = ("runner", "job_name", "template_location", "staging_location")
# May be given several times; each has its part.
GROWING = ("labels", "label", "experiments", "additional_experiments", "dataflow_service_options")


class Launched(NamedTuple):
    """A launch.

    Attributes:
        argv: of `l3flow embed`.
        launch: what the launch says besides.
        ignored: options that neither Beam nor we know, which Google's launcher may well have.
    """

    argv: list[str]
    launch: Launch
    ignored: list[str]


def launched(argv: Sequence[str]) -> Launched:
    """What the arguments of the launcher mean.

    Raises:
        UsageError: one is told twice and differently, or is not what there is of its kind.
    """
    told, growing = _told(argv)
    for needed in ("job_name", "template_location"):
        if needed not in told:
            raise UsageError(f"Google's launcher gives --{needed}, and this launch has none")
    if told.get("runner", "DataflowRunner") != "DataflowRunner":
        raise UsageError(f"a template runs on DataflowRunner, got --runner={told['runner']}")
    launch = Launch(
        job_name=told["job_name"],
        template=told["template_location"],
        staging=told.get("staging_location"),
    )
    told.setdefault("temp_location", launch.staging or "")
    own = actions()
    found = ["--runner", "dataflow", "--detach"]
    found += flags_of({name: text for name, text in told.items() if name in own})
    found += [f"{OURS[name]}={text}" for name, text in told.items() if name in OURS and text]
    found += _public_ips(told)
    found += [
        f"--label={each}" for text in growing["labels"] + growing["label"] for each in _pairs(text)
    ]
    beam, ignored = beam_flags(), []
    for name, text in told.items():
        if name in own or name in OURS or name in LAUNCH or name.endswith("use_public_ips"):
            continue
        if f"--{name}" not in beam:
            ignored.append(f"--{name}")
        elif beam[f"--{name}"]:
            found.append(f"--{name}={text}")
        elif is_true(f"--{name}", text):
            found.append(f"--{name}")
    for name in ("experiments", "dataflow_service_options"):
        found += [f"--{name}={text}" for text in growing[name]]
    found += [f"--experiments={text}" for text in growing["additional_experiments"]]
    return Launched(found, launch, ignored)


def _told(argv: Sequence[str]) -> tuple[dict[str, str], dict[str, list[str]]]:
    told: dict[str, str] = {}
    growing: dict[str, list[str]] = {name: [] for name in GROWING}
    for name, text in _pieces(argv):
        if name in growing:
            growing[name].append(text)
        elif told.setdefault(name, text) != text:
            raise UsageError(f"--{name} is told twice, as {told[name]!r} and as {text!r}")
    return told, growing


def _pieces(argv: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(name, text) of `--name=text`, and of `--name`, which is true."""
    for token in argv:
        name, equals, text = token.partition("=")
        if not name.startswith("--"):
            raise UsageError(f"a launch has options as --name=value, got {token!r}")
        yield name.removeprefix("--"), text if equals else "true"


def _public_ips(told: dict[str, str]) -> list[str]:
    asked: dict[str, Callable[[bool], bool]] = {
        "use_public_ips": lambda given: given,
        "no_use_public_ips": lambda given: not given,
    }
    public = [of(is_true(f"--{name}", told[name])) for name, of in asked.items() if name in told]
    return ["--no-public-ips"] if public and not all(public) else []


def _pairs(text: str) -> list[str]:
    """KEY=VALUE of labels, which may be JSON."""
    if not text.startswith("{"):
        return [text]
    try:
        return [f"{key}={value}" for key, value in json.loads(text).items()]
    except ValueError:
        raise UsageError(f"--labels needs KEY=VALUE or JSON, got {text!r}") from None
