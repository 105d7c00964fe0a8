"""A pipeline on Dataflow: submitted without waiting, followed until it ends, really stopped."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from l3core import storage
from l3core.errors import RunError
from l3core.table.lock import JobState
from launch.dataflow import rest
from launch.dataflow.causes import cause_of, refusal
from launch.dataflow.rest import CANCELLED, DONE, ENDED, FAILED, DataflowService
from launch.dataflow.workers import Workers
from launch.runners import NoAnswerError, joint_state, why_ended
from launch.words import last_line

if TYPE_CHECKING:
    import apache_beam as beam

_JOB_ID = re.compile(r"\d{4}(-\d\d){2}(_\d\d){3}-\d+")


@dataclass(frozen=True, kw_only=True)
class Launch:
    """A launch of the Flex Template, of which this process is the part that makes the job.

    Google has made a job before, which has a name and an id; what is written to `template` becomes its
    work when this process has ended well.

    Attributes:
        job_name: of the job.
        template: gs:// object that the job is written to, in a folder called as the job's id.
        staging: gs:// folder for what is staged; None: that of temporary files.
    """

    job_name: str
    template: str
    staging: str | None = None

    @property
    def job_id(self) -> str | None:
        """The job's id; None if the folder is no id."""
        folder = self.template.rpartition("/")[0].rpartition("/")[2]
        return folder if _JOB_ID.fullmatch(folder) else None


@dataclass(frozen=True, kw_only=True)
class DataflowRunner:
    """Where a pipeline will run.

    Attributes:
        service: of a project and region.
        temp: gs:// folder for what is staged.
        workers: their machines.
        labels: of the job.
        detach: come back when the job is submitted.
        launch: of a template that this is; None: the job is submitted from here.
    """

    service: DataflowService
    temp: str
    workers: Workers
    labels: tuple[tuple[str, str], ...] = ()
    detach: bool = False
    launch: Launch | None = None

    @property
    def slots(self) -> int:
        """Shards that are embedded side by side."""
        workers = self.workers
        return workers.most * workers.processes * workers.threads

    @property
    def processes(self) -> int:
        """See `Workers`."""
        return self.workers.processes

    @property
    def machines(self) -> int:
        """At most."""
        return self.workers.most

    @property
    def gpu_memory_mb(self) -> int | None:
        """See `Workers`."""
        return self.workers.gpu_memory_mb

    def job(self, run_id: str) -> dict[str, str]:
        """What a lock and a run record say of the job that does a run's work."""
        job = {"runner": "dataflow", "master": self.service.master}
        if self.launch is None:
            return job | {"name": f"l3flow-{run_id.lower()}"}  # the service takes no capitals
        # every launch of a schedule has the same name
        job_id = self.launch.job_id
        return job | {"name": self.launch.job_name} | ({"id": job_id} if job_id else {})

    def may_go_on(self, run_id: str) -> bool:
        """Whether the job of a run that has failed or was stopped may still run."""
        if self.launch is not None:  # it ends with this process
            return False
        return how_job_is(self.job(run_id)) in ("running", "unknown")

    def with_slots(self) -> "DataflowRunner":
        """The same: the service makes machines as they are needed."""
        return self

    def idle(self) -> None:
        """Run a job that does nothing, on one small machine: a launch that makes none has failed.

        Raises:
            RunError: it could not be made.
        """
        workers = replace(self.workers, most=1, gpu=None, mps=False, machine_type=None)
        name = self.launch.job_name if self.launch else "l3flow-idle"
        try:
            replace(self, workers=workers).run(_nothing, name=name)
        except Exception as error:  # of Beam's and Google's libraries, as of a run with work
            raise RunError(f"nothing to do, and no job that says so: {last_line(error)}") from error

    def run(
        self,
        build: Callable[["beam.Pipeline"], None],
        *,
        name: str,
        beam_options: Sequence[str] = (),
        submitted: Callable[[str], None] = lambda job_id: None,
        longest_s: float = 0.0,
    ) -> None:
        """Run a pipeline; arguments and errors as of `launch.runners.Runner`."""
        try:
            job_id = self._submit(build, [*self.options(name, longest_s=longest_s), *beam_options], name)
            submitted(job_id)
        except KeyboardInterrupt:
            with suppress(NoAnswerError):  # it may have got there all the same
                for job in self.service.jobs(name):
                    if job.state not in ENDED:
                        self.service.cancel(job.id)
            raise
        if not self.detach:
            follow(self.service, job_id)

    @property
    def _staging(self) -> tuple[str, str]:
        """What the folder is called that is staged in, and its URI."""
        if self.launch and self.launch.staging:
            return "the launch's staging location", self.launch.staging
        return "--temp-location", self.temp

    def options(self, name: str, *, longest_s: float = 0.0) -> list[str]:
        """Options of Beam for a job; arguments as of `run`."""
        service = self.service
        found = [
            f"--job_name={name}",
            f"--project={service.project}",
            f"--region={service.region}",
            f"--temp_location={self.temp}",
            f"--staging_location={self._staging[1]}",
            f"--dataflow_endpoint={service.endpoint}",
            *self.workers.options(longest_s=longest_s),
            *(f"--label={key}={value}" for key, value in self.labels),
        ]
        found += [f"--template_location={self.launch.template}"] if self.launch else []
        return [*found, "--no_auth"] if service.is_local else found

    def _submit(self, build: Callable[["beam.Pipeline"], None], given: Sequence[str], name: str) -> str:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
        from google.api_core.exceptions import GoogleAPICallError

        self._hold_writable(name)
        options = PipelineOptions(list(given), runner="DataflowRunner")
        pipeline = beam.Pipeline(options=options)
        build(pipeline)
        try:
            result = pipeline.run()
            job_id: str = self.launch.job_id or name if self.launch else result.job_id()
        except GoogleAPICallError as error:
            raise RunError(refusal(error.code, str(error.message))) from None
        except OSError as error:  # of staging
            raise RunError(f"{' '.join(self._staging)}: {' '.join(str(error).split())}") from None
        return job_id

    def _hold_writable(self, name: str) -> None:
        """Hold that something can be staged: Beam would go on trying for ten minutes.

        Raises:
            RunError: it cannot.
        """
        place, folder = self._staging
        probe = storage.join(folder, f"{name}.probe")
        try:
            storage.write_bytes(probe, b"")
            storage.remove(probe)
        except OSError as error:
            raise RunError(f"{place} {folder}: cannot write there: {error}") from None


