"""The flags of `--runner dataflow`."""

import argparse
from typing import Any

from launch.dataflow.machines import GPUS
from launch.options import key_value, positive


class _Once(argparse.Action):
    """A flag whose second value would look like an addition, and replace the first one."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        if (first := getattr(namespace, self.dest, None)) is not None:
            parser.error(f"{option_string} is given twice, {first} and {values}: workers are alike")
        setattr(namespace, self.dest, values)


def add_dataflow_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that belong to `--runner dataflow`."""
    group = parser.add_argument_group("Google Dataflow", "With --runner dataflow.")
    add = group.add_argument
    add("--project", metavar="ID", help="whose job it is")
    add("--region", metavar="NAME", help="where its workers run, as us-central1")
    add("--temp-location", metavar="URI", help="a gs:// folder for what is staged")
    add("--sdk-container-image", metavar="IMAGE", help="of workers: l3flow on Beam's image for Python")
    add(
        "--gpu",
        action=_Once,
        metavar="NAME[:N]",
        help=f"N of each worker: {', '.join(GPUS)} (default: none)",
    )
    add("--mps", action="store_true", help="a process for each core; they share the GPU by NVIDIA's MPS")
    add("--machine-type", metavar="TYPE", help="of workers (default: the GPU's smallest useful one)")
    add("--disk-size", type=positive, metavar="GB", help="of workers (default: the service's)")
    add("--service-account", metavar="EMAIL", help="as which workers run")
    add("--network", metavar="NAME", help="of workers")
    add("--subnetwork", metavar="NAME", help="of workers: a URL, or regions/REGION/subnetworks/NAME")
    add("--no-public-ips", action="store_true", help="workers have no addresses outside the network")
    add(
        "--label",
        type=key_value,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="of the job, as bills show it",
    )
