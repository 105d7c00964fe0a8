"""The machines of a job on Dataflow, as options of Beam."""

import math
from dataclasses import dataclass

from launch.dataflow.machines import CPU_MACHINE, GPU_DISK_GB, GPUS, SHARED, machine_of

THREADS = 2  # for each model: one shard is decoded while another one's is written
# A worker that is longer at a shard hangs. Shards are ten minutes of work on two ordinary cores, but an
# MP3 is in one, whatever its length; that is guessed from its size, and bit rates differ.
ELEMENT_WITHIN_MIN = 120
ELEMENT_WITHIN = 12  # times what it would take there
DEFAULT_WORKERS = 4


@dataclass(frozen=True, kw_only=True)
class Workers:
    """The machines of a job.

    Attributes:
        image: container image, with l3flow in it.
        most: machines at most.
        gpu: name in `GPUS`; None: none.
        gpus: of each machine that has any.
        machine_type: None: the GPU's default.
        disk_gb: None: 50 with a GPU, for its image; else the service's default.
        mps: whether there is a process for each core, and they share the GPU by NVIDIA's MPS.
        network: name.
        subnetwork: URL or regions/R/subnetworks/S.
        public_ips: whether they have addresses outside.
        service_account: as which they run; None: the project's default.
    """

    image: str
    most: int = DEFAULT_WORKERS
    gpu: str | None = None
    gpus: int = 1
    machine_type: str | None = None
    disk_gb: int | None = None
    mps: bool = False
    network: str | None = None
    subnetwork: str | None = None
    public_ips: bool = True
    service_account: str | None = None

    @property
    def machine(self) -> str:
        """The machine type, given or not."""
        return self.machine_type or (GPUS[self.gpu].defaults[self.gpus] if self.gpu else CPU_MACHINE)

    @property
    def threads(self) -> int:
        """Of a process."""
        return THREADS * (self.gpus if self.gpu else 1)

    @property
    def processes(self) -> int:
        """Of a machine: with MPS one for each core, as Beam makes them."""
        machine = machine_of(self.machine) if self.mps else None
        return machine.cores if machine else 1

    @property
    def gpu_memory_mb(self) -> int | None:
        """Of a GPU that processes share, what each may use; None: all."""
        if not (self.gpu and self.mps):
            return None
        return int(SHARED * GPUS[self.gpu].memory_gb * 1024 / self.processes)

    def options(self, *, longest_s: float = 0.0) -> list[str]:
        """As options of Beam.

        Args:
            longest_s: what the longest piece of work would take on two ordinary cores.
        """
        within_min = max(ELEMENT_WITHIN_MIN, math.ceil(ELEMENT_WITHIN * longest_s / 60))
        # Beam's default is a process, with a model, for each core
        processes = "use_multiple_sdk_containers" if self.mps else "no_use_multiple_sdk_containers"
        found = [
            f"--sdk_container_image={self.image}",
            "--sdk_location=container",  # nothing is installed when a worker starts
            "--no_save_main_session",  # Beam's default is to pickle ours
            f"--experiments={processes}",
            # nothing but the pipeline is staged: Beam would add what pip says is installed here
            "--experiments=disable_logging_submission_environment",
            f"--number_of_worker_harness_threads={self.threads}",
            f"--element_processing_timeout_minutes={within_min}",
            f"--max_num_workers={self.most}",
            f"--machine_type={self.machine}",
        ]
        if self.gpu:
            gpu = GPUS[self.gpu]
            words = [f"type:{gpu.accelerator}", f"count:{self.gpus}", gpu.driver]
            words += ["use_nvidia_mps"] if self.mps else []
            found.append("--dataflow_service_options=worker_accelerator=" + ";".join(words))
        given = {
            "disk_size_gb": self.disk_gb or (GPU_DISK_GB if self.gpu else None),
            "network": self.network,
            "subnetwork": self.subnetwork,
            "service_account_email": self.service_account,
        }
        found += [f"--{name}={value}" for name, value in given.items() if value]
        return found if self.public_ips else [*found, "--no_use_public_ips"]
