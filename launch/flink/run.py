"""A pipeline on Flink: checked before it is submitted, followed until it ends, really stopped."""

import json
import os
import shutil
import sysconfig
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from l3core.errors import RunError, UsageError
from l3core.table.lock import JobState
from launch.flink.causes import cause_of
from launch.flink.jars import JobServerJar
from launch.flink.job_server import LOCAL, job_server
from launch.flink.rest import CANCELED, ENDED, FAILED, FINISHED, POLL_S, FlinkCluster
from launch.runners import NoAnswerError, joint_state, why_ended

if TYPE_CHECKING:
    import apache_beam as beam

HARNESS = "l3flow-harness"
SUBMITTED_WITHIN_S = 300.0
ARRIVES_WITHIN_S = 5.0  # at its cluster, when its job server has ended
SLOTS_FREE_WITHIN_S = 10.0  # of a job that has just ended


@dataclass(frozen=True, kw_only=True)
class FlinkRunner:
    """Where a pipeline will run.

    Attributes:
        cluster: a session cluster; None: a mini cluster inside the job server.
        environment: where Python runs: `loopback`, `process` or `external`.
        pool: address of the worker pool, as TaskManagers see it; for `external`.
        jar: of the job server.
        slots: pieces of work that are done side by side; None: as many as are free, see `with_slots`.
        detach: come back when the job is submitted.
        processes: on a machine: nothing is known of them.
        gpu_memory_mb: nothing is said of it.
    """

    cluster: FlinkCluster | None
    environment: str
    pool: str
    jar: JobServerJar
    slots: int | None
    detach: bool = False
    processes: int = 1
    gpu_memory_mb: None = None

    @property
    def machines(self) -> int | None:
        """The same as `slots`."""
        return self.slots

    def job(self, run_id: str) -> dict[str, str]:
        """What a lock and a run record say of the job that does a run's work."""
        master = self.cluster.url if self.cluster else LOCAL
        return {"runner": "flink", "master": master, "name": f"l3flow-{run_id}"}

    def may_go_on(self, run_id: str) -> bool:
        """Whether the job of a run that has failed or was stopped may still run on its cluster."""
        return self.cluster is not None and how_job_is(self.job(run_id)) in ("running", "unknown")

    def with_slots(self) -> "FlinkRunner":
        """The same with slots that are free now.

        Raises:
            RunError: there are not so many.
        """
        slots = _free_slots(self.cluster, self.slots) if self.cluster else self.slots or 1
        return replace(self, slots=slots)

    def run(
        self,
        build: Callable[["beam.Pipeline"], None],
        *,
        name: str,
        beam_options: Sequence[str] = (),
        submitted: Callable[[str], None] = lambda job_id: None,
        longest_s: float = 0.0,
    ) -> None:
        """Run a pipeline; arguments and errors as of `launch.runners.Runner`. Nothing is timed."""
        master = self.cluster.url if self.cluster else LOCAL
        if self.cluster is None:
            with job_server(self.jar, master) as endpoint:
                _wait_here(self._submit(build, endpoint, master, name, beam_options))
            return
        try:
            with job_server(self.jar, master) as endpoint:
                result = self._submit(build, endpoint, master, name, beam_options)
                job_id = _job_named(self.cluster, name, result)
            submitted(job_id)
        except BaseException:
            _cancel_named(self.cluster, name)  # it may have got there all the same
            raise
        if not self.detach:
            follow(self.cluster, job_id)

    def _submit(
        self,
        build: Callable[["beam.Pipeline"], None],
        endpoint: str,
        master: str,
        name: str,
        beam_options: Sequence[str],
    ) -> Any:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions

        options = PipelineOptions(
            [*self._options(master, name), *beam_options],
            runner="PortableRunner",
            job_endpoint=endpoint,
        )
        pipeline = beam.Pipeline(options=options)
        build(pipeline)
        return pipeline.run()

    def _options(self, master: str, name: str) -> list[str]:
        options = [
            f"--job_name={name}",
            f"--flink_master={master}",
            f"--parallelism={self.slots}",
            f"--environment_type={self.environment.upper()}",
        ]
        if self.environment == "process":
            # TaskManagers find it in their PATH
            command = HARNESS if self.cluster else script_here(HARNESS)
            options.append("--environment_config=" + json.dumps({"command": command}))
        if self.environment == "external":
            options.append(f"--environment_config={self.pool}")
        if self.cluster is None and self.environment != "loopback":
            options.append(f"--sdk_worker_parallelism={self.slots}")
        return options


