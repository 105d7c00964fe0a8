"""What runs a pipeline elsewhere than in this process: one interface, and a table of those there are.

A runner is opened from a command's options. What it submits is a job, which a lock and a run record name
as `Job`: from that alone any later command can ask the cluster or service that has it.
"""

import argparse
from collections.abc import Callable, Container, Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from l3core.errors import RunError
from l3core.table.lock import Job, JobState

if TYPE_CHECKING:
    import apache_beam as beam


class NoAnswerError(RunError):
    """What has a job does not answer, or something else does in its place."""


class Runner(Protocol):
    """Where a pipeline will run; a frozen dataclass."""

    @property
    def slots(self) -> int | None:
        """Pieces of work that are done side by side; None: not known before `with_slots`."""

    @property
    def processes(self) -> int:
        """That embed on a machine and share its cores, as far as is known."""

    @property
    def machines(self) -> int | None:
        """What is paid for, at most: machines, or slots of a cluster; None as `slots`."""

    @property
    def gpu_memory_mb(self) -> int | None:
        """Of a GPU that processes share, what each may use; None: all."""

    @property
    def detach(self) -> bool:
        """Whether `run` comes back when the job is submitted."""

    def job(self, run_id: str) -> Job:
        """What a lock and a run record say of the job that does a run's work."""

    def may_go_on(self, run_id: str) -> bool:
        """Whether the job of a run that has failed or was stopped may still run."""

    def with_slots(self) -> "Runner":
        """The same with slots that are free now.

        Raises:
            RunError: there are not so many.
        """

    def run(
        self,
        build: Callable[["beam.Pipeline"], None],
        *,
        name: str,
        beam_options: Sequence[str] = (),
        submitted: Callable[[str], None] = lambda job_id: None,
        longest_s: float = 0.0,
    ) -> None:
        """Run a pipeline; returns when it has finished, or is submitted if it is detached.

        Args:
            build: adds all steps.
            name: of the job, unique.
            beam_options: further options of Beam.
            submitted: told the job's id, as soon as there is one.
            longest_s: what the longest piece of work would take on two ordinary cores.

        Raises:
            RunError: the job failed, with what Python said.
        """


class Jobs(Protocol):
    """How the jobs of a runner are asked for: functions of a module."""

    def how_job_is(self, job: Job) -> JobState:
        """How the job of a run is that has a lock (`l3core.table.lock`)."""

    def cause_of_end(self, job: Job) -> str:
        """Why a job has ended without a commit, in a line."""

    def name_of(self, master: str, job_id: str) -> str | None:
        """The name of a job; None if a cluster or service knows none with this id.

        Args:
            master: as jobs have it.
            job_id: as somebody gave it.

        Raises:
            NoAnswerError: it does not answer.
        """


class Cost(NamedTuple):
    """What a run would cost, or why that is not known.

    Attributes:
        facts: for machines.
        words: a line.
    """

    facts: dict[str, Any]
    words: str


class Where(NamedTuple):
    """What a dry run says of the place where a run would be.

    Attributes:
        facts: for machines.
        words: a line.
        cost: of so many windows, in so many shards, where the model computes so many windows a second on
            this machine; None: nobody asks for money.
    """

    facts: dict[str, Any]
    words: str
    cost: Callable[[int, int, float], Cost] | None = None


class _Modules(NamedTuple):
    opening: str  # has `runner_of`, and may have `where_of` and `checked`
    jobs: str  # has what `Jobs` says


RUNNERS = {
    "flink": _Modules("launch.flink.opening", "launch.flink.run"),
    "dataflow": _Modules("launch.dataflow.options", "launch.dataflow.run"),
}


def check_options(
    args: argparse.Namespace, beam_options: Sequence[str], places: Mapping[str, str]
) -> None:
    """Refuse options that cannot be meant, before any place is asked; arguments as of `runner_of`.

    Raises:
        UsageError: what is missing, or does not fit.
    """
    if args.runner in RUNNERS:
        check = getattr(import_module(RUNNERS[args.runner].opening), "checked", None)
        if check:
            check(args, beam_options, places)


def runner_of(
    args: argparse.Namespace, beam_options: Sequence[str], places: Mapping[str, str]
) -> Runner | None:
    """What the options of a command mean; None: this process runs the pipeline.

    Args:
        args: of the command.
        beam_options: further options of Beam.
        places: flag -> path or URI that workers read and write.

    Raises:
        UsageError: what is missing, or does not fit.
    """
    if args.runner not in RUNNERS:
        return None
    opening: ModuleType = import_module(RUNNERS[args.runner].opening)
    return cast(Runner, opening.runner_of(args, beam_options, places))


def where_of(
    args: argparse.Namespace, beam_options: Sequence[str], places: Mapping[str, str]
) -> Where | None:
    """Where a run would be, its options checked; arguments as of `runner_of`. None: nothing is known.

    Raises:
        UsageError: what is missing, or does not fit.
    """
    if args.runner not in RUNNERS:
        return None
    look = getattr(import_module(RUNNERS[args.runner].opening), "where_of", None)
    return cast(Where, look(args, beam_options, places)) if look else None


def joint_state(states: Sequence[str], ended: Container[str]) -> JobState:
    """How a run's jobs are, told from the state of each that has its name."""
    if not states:
        return "absent"
    return "ended" if all(state in ended for state in states) else "running"


def why_ended(
    states: Mapping[str, str], *, failed: str, cancelled: str, cause: Callable[[str], str]
) -> str:
    """Why a run's jobs have ended without a commit, in a line.

    Args:
        states: id -> state of each that has its name.
        failed: the state of one that failed.
        cancelled: of one that was stopped.
        cause: why the job of an id failed.
    """
    for job_id, state in states.items():
        if state == failed:
            return cause(job_id)
    if cancelled in states.values():
        return "its job was cancelled"
    return "its job finished without a commit"


def jobs_like(job: Job) -> Jobs | None:
    """How a job is asked for; None if this version knows no such runner."""
    modules = RUNNERS.get(job.get("runner", "flink"))  # the first versions had but one
    return cast(Jobs, import_module(modules.jobs)) if modules else None


def how_job_is(job: Job) -> JobState:
    """How the job of a run is that has a lock; `unknown` if its runner is."""
    jobs = jobs_like(job)
    return jobs.how_job_is(job) if jobs else "unknown"
