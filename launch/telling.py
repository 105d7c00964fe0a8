"""How a run of `embed` or `crossval` ended, told to all who should know: people, scripts, the table.

The line on the screen comes first, then the JSON of `--json`. What fails on the way is a line of its own
and changes neither the first one nor the exit code.
"""

import argparse
import json
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from l3core.errors import StorageError, UsageError
from launch.exits import DONE, FAILED, INTERRUPTED, STRICT, WORDS, Ending, ending_of
from launch.notice import Notices
from launch.signals import interruptible
from launch.words import last_line, printable

if TYPE_CHECKING:
    from l3core.table.layout import TablePaths
    from l3core.table.planned import Plan

LONGEST_MESSAGE = 2_000
NAMED = ("clip_id", "status", "error")  # of a bad clip


@dataclass
class RunSoFar:
    """What is known of a run; filled in by the run.

    Attributes:
        command: `embed` or `crossval`.
        table: that it is about, as the user called it.
        run_id: its name.
        paths: of the table that it embeds into, in a store that has answered.
        fingerprint: of the spec.
        plan: of an embedding run.
        record: of a run that has committed.
        workers: that it has; None if it did not come so far.
        code: it will exit with.
        ending: how it ended where its code does not say so, `skipped` or `submitted`, and why.
        started_at: when the command began.
    """

    command: str
    table: str
    run_id: str
    paths: "TablePaths | None" = None
    fingerprint: str | None = None
    plan: "Plan | None" = None
    record: dict[str, Any] | None = None
    workers: int | None = None
    code: int = DONE
    ending: tuple[str, str] | None = None
    started_at: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    _start: float = field(default_factory=time.monotonic)

    def facts(self, code: int, message: str) -> dict[str, Any]:
        """How it ended, for JSON."""
        from launch.embed_job import versions  # after --help

        return {
            "status": WORDS[code],
            "exit_code": code,
            "message": printable(message)[:LONGEST_MESSAGE],
            "command": self.command,
            "table": self.paths.root if self.paths else self.table,
            "run_id": self.run_id,
            "fingerprint": self.fingerprint,
            "started_at": self.started_at.isoformat(),
            "duration_s": round(time.monotonic() - self._start, 3),
            "host": socket.gethostname(),
            "versions": versions(),
        }

    def facts_of_end(self) -> dict[str, Any]:
        """The same of a run that did: counts of files by status, and the first few bad ones."""
        facts = self.facts(self.code, "") | {"clips": {}, "bad": []}
        if self.ending is not None:
            facts["status"], facts["message"] = self.ending
        if self.record is None or self.paths is None or self.plan is None:
            return facts
        from launch.summary import troubled

        counts = ("matched", "clips", "windows", "audio_s", "wall_s")
        facts |= {name: self.record[name] for name in counts}
        try:
            rows = troubled(self.paths, self.plan, before=self.code == STRICT)
        except (OSError, UsageError, StorageError) as error:
            _say(f"the table that was written cannot be read for a notice: {last_line(error)}")
            rows = []
        facts["bad"] = [{name: getattr(row, name) for name in NAMED} for row in rows]
        if self.code == STRICT:
            facts["message"] = "--strict: some input has no windows in the table, which has committed"
        return facts

    def facts_of_failure(self, ending: Ending) -> dict[str, Any]:
        """The same of a run that did not come to its end, and how far it was."""
        facts = self.facts(ending.code, ending.message)
        facts["failed_at"] = datetime.now(timezone.utc).isoformat()
        facts["workers"] = self.workers
        facts["interrupted"] = ending.code == INTERRUPTED
        try:
            return facts | self._how_far()
        except (OSError, UsageError, StorageError):  # the store that has failed us does not tell, either
            return facts | {"stage": "embedding" if self.plan else "planning", "clips": {}, "bad": []}

    def _how_far(self) -> dict[str, Any]:
        if self.paths is None or self.plan is None:
            return {"stage": "planning", "clips": {}, "bad": []}
        from l3core import storage
        from l3core.table.manifests import found_so_far

        if storage.is_object(self.paths.record(self.plan.run_id)):
            return {"stage": "committed", "clips": {}, "bad": []}
        found = found_so_far(self.paths, self.plan)
        stage = "embedding" if found.unfinished else "committing"
        return {"stage": stage, "clips": found.clips, "bad": found.bad}


@contextmanager
def told(args: argparse.Namespace, command: str, notices: Notices) -> Iterator[RunSoFar]:
    """Within the block a run happens, which fills in what is known of it; its end is told.

    Args:
        args: of the command.
        command: `embed` or `crossval`.
        notices: who else is told; of a dry run nobody is.

    Raises:
        SystemExit: the run failed, and that has been told.
    """
    from launch.tables import new_run_id  # after --help

    run = RunSoFar(command, getattr(args, "table", args.output), new_run_id())
    notices = Notices() if args.dry_run else notices
    try:
        with interruptible():
            yield run
    except (Exception, KeyboardInterrupt) as error:
        ending = ending_of(error, command)
        _tell_failure(args, run, error, ending, notices)
        if ending is None:
            raise
        raise SystemExit(ending.code) from None
    if notices.wanted(run.code):
        _send(notices, run.facts_of_end())


def _tell_failure(
    args: argparse.Namespace,
    run: RunSoFar,
    error: BaseException,
    ending: Ending | None,
    notices: Notices,
) -> None:
    if ending is None:  # a mistake of ours: Python prints where
        ending = Ending(FAILED, f"{type(error).__name__}: {last_line(error)}")
    elif ending.message:
        _say(f"{ending.message}{ending.hint}")
    facts = run.facts_of_failure(ending)
    if ending.code in (FAILED, INTERRUPTED) and not args.dry_run:
        _record(run, facts)
    if args.json:
        with suppress(BrokenPipeError):  # whoever read it went away; the others are still told
            print(json.dumps(facts, indent=1, sort_keys=True), flush=True)
    if notices.wanted(ending.code):
        _send(notices, facts)


def _record(run: RunSoFar, facts: dict[str, Any]) -> None:
    """Leave a record of the failure in the table, if its store takes it."""
    if run.paths is None:
        return
    from l3core.table.failed import note_failure

    kept = {name: value for name, value in facts.items() if name not in ("table", "bad")}
    try:
        note_failure(run.paths, kept)
    except (OSError, UsageError, StorageError) as error:
        _say(f"that it failed could not be recorded in the table: {last_line(error)}")


def _send(notices: Notices, facts: dict[str, Any]) -> None:
    for problem in notices.send(facts):
        _say(problem)


def _say(line: str) -> None:
    print(f"l3flow: {printable(line)}", file=sys.stderr)  # one line, whatever is in it
