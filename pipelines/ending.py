"""A Python worker that a JVM has started ends when its run is over.

Beam's runner for Flink may not let go of the workers of a job that it has started again (seen with Beam
2.70): each would keep its model, and a GPU, for as long as its TaskManager lives.
"""

import os
import threading
import time
from contextlib import suppress

from l3core import storage
from l3core.errors import StorageError, UsageError
from l3core.table.layout import TablePaths
from l3core.table.lock import owns
from pipelines.job import EmbedJob

STARTED_BY_RUNNER = "L3FLOW_HARNESS"  # set by `pipelines.harness`
LOOK_EVERY_S = 20.0

_lock = threading.Lock()
_watched: set[str] = set()


def end_with_run(job: EmbedJob) -> None:
    """End this process some time after a run has committed or was stopped, if a runner started it.

    Args:
        job: of the run.
    """
    if STARTED_BY_RUNNER not in os.environ:
        return
    with _lock:
        if job.run_id in _watched:
            return
        _watched.add(job.run_id)
    threading.Thread(target=_watch, args=(job,), daemon=True).start()


def _watch(job: EmbedJob) -> None:
    paths = TablePaths(job.table)
    over = 0
    while over < 2:  # twice, so that the job's last step can say that it is done
        time.sleep(LOOK_EVERY_S)
        with suppress(OSError, StorageError, UsageError):  # a store that is silent says nothing
            over = over + 1 if _is_over(paths, job) else 0
    os._exit(0)  # not sys.exit, which would end this thread only


def _is_over(paths: TablePaths, job: EmbedJob) -> bool:
    if storage.is_object(paths.record(job.run_id)):
        return True
    return not owns(paths, job.fingerprint, job.run_id)
