"""The model on a GPU in each precision: windows a second, share of the GPU's peak, utilisation."""

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from shutil import which
from typing import NamedTuple

import numpy as np

from l3core.embedding import Embedder
from l3core.engines import ENGINES, gpus_of
from l3core.errors import UsageError
from l3core.spec import EmbeddingSpec
from l3core.speed import windows_per_second
from launch.benchmarks.figures import Figure
from launch.benchmarks.trunk import flop_a_window, network_of
from launch.dataflow.machines import GPUS

# TFLOP/s of float16 products with float32 sums, not sparse (half of what is given with sparsity):
# NVIDIA's data sheets, T4 of 2019, L4 of 2023, A100 40GB of 2021, H100 SXM of 2023.
HALF_TFLOPS = {"t4": 65.0, "l4": 121.0, "a100": 312.0, "h100": 989.4}
WITHOUT_BFLOAT16 = ("t4",)  # Turing's tensor cores do not know it
# Forms of a GPU with other clocks than those of the table.
OTHER_FORMS = ("PCIe", "NVL")
EVERY_MS = 200


class Peak(NamedTuple):
    """What a GPU can do at most.

    Attributes:
        tflops: TFLOP/s.
        what: they are of.
    """

    tflops: float
    what: str


def gpu_model(spec: EmbeddingSpec, seconds: float) -> Iterator[Figure]:
    """The first GPU with the spec in each precision of its engine.

    Raises:
        UsageError: there is no GPU.
    """
    found = gpus_of(spec.engine)
    if not found:
        raise UsageError(
            f"there is no GPU here that {spec.engine} can compute on: l3flow doctor says why"
        )
    for precision in ENGINES[spec.engine].precisions:
        mixed = replace(spec, precision=precision)
        yield from device_figures(mixed, seconds, name=found[0], watching=watching_utilisation)


def device_figures(
    spec: EmbeddingSpec,
    seconds: float,
    *,
    name: str,
    watching: Callable[[], AbstractContextManager[list[float]]],
) -> Iterator[Figure]:
    """What a device does with a spec.

    Args:
        spec: what to compute.
        seconds: to time it.
        name: of the device.
        watching: gives percents of utilisation while it is entered.
    """
    embedder = Embedder(spec)
    engine, precision = embedder.engine, spec.precision
    windows_per_second(embedder, seconds=0)  # what is compiled is no work
    with watching() as percents:
        speed = windows_per_second(embedder, seconds=seconds)
    how = "XLA" if getattr(engine, "xla", False) else "no XLA"
    note = f"{name}, {spec.model}, batches of {engine.batch_size}, {how}"
    yield Figure(f"GPU, {precision}", speed, "windows/s", note)
    yield Figure(
        f"GPU, {precision}", speed * (spec.hop_s or 0.0), "hours/hour", f"at hop {spec.hop_s} s"
    )
    tflops = speed * flop_a_window(network_of(spec)) / 1e12
    yield Figure(f"GPU, {precision}", tflops, "TFLOP/s", "convolutions only")
    if peak := peak_of(name, precision):
        share = f"of {peak.tflops:g} TFLOP/s, {peak.what}"
        yield Figure(f"GPU / peak, {precision}", 100 * tflops / peak.tflops, "%", share)
    if percents:
        samples = f"of the time a kernel ran, {len(percents)} samples of nvidia-smi"
        yield Figure(f"GPU utilisation, {precision}", float(np.mean(percents)), "%", samples)
    if used := engine.gpu_memory_bytes():
        yield Figure(f"GPU memory, {precision}", used / 1e6, "MB", "most so far")


def peak_of(name: str, precision: str) -> Peak | None:
    """The peak of a GPU by the name that its driver gives it; None: it is not known here."""
    if any(form in name for form in OTHER_FORMS):
        return None
    for key, gpu in GPUS.items():
        if re.search(rf"\b{key}\b", name, re.IGNORECASE):
            if precision == "float32":
                return Peak(gpu.tflops, "float32")
            if precision == "mixed_bfloat16" and key in WITHOUT_BFLOAT16:
                return None
            return Peak(HALF_TFLOPS[key], "tensor cores, not sparse")
    return None


@contextmanager
def watching_utilisation() -> Iterator[list[float]]:
    """Percents of the time in which the first GPU was at work, as nvidia-smi tells; there when left."""
    percents: list[float] = []
    program = which("nvidia-smi")
    if program is None:
        yield percents
        return
    command = [program, "--id=0", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    with subprocess.Popen([*command, f"--loop-ms={EVERY_MS}"], stdout=subprocess.PIPE, text=True) as smi:
        assert smi.stdout is not None
        smi.stdout.readline()  # it has started, and this one was of an idle GPU
        try:
            yield percents
        finally:
            smi.terminate()
            lines = map(str.strip, smi.stdout)
            percents += [float(line) for line in lines if re.fullmatch(r"\d+(\.\d+)?", line)]
