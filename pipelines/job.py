"""What every worker of a job has to know."""

from dataclasses import dataclass, field
from typing import Any

from l3core.ahead import IO_CONCURRENCY
from l3core.downloads import max_download
from l3core.durations import max_duration
from l3core.storage_options import configured
from l3core.table.failures import MOST_STORAGE_ERRORS


@dataclass(frozen=True, kw_only=True)
class EmbedJob:
    """A planned run, small enough to travel with each element's code.

    Attributes:
        table: URI of the table.
        run_id: names the run's staging folder.
        fingerprint: of the spec, checked by every worker.
        spec: fields of the `EmbeddingSpec`.
        weights: URI of the table's copy of the weights.
        decoders: recordings that a worker decodes at the same time; None: by its number of cores.
        io_concurrency: objects that it reads from a store at the same time.
        max_storage_errors: objects that the store may fail to give.
        compact: as of `l3core.table.planned.Plan`.
        spread_rewrites: whether files are rewritten by the workers; else by the last step, which saves a
            small run two stages, a fifth of a second.
        info: what the run record shall say besides.
        storage_options: of the process that plans; a secret is only named, and read where it is used.
        max_download: bytes of an object on the web that are read at most.
        max_duration: hours of a recording that is read at most.
        processes: that embed on a machine and share its cores, as far as is known.
        gpu_memory_mb: of a GPU that processes share, what each may use; None: all.
    """

    table: str
    run_id: str
    fingerprint: str
    spec: dict[str, Any]
    weights: str
    decoders: int | None = None
    io_concurrency: int = IO_CONCURRENCY
    max_storage_errors: int = MOST_STORAGE_ERRORS.number
    compact: bool = False
    spread_rewrites: bool = True
    info: dict[str, Any] = field(default_factory=dict)
    storage_options: dict[str, str] = field(default_factory=configured)
    max_download: int = field(default_factory=max_download)
    max_duration: float = field(default_factory=max_duration)
    processes: int = 1
    gpu_memory_mb: int | None = None


@dataclass(frozen=True, kw_only=True)
class CrossvalJob:
    """A planned cross-validation: where its plan is.

    Attributes:
        output: URI of the output, which holds the plan.
        digest: names the plan.
        storage_options: as of an `EmbedJob`.
    """

    output: str
    digest: str
    storage_options: dict[str, str] = field(default_factory=configured)
