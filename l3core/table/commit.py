"""Committing a run: check what the shards say, make the new ledger, journal it, publish it.

Until the journal entry is there the table is as it was; from then on the commit has happened, and
whoever comes next finishes its publication.
"""

import heapq
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timezone
from itertools import groupby
from typing import Any

import pyarrow.parquet as pq

from l3core import storage
from l3core.errors import RunError
from l3core.table.adopt import dead_runs
from l3core.table.layout import (
    LAYOUT_VERSION,
    TRANSIENT,
    WITH_WINDOWS,
    LedgerRow,
    TablePaths,
    ledger_folder,
)
from l3core.table.ledger import read_ledger, write_ledger
from l3core.table.lock import release
from l3core.table.manifests import join_pieces, merge_rows, read_manifest
from l3core.table.plan import Plan, ShardPlan, load_plan
from l3core.table.state import TableState, load_state, publish, read_json, repair, to_json
from l3core.table.windows_file import copy_without, file_facts


def commit_run(paths: TablePaths, run_id: str, *, info: dict[str, Any]) -> dict[str, Any]:
    """Commit a run whose shards are all done; done already is fine.

    Args:
        paths: of the table.
        run_id: of the run.
        info: what else belongs in the run record (versions, host, command).

    Returns:
        The run record.

    Raises:
        RunError: shards are missing or wrong, or another run committed in between.
    """
    record_uri = storage.join(paths.runs, f"{run_id}.json")
    if storage.exists(record_uri):  # a runner may try the last step again
        return read_json(record_uri)
    plan = load_plan(paths, run_id)
    state = load_state(paths)
    if state.pending is not None:
        if state.pending["record"]["run_id"] == run_id:
            return _finish(paths, plan, state.pending)
        state = repair(paths)
    _check_base(paths, plan, state)
    build = _Build(paths, plan, state)
    build.collect()
    while True:
        commit = build.commit(state.commits + 1, info)
        entry = storage.join(paths.journal, f"{state.commits + 1:08d}.json")
        if storage.create(entry, to_json(commit)) or read_json(entry)["writer"] == commit["writer"]:
            return _finish(paths, plan, commit)
        state = repair(paths)  # another run was first: fine if it was about another partition
        _check_base(paths, plan, state)


def _check_base(paths: TablePaths, plan: Plan, state: TableState) -> None:
    """Refuse to commit on top of a change of the same partition, or of the root."""
    moved = state.commits > 0 and state.root != plan.root
    if state.touched.get(plan.fingerprint, 0) > plan.base or moved:
        raise RunError(
            "another run changed the table since this one was planned; run it again "
            "(the shards that are finished will be taken over)"
        )


def _finish(paths: TablePaths, plan: Plan, commit: dict[str, Any]) -> dict[str, Any]:
    publish(paths, commit)
    # What could not be cleared away is no reason to call a committed run a failed one: the next run of
    # this spec finds the folder and removes it.
    with suppress(OSError):
        _clear(paths, plan)
    return commit["record"]


def _clear(paths: TablePaths, plan: Plan) -> None:
    for dead in dead_runs(paths, plan.run_id, plan.fingerprint):
        storage.remove(paths.staging(dead), recursive=True)
    storage.remove(paths.staging(plan.run_id), recursive=True)
    release(paths, plan.fingerprint, plan.run_id)