def follow(cluster: FlinkCluster, job_id: str) -> None:
    """Wait for a job to end; Ctrl-C stops it.

    Raises:
        RunError: it failed, or was cancelled by somebody else.
    """
    try:
        while (state := cluster.state(job_id)) not in ENDED:
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        cluster.cancel(job_id)
        raise
    if state == CANCELED:
        raise RunError(f"Flink job {job_id} was cancelled")
    if state != FINISHED:
        raise RunError(cause_of(cluster.failure(job_id)))


def how_job_is(job: Mapping[str, str]) -> JobState:
    """How the job of a run is that has a lock (`l3core.table.lock`)."""
    if job["master"] == LOCAL:  # it lives in the process that submitted it
        return "absent"
    try:
        jobs = [each for each in FlinkCluster(job["master"]).jobs() if each.name == job["name"]]
    except NoAnswerError:
        return "unknown"
    return joint_state([each.state for each in jobs], ENDED)


def cause_of_end(job: Mapping[str, str]) -> str:
    """Why a job has ended without a commit, in a line."""
    cluster = FlinkCluster(job["master"])
    return why_ended(
        {each.id: each.state for each in cluster.jobs() if each.name == job["name"]},
        failed=FAILED,
        cancelled=CANCELED,
        cause=lambda job_id: cause_of(cluster.failure(job_id)),
    )


def name_of(master: str, job_id: str) -> str | None:
    """The name of a job; None if the cluster knows none with this id, as the one inside a process.

    Raises:
        NoAnswerError: it does not answer.
    """
    if master == LOCAL:
        return None
    return next((each.name for each in FlinkCluster(master).jobs() if each.id == job_id), None)


def script_here(name: str) -> str:
    """Path of a program of this installation.

    Raises:
        UsageError: it is not there.
    """
    path = Path(sysconfig.get_path("scripts")) / name
    found = str(path) if path.is_file() else shutil.which(name)
    if found is None:
        raise UsageError(f"there is no {path}: install l3flow again (pip install -e .)")
    return os.path.abspath(found)


def _free_slots(cluster: FlinkCluster, workers: int | None) -> int:
    until = time.monotonic() + SLOTS_FREE_WITHIN_S
    while (slots := cluster.slots()).free < (workers or 1) <= slots.total:
        if time.monotonic() > until:
            break
        time.sleep(POLL_S)
    if slots.free < (workers or 1):
        wanted = f"{workers} are wanted" if workers else "one at least is needed"
        raise RunError(
            f"the cluster at {cluster.url} has {slots.free} free slots of {slots.total} "
            f"({slots.task_managers} TaskManagers), {wanted}: wait for its jobs, or add TaskManagers"
        )
    return workers or slots.free


def _wait_here(result: Any) -> None:
    """Wait for a job inside the job server, which ends with the caller's block."""
    from apache_beam.runners.runner import PipelineState

    while not PipelineState.is_terminal(result.state):
        time.sleep(POLL_S)
    try:
        result.wait_until_finish()
    except RuntimeError as error:  # with all that Java said
        raise RunError(cause_of(str(error))) from None


def _job_named(cluster: FlinkCluster, name: str, result: Any) -> str:
    """The id of a job that is being submitted.

    Raises:
        RunError: it does not arrive.
    """
    from apache_beam.runners.runner import PipelineState

    until = time.monotonic() + SUBMITTED_WITHIN_S
    while time.monotonic() < until:
        with suppress(NoAnswerError):  # it is busy: all the jars are on their way
            for job in cluster.jobs():
                if job.name == name:
                    return job.id
        if PipelineState.is_terminal(result.state):
            _wait_here(result)
        time.sleep(POLL_S)
    raise RunError(f"the job did not arrive at {cluster.url} within {SUBMITTED_WITHIN_S:.0f} s")


def _cancel_named(cluster: FlinkCluster, name: str) -> None:
    """Stop a job that may be on its way: a cluster knows it a moment after it has got all of it."""
    until = time.monotonic() + ARRIVES_WITHIN_S
    while not (found := [job for job in cluster.jobs() if job.name == name]):
        if time.monotonic() > until:
            return
        time.sleep(POLL_S)
    for job in found:
        if job.state not in ENDED:
            cluster.cancel(job.id)
