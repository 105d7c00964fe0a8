"""A commit in the making: which files come, which go, and the ledger after it.

Shared by everything that commits: embedding runs, compaction, `reroot`, dropping a spec.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from typing import Any

import pyarrow as pa

from l3core.errors import RunError
from l3core.table.layout import LAYOUT_VERSION, TablePaths, ledger_folder
from l3core.table.ledger import Moved, Settle, update_ledger, write_ledger
from l3core.table.state import TableState


class Build:
    """Collects what a commit does to a table's files.

    Args:
        paths: of the table.
        state: the commit that it is based on.
        run_id: its files are in this run's staging folder.
    """

    def __init__(self, paths: TablePaths, state: TableState, run_id: str) -> None:
        self.paths = paths
        self.state = state
        self.run_id = run_id
        self.staged: dict[str, str] = {}  # final path -> where it is now, both below the table
        self.added: dict[str, dict[str, Any]] = {}
        self.removed: list[str] = []
        self.moved: dict[str, list[Moved]] = {}
        self.rewritten_bytes = 0
        self.statuses: dict[str, dict[str, int]] = {}  # of each new ledger, rows by status

    def add(self, facts: dict[str, Any], staged: str) -> None:
        """Add a new file.

        Args:
            facts: what the record says of it.
            staged: where it is now, below the table.
        """
        self.staged[facts["path"]] = staged
        self.added[facts["path"]] = facts

    def replace(self, manifest: dict[str, Any]) -> None:
        """Take over a rewrite (`l3core.table.rewrite`)."""
        for path in manifest["sources"]:
            if path in self.added:
                del self.added[path], self.staged[path]
            else:
                self.removed.append(path)
            self.moved[path] = [
                Moved(facts["path"], facts["first_clip"], facts["last_clip"])
                for facts in manifest["files"]
            ]
        for facts in manifest["files"]:
            self.add(facts, manifest["staged"][facts["path"]])
            self.rewritten_bytes += facts["bytes"]

    def update_ledger(self, fingerprint: str, changes: Iterator[tuple[str, Settle]]) -> None:
        """Write the partition's new ledger, with some rows changed and files where they are now."""
        old = self.state.ledger(fingerprint)
        self.write_ledger(fingerprint, update_ledger(self.paths, old, changes, self.moved))

    def write_ledger(self, fingerprint: str, batches: Iterable[pa.RecordBatch | pa.Table]) -> None:
        """Write the partition's new ledger.

        Raises:
            RunError: it promises other windows than the files hold.
        """
        final = f"{ledger_folder(fingerprint)}/{self.run_id}.parquet"
        staged = f"_l3flow/staging/{self.run_id}/ledger-{fingerprint}.parquet"
        written = write_ledger(self.paths.at(staged), batches)
        self._check_windows(fingerprint, written.windows)
        self.removed += self.state.ledger(fingerprint)
        self.statuses[fingerprint] = written.statuses
        facts = {"sha256": written.sha256, "bytes": written.size_bytes, "rows": written.rows}
        self.add({"path": final} | facts, staged)

    def _check_windows(self, fingerprint: str, promised: int) -> None:
        kept = [self.state.files[path] for path in self.state.windows(fingerprint)]
        files = [
            facts
            for facts in kept
            if facts["path"] not in self.moved and facts["path"] not in self.removed
        ]
        files += [
            facts
            for path, facts in self.added.items()
            if path.startswith(f"windows/spec={fingerprint}/")
        ]
        held = sum(facts["rows"] for facts in files)
        if promised != held:
            raise RunError(
                f"the ledger of {fingerprint} would promise {promised} windows, and the files hold "
                f"{held}: the table is damaged, see l3flow verify"
            )

    def entry(
        self,
        record: dict[str, Any],
        *,
        spec: dict[str, Any] | None = None,
        cleared: Iterable[str] = (),
    ) -> dict[str, Any]:
        """The journal entry.

        Args:
            record: what else its run record says.
            spec: for specs/<fp>.json, if that shall be written.
            cleared: other objects to remove, paths below the table.
        """
        files = {"files_added": list(self.added.values()), "files_removed": self.removed}
        written = sum(facts["bytes"] for facts in self.added.values())
        sizes = {"bytes_written": written, "bytes_rewritten": self.rewritten_bytes}
        ledger = self.statuses.get(record["fingerprint"])  # a reroot is of none
        totals = {} if ledger is None else {"ledger": ledger}
        return {
            "record": record | files | sizes | totals,
            "spec": spec,
            "staged": self.staged,
            "cleared": list(cleared),
        }


def new_record(
    *, run_id: str, commit: int, fingerprint: str, root: str | None, started_at: str, command: str
) -> dict[str, Any]:
    """A run record of something that embeds nothing."""
    now = datetime.now(timezone.utc)
    return {
        "layout": LAYOUT_VERSION,
        "commit": commit,
        "run_id": run_id,
        "fingerprint": fingerprint,
        "root": root,
        "command": command,
        "started_at": started_at,
        "committed_at": now.isoformat(),
        "files_added": [],
        "files_removed": [],
        "matched": {},
        "gone": 0,
        "pruned": 0,
        "clips": {},
        "windows": 0,
        "audio_s": 0.0,
        "wall_s": (now - datetime.fromisoformat(started_at)).total_seconds(),
        "windows_per_s": 0.0,
        "x_real_time": 0.0,
        "bytes_read": 0,
        "bytes_written": 0,
        "bytes_rewritten": 0,
        "busy_s": {},
        "metrics": {},
    }
