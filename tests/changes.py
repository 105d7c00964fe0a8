"""What is done to a table in tests of what goes wrong meanwhile; also by processes that are killed."""

import multiprocessing
import os
import sys

import fsspec

from l3core.errors import BusyError
from l3core.table import plan as planning
from l3core.table import rewrite as rewriting
from l3core.table.journal import repair
from l3core.table.layout import TablePaths
from l3core.table.limits import Limits
from l3core.table.lock import acquire, holding
from l3core.table.maintenance import compact, drop_spec, reroot
from tests import fake_model
from tests.corpus import PlainRun

# A process that has loaded all that a change needs, the fake model too, and starts others that have it.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.conftest", "tests.changes", "gcsfs.extended_gcsfs", "soxr"])
_BUSY = 7
for _protocol in ("gs", "s3"):
    fsspec.get_filesystem_class(_protocol)


def embed(uri, corpus, run_id="run-2"):
    """The second run, as the command does it: lock, plan, shards, rewrites, commit."""
    run = PlainRun(corpus, uri, run_id, prune=True, limits=Limits(allow_shrink=True))
    with holding(run.paths, run.spec.fingerprint(run.embedder.weights.digest), run_id):
        run.all()


def fingerprint(uri):
    (found,) = repair(TablePaths(uri)).fingerprints
    return found


CHANGES = {
    "embed": embed,
    "compact": lambda uri, corpus: compact(TablePaths(uri), fingerprint(uri), "run-2"),
    "reroot": lambda uri, corpus: reroot(TablePaths(uri), str(corpus.parent), "run-2"),
    "drop": lambda uri, corpus: drop_spec(TablePaths(uri), fingerprint(uri), "run-2"),
}


def in_process(change, uri, corpus, *, shards_wanted, most_small):
    """Begin a change in a process of its own, which finds the stores that this one finds."""
    settings = (shards_wanted, most_small)
    process = _FORKS.Process(target=_make, args=(dict(os.environ), settings, change, uri, corpus))
    process.start()
    return process


def _make(environment, settings, change, uri, corpus):
    os.environ.update(environment)
    planning.SHARDS_WANTED, rewriting.MOST_SMALL = settings
    fake_model.register()
    CHANGES[change](uri, corpus)


def processes_that_acquire(paths, fingerprint, run_ids):
    """Those of several runs, each a process of its own, that get a lock which all ask for at once."""
    start, end = _FORKS.Barrier(len(run_ids)), _FORKS.Barrier(len(run_ids))
    common = (dict(os.environ), start, end, paths, fingerprint)
    processes = [_FORKS.Process(target=_acquire, args=(*common, run_id)) for run_id in run_ids]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    codes = [process.exitcode for process in processes]
    assert set(codes) <= {0, _BUSY}
    return [run_id for run_id, code in zip(run_ids, codes) if code == 0]


def _acquire(environment, start, end, paths, fingerprint, run_id):
    os.environ.update(environment)
    start.wait(60)
    try:
        acquire(paths, fingerprint, run_id)
        code = 0
    except BusyError:
        code = _BUSY
    end.wait(60)  # until then it is alive
    sys.exit(code)
