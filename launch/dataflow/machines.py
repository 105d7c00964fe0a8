"""The GPUs that workers on Dataflow can have, and the machines that take them."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A GPU.

    Attributes:
        accelerator: as Dataflow calls it.
        prefix: of the machine types that take it.
        counts: machine type -> GPUs that it comes with; empty: they are attached to any of `prefix`.
        attached: GPUs that can be attached to one machine.
        default: machine type.
        driver: what Dataflow installs: `install-nvidia-driver` and what follows a colon.
        cuda: the earliest that knows it.
        memory_gb: of one.
        models: that one holds without MPS: a process, which TensorFlow gives nearly all memory.
    """

    accelerator: str
    prefix: str
    default: str
    cuda: str
    memory_gb: int
    counts: dict[str, int]
    attached: tuple[int, ...] = ()
    driver: str = "install-nvidia-driver"
    models: int = 1


# cloud.google.com/compute/docs/gpus and cloud.google.com/dataflow/docs/gpu/gpu-support, November 2026;
# CUDA: docs.nvidia.com/cuda/cuda-toolkit-release-notes, the first with the compute capability of each
# (7.5, 8.9, 8.0, 9.0).
GPUS = {
    "t4": Gpu(
        accelerator="nvidia-tesla-t4",
        prefix="n1-",
        counts={},
        attached=(1, 2, 4),
        default="n1-standard-8",
        cuda="10.0",
        memory_gb=16,
    ),
    "l4": Gpu(
        accelerator="nvidia-l4",
        prefix="g2-",
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
        default="g2-standard-8",
        cuda="11.8",
        memory_gb=24,
    ),
    "a100": Gpu(
        accelerator="nvidia-tesla-a100",
        prefix="a2-highgpu-",
        counts={"a2-highgpu-1g": 1, "a2-highgpu-2g": 2, "a2-highgpu-4g": 4, "a2-highgpu-8g": 8},
        default="a2-highgpu-1g",
        cuda="11.0",
        memory_gb=40,
    ),
    "h100": Gpu(
        accelerator="nvidia-h100-80gb",
        prefix="a3-highgpu-",
        counts={"a3-highgpu-1g": 1, "a3-highgpu-2g": 2, "a3-highgpu-4g": 4, "a3-highgpu-8g": 8},
        default="a3-highgpu-1g",
        cuda="11.8",
        memory_gb=80,
    ),
}
CPU_MACHINE = "n1-standard-4"
