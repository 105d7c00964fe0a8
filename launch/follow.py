"""A run that goes on without the process that submitted it: found by its job, followed to its end."""

import time
from collections.abc import Iterator
from datetime import datetime, timezone
from functools import partial
from typing import Any

from l3core import storage
from l3core.errors import UsageError
from l3core.table.json_objects import read_json
from l3core.table.layout import TablePaths
from l3core.table.lock import is_held, jobs_of
from l3core.table.planned import Plan, load_plan
from l3core.table.progress import Progress, RunProgress
from launch.runners import NoAnswerError, how_job_is, jobs_like
from launch.screen import describe_embedding, showing_progress
from launch.signals import Interrupted
from launch.tables import failure

ENDS_WITHIN_S = 30.0
POLL_S = 0.5
LONGEST_POLL_S = 5.0  # of a run that takes hours: each time a store and a service are asked

RunJob = tuple[str, dict[str, str]]  # a run's id, and its job as locks and records have it


def follow_job(paths: TablePaths, name: str, *, quiet: bool) -> dict[str, Any]:
    """Wait until a job's run is over, and show how far it is; returns the run record.

    Args:
        paths: of the table.
        name: the cluster's id of the job, its name, or the run's id.
        quiet: show nothing.

    Raises:
        UsageError: the table has no run with such a job.
        RunError: the job failed; the message says why, and how the table is.
    """
    run_id, job = _find(paths, name)
    try:
        if not storage.is_object(paths.record(run_id)):
            plan = load_plan(paths, run_id)
            look = RunProgress(paths, plan, hop_s=float(plan.spec["hop_s"]))
            # what was done before we came is in the progress: so must its time be
            before_s = _seconds_since(plan.started_at) if look().begun else 0.0
            describe = partial(_describe, before_s=before_s)
            with showing_progress(look, describe, quiet=quiet):
                _wait(paths, plan, job)
        _let_end(job)
    except KeyboardInterrupt:
        raise Interrupted(f"the job goes on: {job['name']} at {job['master']}") from None
    return read_json(paths.record(run_id))


def _seconds_since(time_iso: str) -> float:
    then = datetime.fromisoformat(time_iso)
    return max(0.0, (datetime.now(timezone.utc) - then).total_seconds())


def _describe(progress: Progress, seconds: float, *, before_s: float) -> str:
    return describe_embedding(progress, before_s + seconds)


def _wait(paths: TablePaths, plan: Plan, job: dict[str, str]) -> None:
    pause = POLL_S
    while not storage.is_object(paths.record(plan.run_id)):
        if over := _how_it_is_over(paths, plan, job):
            if storage.is_object(paths.record(plan.run_id)):  # by now
                return
            raise failure(paths, plan.run_id, over)
        time.sleep(pause)
        pause = min(1.1 * pause, LONGEST_POLL_S)


def _how_it_is_over(paths: TablePaths, plan: Plan, job: dict[str, str]) -> str | None:
    """Why a run will not commit any more; None: it may."""
    state = how_job_is(job)
    if state == "ended":
        return _cause(job)
    # a job that is being submitted is known to nobody but who has the lock
    if state == "absent" and not is_held(paths, plan.fingerprint, plan.run_id, how_job_is):
        return "its job is gone"
    return None


def _let_end(job: dict[str, str]) -> None:
    """Wait for a job that has committed to give its slots back: a moment."""
    until = time.monotonic() + ENDS_WITHIN_S
    while how_job_is(job) == "running" and time.monotonic() < until:
        time.sleep(POLL_S)


def _cause(job: dict[str, str]) -> str:
    jobs = jobs_like(job)
    return jobs.cause_of_end(job) if jobs else "its job has ended"


def _find(paths: TablePaths, name: str) -> RunJob:
    """The run that a name means, and its job."""
    known, silent = list(_known(paths)), []
    for run_id, job in known:
        if name in (run_id, job["name"], job.get("id")):
            return run_id, job
    for master, jobs in {job["master"]: jobs_like(job) for _, job in known}.items():
        try:
            job_name = jobs.name_of(master, name) if jobs else None
        except NoAnswerError:  # the run may be another cluster's
            silent.append(master)
            continue
        for run_id, job in known:
            if "id" not in job and job["name"] == job_name:  # else it is another of that name
                return run_id, job
    unknown = f"--job {name}: no run of this table has such a job"
    if silent:
        unknown += (
            f", as far as is known without the cluster at {', '.join(silent)}, which does not answer: "
            "the run's id is found without it"
        )
    raise UsageError(unknown)


def _known(paths: TablePaths) -> Iterator[RunJob]:
    """Runs with jobs: those that have a lock, then those that have committed, the last ones first."""
    yield from jobs_of(paths)
    for name in sorted(storage.names_below(paths.runs, suffix=".json"), reverse=True):
        record = read_json(storage.join(paths.runs, name))
        if "job" in record:
            yield record["run_id"], record["job"]
