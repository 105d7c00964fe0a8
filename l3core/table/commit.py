"""Committing an embedding run: check what the shards say, make the new ledger, journal it, publish it.

Until the journal entry is there the table is as it was; from then on the commit has happened, and
whoever comes next finishes its publication.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

from l3core import storage
from l3core.errors import RunError, UsageError
from l3core.rounding import worst
from l3core.table.adopt import remove_staging
from l3core.table.build import Build, new_record
from l3core.table.changes import Change, run_changes, settle
from l3core.table.counters import Totals
from l3core.table.failures import STORAGE_ERROR, check_storage_errors, check_unreadable
from l3core.table.journal import append, check_unchanged, publish, repair
from l3core.table.json_objects import read_json, write_json
from l3core.table.layout import GONE, LedgerRow, TablePaths
from l3core.table.ledger import Settle
from l3core.table.lock import lost_to, owns, release
from l3core.table.manifests import Joined, read_manifests
from l3core.table.planned import Plan, ShardPlan, load_plan
from l3core.table.rewrite import rewritten
from l3core.table.state import TableState, keep_index, load_state


def commit_run(paths: TablePaths, run_id: str, *, info: dict[str, Any]) -> dict[str, Any]:
    """Commit a run whose shards and rewrites are all done; done already is fine.

    Args:
        paths: of the table.
        run_id: of the run.
        info: what else belongs in the run record (versions, host, command).

    Returns:
        The run record.

    Raises:
        RunError: shards are missing or wrong, or another run committed in between.
    """
    if storage.is_object(paths.record(run_id)):  # a runner may try the last step again
        return read_json(paths.record(run_id))
    plan = load_plan(paths, run_id)
    state = load_state(paths)
    if state.pending is not None:
        if state.pending["record"]["run_id"] == run_id:
            return _finish(paths, plan, state.pending)
        state = repair(paths)
    check = partial(_check, paths, plan, elsewhere="job" in info)
    check(state)
    run = _Run(paths, plan, state)
    run.collect()
    check_storage_errors(run.counts[STORAGE_ERROR], plan.max_storage_errors)
    check_unreadable(run.counts["unreadable"], plan.max_unreadable)
    commit = append(paths, state, partial(run.entry, info), check)
    return _finish(paths, plan, commit)


def record_unchanged(
    paths: TablePaths, state: TableState, plan: Plan, info: dict[str, Any]
) -> dict[str, Any]:
    """Write the record of a run that found nothing to do; all else stays as it is."""
    record = _record(plan, state.commits, info)
    write_json(paths.record(plan.run_id), record)
    return record


def _check(paths: TablePaths, plan: Plan, state: TableState, *, elsewhere: bool) -> None:
    """Refuse to commit what was planned on another table, has been taken over, or was stopped.

    Where a job does the work `elsewhere`, its last step may still be running when its cluster says that
    it was stopped. The lock was given back then.
    """
    check_unchanged(state, fingerprints=[plan.fingerprint], base=plan.base, root=plan.root)
    if elsewhere and not owns(paths, plan.fingerprint, plan.run_id):
        raise RunError(f"run {plan.run_id} was stopped, or another run has taken over from it")
    if owner := lost_to(paths, plan.fingerprint, plan.run_id):
        raise RunError(f"run {owner} has taken over from this one, which was silent for too long")


def _finish(paths: TablePaths, plan: Plan, commit: dict[str, Any]) -> dict[str, Any]:
    publish(paths, commit)
    # What could not be cleared away is no reason to call a committed run a failed one: the next run of
    # this spec finds the folder and removes it.
    with suppress(OSError, UsageError):
        keep_index(paths)
        remove_staging(paths, [*plan.dead, plan.run_id])
        release(paths, plan.fingerprint, plan.run_id)
    return commit["record"]


def _record(plan: Plan, commit: int, info: dict[str, Any]) -> dict[str, Any]:
    record = new_record(
        run_id=plan.run_id,
        commit=commit,
        fingerprint=plan.fingerprint,
        root=plan.root,
        started_at=plan.started_at,
        command="embed",
    )
    matched = {"matched": plan.counts, "gone": plan.gone, "pruned": plan.pruned}
    return record | matched | info


class _Run:
    """An embedding run's commit in the making."""

    def __init__(self, paths: TablePaths, plan: Plan, state: TableState) -> None:
        self.paths = paths
        self.plan = plan
        self.build = Build(paths, state, plan.run_id)
        self.counts: Counter[str] = Counter()
        self.windows = 0
        self.audio_s = 0.0
        self.busy: Counter[str] = Counter()
        self.bytes_read = 0
        self.metrics = Totals()
        self.deviation: dict[str, Any] | None = None  # the largest of all workers
        self.rounding: dict[str, float] | None = None  # of all workers
        self.devices: Counter[str] = Counter()

    def collect(self) -> None:
        """Check the shards, take over the rewrites, write the new ledger."""
        done = storage.sizes_below(self.paths.staging(self.plan.run_id, "done"))
        for shard, manifest in zip(self.plan.shards, read_manifests(self.paths, self.plan)):
            _check_shard(shard, manifest, done)
            self._take(manifest)
        for manifest in rewritten(self.paths, self.plan.run_id):
            self.build.replace(manifest)
        if self.plan.shards or self.plan.noted:
            self.build.update_ledger(self.plan.fingerprint, self._changes())

    def _staged(self, manifest: dict[str, Any]) -> str:
        return f"_l3flow/staging/{self.plan.run_id}/done/{manifest['staged']}"

    def _take(self, manifest: dict[str, Any]) -> None:
        self.busy.update(manifest["busy_s"])
        self.bytes_read += manifest["bytes_read"]
        self.metrics.add(manifest)
        if found := manifest.get("deviation"):
            self.devices[manifest["device"]] += 1
            if self.deviation is None or found["value"] > self.deviation["value"]:
                self.deviation = found
        self.rounding = worst([self.rounding, manifest.get("rounding")])
        if manifest["file"] is not None:
            self.build.add(manifest["file"], self._staged(manifest))

    def _changes(self) -> Iterator[tuple[str, Settle]]:
        for change in run_changes(self.paths, self.plan):
            yield change.clip_id, partial(self._settled, change)

    def _settled(self, change: Change, old: LedgerRow | None) -> LedgerRow:
        """A clip's row, counted."""
        row = settle(change, old, self.plan)
        if isinstance(change, Joined):
            self.counts[change.row.status] += 1
        elif row.status == GONE or old is None:
            self.counts[row.status] += 1
        if isinstance(change, Joined) and row is change.row:
            self.windows += row.windows_written
            self.audio_s += self._audio_s(row)
        return row

    def _audio_s(self, row: LedgerRow) -> float:
        """Seconds that were embedded; a recording that breaks off does not have what it promises."""
        if row.status == "ok":
            return row.duration_s or 0.0
        return row.windows_written * float(self.plan.spec["hop_s"])

    def entry(self, info: dict[str, Any], last: TableState) -> dict[str, Any]:
        """The journal entry that follows a state."""
        record = _record(self.plan, last.commits + 1, info)
        wall_s = max(record["wall_s"], 1e-9)
        record |= {
            "clips": dict(self.counts),
            "windows": self.windows,
            "audio_s": self.audio_s,
            "windows_per_s": self.windows / wall_s,
            "x_real_time": self.audio_s / wall_s,
            "bytes_read": self.bytes_read,
            "busy_s": dict(self.busy),
            "metrics": self.metrics.to_json(),
            "deviation": self.deviation,
            "rounding": self.rounding,
            "shards_by_device": dict(self.devices),
        }
        spec = {
            "fingerprint": self.plan.fingerprint,
            "spec": self.plan.spec,
            "weights_digest": self.plan.weights_digest,
            "identity": self.plan.identity,
        }
        return self.build.entry(record, spec=spec)


def _check_shard(shard: ShardPlan, manifest: dict[str, Any], done: dict[str, int]) -> None:
    """Hold that a shard's file is there as it was written, with all windows that its rows promise.

    Args:
        shard: which.
        manifest: of it.
        done: name -> size of what the run's finished shards have left.
    """
    written = sum(clip["windows_written"] for clip in manifest["clips"])
    file = manifest["file"]
    if file is None:
        if written:
            raise RunError(f"shard {shard.name} claims {written} windows and has no file")
        return
    if file["rows"] != written:
        raise RunError(f"shard {shard.name} has {file['rows']} rows, its clips say {written}")
    size = done.get(manifest["staged"])
    if size != file["bytes"]:
        there = "is gone" if size is None else f"has {size} bytes"
        raise RunError(f"the file of shard {shard.name} {there}, its manifest says {file['bytes']}")