class _Build:
    """A commit in the making: which files come, which go, and the new ledger."""

    def __init__(self, paths: TablePaths, plan: Plan, state: TableState) -> None:
        self.paths = paths
        self.plan = plan
        self.state = state
        self.staging = f"_l3flow/staging/{plan.run_id}"
        self.staged: dict[str, str] = {}  # final path -> staged path
        self.added: list[dict[str, Any]] = []
        self.removed: list[str] = []
        self.renamed: dict[str, str | None] = {}  # file -> its rewritten successor
        self.counts: Counter[str] = Counter()
        self.windows = 0
        self.audio_s = 0.0
        self.busy: Counter[str] = Counter()
        self.bytes_read = 0

    def collect(self) -> None:
        """Check the shards, rewrite files that hold replaced clips, write the new ledger."""
        for shard in self.plan.shards:
            self._take(shard)
        self._rewrite()
        if self.plan.shards:
            self._write_ledger()

    def _take(self, shard: ShardPlan) -> None:
        manifest = read_manifest(self.paths, self.plan, shard)
        self.busy.update(manifest["busy_s"])
        self.bytes_read += manifest["bytes_read"]
        written = sum(clip["windows_written"] for clip in manifest["clips"])
        file = manifest["file"]
        if file is None:
            if written:
                raise RunError(f"shard {shard.name} claims {written} windows and has no file")
            return
        staged = f"{self.staging}/done/{shard.name}.parquet"
        rows = _row_count(self.paths.at(staged))
        if not rows == written == file["rows"]:
            raise RunError(f"shard {shard.name} has {rows} rows, its manifest says {written}")
        self.staged[file["path"]] = staged
        self.added.append(file)

    def _new_rows(self) -> Iterator[LedgerRow]:
        """One row per clip of this run; pieces of a long recording are put together."""
        pieces = merge_rows(self.paths, self.plan)
        for _, group in groupby(pieces, key=lambda row: row.clip_id):
            yield join_pieces(list(group))

    def _rewrite(self) -> None:
        """Copy files without the windows that this run replaces, or that a failed clip left behind."""
        drops: dict[str, set[str]] = {}
        for new, old in self._with_old(self._new_rows()):
            if new is not None and new.status not in WITH_WINDOWS:
                for file in new.files:
                    drops.setdefault(file, set()).add(new.clip_id)
            if new is not None and old is not None and new.status not in TRANSIENT:
                for file in old.files:
                    drops.setdefault(file, set()).add(new.clip_id)
        for number, (file, clips) in enumerate(sorted(drops.items())):
            self._rewrite_file(file, clips, number)

    def _rewrite_file(self, file: str, clips: set[str], number: int) -> None:
        name = f"{self.plan.run_id}-rewritten-{number:06d}.parquet"
        staged = f"{self.staging}/rewritten/{name}"
        final = f"{file.rpartition('/')[0]}/{name}"
        source = self.paths.at(self.staged.get(file, file))
        rows = copy_without(source, self.paths.at(staged), clips)
        self.renamed[file] = final if rows else None
        if file in self.staged:
            del self.staged[file]
            self.added = [facts for facts in self.added if facts["path"] != file]
        else:
            self.removed.append(file)
        if rows:
            self.staged[final] = staged
            self.added.append(file_facts(self.paths.at(staged), final, rows))

    def _with_old(
        self, rows: Iterable[LedgerRow]
    ) -> Iterator[tuple[LedgerRow | None, LedgerRow | None]]:
        """(new, old) ledger rows of every clip, sorted."""
        old = read_ledger(self.paths, self.state.ledger(self.plan.fingerprint))
        tagged = heapq.merge(
            ((row.clip_id, 0, row) for row in rows),
            ((row.clip_id, 1, row) for row in old),
            key=lambda item: item[:2],
        )
        for _, group in groupby(tagged, key=lambda item: item[0]):
            both = {age: row for _, age, row in group}
            yield both.get(0), both.get(1)

    def _ledger_rows(self) -> Iterator[LedgerRow]:
        for new, old in self._with_old(self._new_rows()):
            if new is not None:
                self.counts[new.status] += 1
            row = _settle(new, old)
            if new is row:
                self.windows += row.windows_written
                self.audio_s += self._audio_s(row)
            yield replace(row, files=tuple(self._current_files(row.files)))

    def _audio_s(self, row: LedgerRow) -> float:
        """Seconds that were embedded; a recording that breaks off does not have what it promises."""
        if row.status == "ok":
            return row.duration_s or 0.0
        return row.windows_written * float(self.plan.spec["hop_s"])

    def _current_files(self, files: Sequence[str]) -> Iterator[str]:
        for file in files:
            current = self.renamed.get(file, file)
            if current is not None:
                yield current

    def _write_ledger(self) -> None:
        name = f"{self.plan.run_id}.parquet"
        final = f"{ledger_folder(self.plan.fingerprint)}/{name}"
        staged = f"{self.staging}/{name}"
        rows = write_ledger(self.paths.at(staged), self._ledger_rows())
        self.removed += self.state.ledger(self.plan.fingerprint)
        self.staged[final] = staged
        self.added.append(file_facts(self.paths.at(staged), final, rows))

    def commit(self, number: int, info: dict[str, Any]) -> dict[str, Any]:
        """The journal entry with this number."""
        plan = self.plan
        now = datetime.now(timezone.utc)
        wall_s = (now - datetime.fromisoformat(plan.started_at)).total_seconds()
        record = {
            "layout": LAYOUT_VERSION,
            "commit": number,
            "run_id": plan.run_id,
            "fingerprint": plan.fingerprint,
            "root": plan.root,
            "started_at": plan.started_at,
            "committed_at": now.isoformat(),
            "files_added": self.added,
            "files_removed": self.removed,
            "matched": plan.counts,
            "clips": dict(self.counts),
            "windows": self.windows,
            "audio_s": self.audio_s,
            "wall_s": wall_s,
            "windows_per_s": self.windows / max(wall_s, 1e-9),
            "x_real_time": self.audio_s / max(wall_s, 1e-9),
            "bytes_read": self.bytes_read,
            "bytes_written": sum(file["bytes"] for file in self.added),
            "busy_s": dict(self.busy),
        }
        spec = {
            "fingerprint": plan.fingerprint,
            "spec": plan.spec,
            "weights_digest": plan.weights_digest,
        }
        return {
            "writer": uuid.uuid4().hex,
            "record": record | info,
            "spec": spec,
            "staged": self.staged,
        }


def _settle(new: LedgerRow | None, old: LedgerRow | None) -> LedgerRow:
    """The row that a clip has after the run."""
    if new is None:
        assert old is not None
        return old
    if old is not None and new.status in TRANSIENT and old.status in WITH_WINDOWS:
        # the good windows and their version stay, so the next run sees another version and tries again
        return replace(old, error=f"{new.status}: {new.error}")
    if new.status not in WITH_WINDOWS:
        return replace(new, windows_written=0, files=())
    return new


def _row_count(uri: str) -> int:
    fs, path = storage.filesystem(uri)
    with fs.open(path, "rb") as file:
        return pq.ParquetFile(file).metadata.num_rows
