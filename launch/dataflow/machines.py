"""The GPUs that workers on Dataflow can have, and the machines that take them."""

import re
from dataclasses import dataclass, field
from typing import NamedTuple

CPU_MACHINE = "n1-standard-4"
GPU_DISK_GB = 50  # Google's least for images with CUDA: cloud.google.com/dataflow/docs/gpu/use-gpus
# Of a GPU that processes share, for TensorFlow: the rest is what CUDA and its libraries take outside.
SHARED = 0.8
MODEL_MB = 1500  # of it, for a process: batches of 16 windows of the largest model, not measured


class Machine(NamedTuple):
    """What a machine type has.

    Attributes:
        cores: vCPUs.
        memory_gb: gigabytes, as Google counts them.
    """

    cores: int
    memory_gb: float


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A GPU.

    Attributes:
        accelerator: as Dataflow calls it.
        prefix: of the machine types that take it.
        defaults: GPUs of a machine -> machine type.
        counts: machine type -> GPUs that it comes with; empty: they are attached to any of `prefix`.
        most_cores: GPUs that are attached -> vCPUs that the machine has at most.
        driver: what Dataflow is told to install; our image's CUDA 12 needs 525.60 or later.
        cuda: the earliest that knows it.
        memory_gb: of one.
        tflops: float32, the peak that Google's page gives.
        seldom: machine types that are sold as Spot or Flex-start only.
    """

    accelerator: str
    prefix: str
    defaults: dict[int, str]
    cuda: str
    memory_gb: int
    tflops: float
    counts: dict[str, int] = field(default_factory=dict)
    most_cores: dict[int, int] = field(default_factory=dict)
    driver: str = "install-nvidia-driver"
    seldom: tuple[str, ...] = ()

    @property
    def offered(self) -> tuple[int, ...]:
        """How many of it a machine can have."""
        return tuple(sorted(self.defaults))

    @property
    def models(self) -> int:
        """That one holds with MPS, each in a process of its own; without, one process has it all."""
        return int(SHARED * self.memory_gb * 1024 / MODEL_MB)


# Machine types, counts, memory, FP32 and what is sold as Spot only: docs.cloud.google.com/compute/docs,
# gpus and accelerator-optimized-machines, as quoted in April and October 2026. Accelerators:
# cloud.google.com/dataflow/docs/gpu/gpu-support, and its release notes of 2025-08-27 for the H100. CUDA:
# docs.nvidia.com/cuda/cuda-toolkit-release-notes, the first with the compute capability of each (7.5,
# 8.9, 8.0, 9.0); for the L4 Dataflow's page asks for 12.0 (dataflow/docs/gpu/use-l4-gpus).
# a2-ultragpu-* has another accelerator, nvidia-a100-80gb, and a3-megagpu-8g nvidia-h100-mega-80gb.
GPUS = {
    "t4": Gpu(
        accelerator="nvidia-tesla-t4",
        prefix="n1-",
        defaults={1: "n1-standard-8", 2: "n1-standard-16", 4: "n1-standard-32"},
        most_cores={1: 48, 2: 48, 4: 96},
        cuda="10.0",
        memory_gb=16,
        tflops=8.1,
    ),
    "l4": Gpu(
        accelerator="nvidia-l4",
        prefix="g2-",
        defaults={1: "g2-standard-8", 2: "g2-standard-24", 4: "g2-standard-48", 8: "g2-standard-96"},
        counts={
            "g2-standard-4": 1,
            "g2-standard-8": 1,
            "g2-standard-12": 1,
            "g2-standard-16": 1,
            "g2-standard-24": 2,
            "g2-standard-32": 1,
            "g2-standard-48": 4,
            "g2-standard-96": 8,
        },
        cuda="12.0",
        memory_gb=24,
        tflops=30.3,
    ),
    "a100": Gpu(
        accelerator="nvidia-tesla-a100",
        prefix="a2-highgpu-",
        defaults={count: f"a2-highgpu-{count}g" for count in (1, 2, 4, 8)},
        counts={f"a2-highgpu-{count}g": count for count in (1, 2, 4, 8)},
        cuda="11.0",
        memory_gb=40,
        tflops=19.5,
    ),
    "h100": Gpu(
        accelerator="nvidia-h100-80gb",
        prefix="a3-highgpu-",
        defaults={count: f"a3-highgpu-{count}g" for count in (1, 2, 4, 8)},
        counts={f"a3-highgpu-{count}g": count for count in (1, 2, 4, 8)},
        cuda="11.8",
        memory_gb=80,
        tflops=67.0,
        seldom=("a3-highgpu-1g", "a3-highgpu-2g", "a3-highgpu-4g"),
    ),
}

# GB for each vCPU: cloud.google.com/compute/docs/general-purpose-machines, November 2026.
_GB_A_CORE = {
    "n1-standard": 3.75,
    "n1-highmem": 6.5,
    "n1-highcpu": 0.9,
    "n2-standard": 4.0,
    "n2-highmem": 8.0,
    "n2-highcpu": 1.0,
    "n2d-standard": 4.0,
    "e2-standard": 4.0,
    "e2-highmem": 8.0,
    "e2-highcpu": 1.0,
    "g2-standard": 4.0,
}
_OF_A_GPU = {"a2-highgpu": Machine(12, 85.0), "a3-highgpu": Machine(26, 234.0)}


def machine_of(name: str) -> Machine | None:
    """What a machine type has; None if the table does not know it."""
    if found := re.fullmatch(r"([a-z0-9]+-[a-z]+)-(\d+)(g?)", name):
        family, number = found[1], int(found[2])
        if found[3] and family in _OF_A_GPU:
            each = _OF_A_GPU[family]
            return Machine(number * each.cores, number * each.memory_gb)
        if not found[3] and family in _GB_A_CORE:
            return Machine(number, number * _GB_A_CORE[family])
    return None
