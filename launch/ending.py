"""How an embedding run ends that does not end well: its lock, and what people are told."""

from collections.abc import Iterator
from contextlib import contextmanager
from shlex import quote

from l3core import storage
from l3core.errors import RunError
from l3core.table.journal import repair
from l3core.table.layout import TablePaths
from l3core.table.lock import Holding, jobs_of
from l3core.table.state import load_state
from launch.runners import Runner


@contextmanager
def leaving_to_job(
    paths: TablePaths, held: Holding, runner: Runner | None, run_id: str
) -> Iterator[None]:
    """Leave the lock to a job that may run on: it could not be stopped, or its cluster is away."""
    try:
        yield
    except BaseException as error:
        if runner and runner.may_go_on(run_id):
            held.leave()
            if isinstance(error, RunError):
                raise RunError(f"{error}; its job may go on: {_how_to_follow(paths, run_id)}") from None
        raise


def after_interrupt(paths: TablePaths, run_id: str) -> str:
    """Finish a publication that had begun; how the table is."""
    pending = load_state(paths).pending
    if pending is not None and pending["record"]["run_id"] == run_id:
        repair(paths)
        return f"interrupted while publishing: that was finished, the table is at run {run_id}"
    if job := dict(jobs_of(paths)).get(run_id):  # the lock was left to it
        return (
            f"interrupted, but its job {job['name']} at {job['master']} may go on, stop it there: "
            f"{_how_to_follow(paths, run_id)}"
        )
    if storage.is_object(paths.record(run_id)):
        return f"interrupted after the commit: the table is at run {run_id}"
    return "interrupted; the table is as it was, the next run takes over the shards that are finished"


def _how_to_follow(paths: TablePaths, run_id: str) -> str:
    return f"l3flow runs --table {quote(paths.root)} --job {run_id} follows it"
