"""`--gpu`, `--machine-type` and `--mps`, held against what Google offers."""

import difflib
import re
from collections.abc import Sequence

from l3core.errors import UsageError
from launch.dataflow.machines import GPUS, machine_of

_MACHINE_TYPE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)+")
# Machine types that come with accelerators which `--gpu` does not name: docs/dataflow.md.
_WITH_OTHERS = ("a2-", "a3-", "a4-", "a4x-", "g2-", "g4-", "ct")


def gpu_of(given: str | None) -> tuple[str | None, int]:
    """Name and number that `--gpu` asks for; None: none.

    Raises:
        UsageError: what there is instead.
    """
    if given is None:
        return None, 1
    name, colon, count = given.partition(":")
    if name not in GPUS:
        near = difflib.get_close_matches(name.lower(), GPUS, n=1, cutoff=0.5)
        hint = f", did you mean {near[0]}?" if near else ""
        raise UsageError(f"--gpu must be one of {', '.join(GPUS)}, got {name!r}{hint}")
    if colon and not re.fullmatch("[1-9][0-9]*", count):
        raise UsageError(f"--gpu needs NAME or NAME:NUMBER, got {given!r}")
    offered = GPUS[name].offered
    if colon and int(count) not in offered:
        raise UsageError(f"--gpu {given}: a machine has {', '.join(map(str, offered))} of them")
    return name, int(count) if colon else 1


def check_name(flag: str, given: str) -> None:
    """Hold that a machine type is the name of one.

    Raises:
        UsageError: it is not.
    """
    if not _MACHINE_TYPE.fullmatch(given):
        raise UsageError(f"{flag} needs a machine type, as n1-standard-4, got {given!r}")


def machine_type_of(given: str | None, gpu: str | None, gpus: int) -> str | None:
    """The machine type that was given, if it goes with the GPUs; None: none was.

    Raises:
        UsageError: which do.
    """
    if given is None:
        return None
    check_name("--machine-type", given)
    if gpu is None:
        for name, each in GPUS.items():
            if count := each.counts.get(given):
                number = f":{count}" if count > 1 else ""
                raise UsageError(
                    f"--machine-type {given} comes with a GPU: name it, --gpu {name}{number}"
                )
        if given.startswith(_WITH_OTHERS):
            raise UsageError(
                f"--machine-type {given} comes with an accelerator that --gpu does not know: it has "
                f"{', '.join(GPUS)}"
            )
        return given
    facts = GPUS[gpu]
    default = facts.defaults[gpus]
    if not given.startswith(facts.prefix):
        raise UsageError(
            f"--machine-type {given}: {gpu} is offered with {facts.prefix}* only, as {default}"
        )
    if facts.counts:
        has = facts.counts.get(given)
        fitting = ", ".join(name for name, count in facts.counts.items() if count == gpus)
        if has is None:
            raise UsageError(
                f"--machine-type {given} is none with {gpu}: --gpu {gpu}:{gpus} has {fitting}"
            )
        if has != gpus:
            raise UsageError(f"--machine-type {given} has {has} {gpu}: --gpu {gpu}:{has}, or {fitting}")
        return given
    machine, most = machine_of(given), facts.most_cores[gpus]
    if machine and machine.cores > most:
        raise UsageError(f"--machine-type {given}: with {gpus} {gpu} a machine has at most {most} vCPUs")
    return given


def check_mps(gpu: str | None, gpus: int, machine_type: str | None, beam_options: Sequence[str]) -> None:
    """Hold that processes can share a GPU, as Google says (dataflow/docs/gpu/use-nvidia-mps).

    Raises:
        UsageError: what is in the way.
    """
    if gpu is None:
        raise UsageError("--mps needs --gpu")
    if gpus > 1:
        raise UsageError(f"--mps needs machines with one GPU, got --gpu {gpu}:{gpus}")
    if any("no_use_multiple_sdk_containers" in option for option in beam_options):
        raise UsageError("--mps needs a process for each core: without no_use_multiple_sdk_containers")
    name = machine_type or GPUS[gpu].defaults[gpus]
    machine, most = machine_of(name), GPUS[gpu].models
    if machine is None:
        raise UsageError(f"--mps needs a machine type whose cores are known, got {name}")
    if machine.cores > most:
        raise UsageError(
            f"--mps: {name} has {machine.cores} cores, each with a process, and the memory of one {gpu} "
            f"is enough for {most} models: take fewer cores"
        )


def check_no_mps(beam_options: Sequence[str]) -> None:
    """Hold that a machine has one process: the service would be told both, and not which one wins.

    Raises:
        UsageError: options of Beam ask for more.
    """
    if any(re.search(r"(?<!no_)use_multiple_sdk_containers", option) for option in beam_options):
        raise UsageError(
            "use_multiple_sdk_containers of --experiments is what l3flow sets: use --mps, with --gpu"
        )