def _nothing(pipeline: "beam.Pipeline") -> None:
    import apache_beam as beam

    _ = pipeline | "NothingToDo" >> beam.Create(["nothing to do"])


def follow(service: DataflowService, job_id: str) -> None:
    """Wait for a job to end; Ctrl-C stops it.

    Raises:
        RunError: it failed, or was cancelled by somebody else.
    """
    try:
        while (state := service.state(job_id)) not in ENDED:
            time.sleep(rest.POLL_S)
    except KeyboardInterrupt:
        service.cancel(job_id)
        raise
    if state == CANCELLED:
        raise RunError(f"Dataflow job {job_id} was cancelled")
    if state != DONE:
        raise RunError(cause_of(service.errors(job_id)))


def how_job_is(job: Mapping[str, str]) -> JobState:
    """How the job of a run is that has a lock (`l3core.table.lock`)."""
    try:
        jobs = _jobs_of(DataflowService.from_master(job["master"]), job)
    except NoAnswerError:
        return "unknown"
    return joint_state([each.state for each in jobs], ENDED)


def _jobs_of(service: DataflowService, job: Mapping[str, str]) -> list[rest.Job]:
    """Those that have a run's name; the one with its id, if that is known."""
    return [each for each in service.jobs(job["name"]) if job.get("id") in (None, each.id)]


def cause_of_end(job: Mapping[str, str]) -> str:
    """Why a job has ended without a commit, in a line."""
    service = DataflowService.from_master(job["master"])
    return why_ended(
        {each.id: each.state for each in _jobs_of(service, job)},
        failed=FAILED,
        cancelled=CANCELLED,
        cause=lambda job_id: cause_of(service.errors(job_id)),
    )


def name_of(master: str, job_id: str) -> str | None:
    """The name of a job; None if the service knows none with this id.

    Raises:
        NoAnswerError: it does not answer.
    """
    return DataflowService.from_master(master).name(job_id)
